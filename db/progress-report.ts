import { appendLogs, loggedValues, type NewLogLine } from "./logs.ts";
import type { Tx } from "./pool.ts";
import { addDeltas, type Delta } from "./progress.ts";

/**
 * Counts a source and writes what is told of it; a repeat of the source does neither. One statement
 * where one line goes with one count, as it mostly does: beside ten others who report, each further
 * statement costs a seventh of what can be told.
 * Answers false when the source was counted before.
 */
export async function reportProgress(
  tx: Tx,
  operationId: string,
  source: string,
  deltas: readonly Delta[],
  lines: readonly Omit<NewLogLine, "operationId">[],
): Promise<boolean> {
  const [delta, line] = [deltas[0], lines[0]];
  if (delta && line && deltas.length === 1 && lines.length === 1) {
    return reportOne(tx, operationId, source, delta, line);
  }
  if (!(await addDeltas(tx, operationId, source, deltas))) return false;
  await appendLogs(
    tx,
    lines.map((each) => ({ ...each, operationId })),
  );
  return true;
}

async function reportOne(
  tx: Tx,
  operationId: string,
  source: string,
  delta: Delta,
  line: Omit<NewLogLine, "operationId">,
): Promise<boolean> {
  const { rowCount } = await tx.query(
    `with counted as (
       insert into holdfast.progress_deltas (operation_id, source, stage, outcome, n)
       values ($1, $2, $3, $4, $5) on conflict do nothing
       returning operation_id
     )
     insert into holdfast.logs (operation_id, level, message, fields)
     select operation_id, $6, $7, $8 from counted`,
    [operationId, source, delta.stage, delta.outcome, delta.n, ...loggedValues(line)],
  );
  return rowCount === 1;
}
