import { ownOperation } from "../locks.ts";
import { appendLogs } from "../logs.ts";
import { finishOperation } from "../finish.ts";
import type { Db, Queryable } from "../pool.ts";

/** What the checks that describe workflows need of rows. */

export interface RunningRow {
  id: string;
  kind: string;
  tenant: string;
  scope: string;
  generation: number;
  restarts: number;
  total: number;
  priority: number;
  trace: string | null;
  started_at: Date;
}

const COLUMNS = "id, kind, tenant, scope, generation, restarts, total, priority, trace, started_at";

/** Running operations, any `limit` of them: with more, each look sees others. */
export async function someRunning(db: Queryable, limit: number): Promise<RunningRow[]> {
  const { rows } = await db.query<RunningRow>(
    `select ${COLUMNS} from holdfast.operations where state = 'running' order by random() limit $1`,
    [limit],
  );
  return rows;
}

/** Still running (in this generation): asked after its workflow was seen closed, this is proof. */
export async function findRunning(
  db: Queryable,
  id: string,
  generation?: number,
): Promise<RunningRow | undefined> {
  const { rows } = await db.query<RunningRow>(
    `select ${COLUMNS} from holdfast.operations
      where id = $1 and state = 'running' and ($2::int is null or generation = $2)`,
    [id, generation ?? null],
  );
  return rows[0];
}

export interface RowState {
  id: string;
  generation: number;
  state: string;
  /** Finished for longer than a workflow needs to close. */
  long_finished: boolean;
}

export async function statesOf(db: Queryable, ids: readonly string[]): Promise<RowState[]> {
  const { rows } = await db.query<RowState>(
    `select id, generation, state,
            coalesce(finished_at < clock_timestamp() - interval '2 minutes', false) as long_finished
       from holdfast.operations where id = any($1)`,
    [ids],
  );
  return rows;
}

/** A generation is adopted this often; then its operation fails. */
export const MAX_RESTARTS = 5;

/** Counts one more adoption. False: somebody else adopts it, or it may not be adopted again. */
export async function countRestart(db: Queryable, row: RunningRow): Promise<boolean> {
  const { rowCount } = await db.query(
    `update holdfast.operations set restarts = restarts + 1
      where id = $1 and generation = $2 and state = 'running' and restarts = $3 and restarts < $4`,
    [row.id, row.generation, row.restarts, MAX_RESTARTS],
  );
  return rowCount === 1;
}

/** Takes back what `countRestart` counted: somebody else had adopted it already. */
export async function uncountRestart(db: Queryable, row: RunningRow): Promise<void> {
  await db.query(
    `update holdfast.operations set restarts = restarts - 1
      where id = $1 and generation = $2 and restarts > 0`,
    [row.id, row.generation],
  );
}

/** Ends an operation whose workflow was adopted as often as may be. */
export async function failLost(db: Db, row: RunningRow, why: string): Promise<boolean> {
  return db.transaction(async (tx) => {
    await ownOperation(tx, row.id);
    const { rowCount } = await tx.query(
      `select from holdfast.operations
        where id = $1 and generation = $2 and state = 'running' and restarts >= $3 for update`,
      [row.id, row.generation, MAX_RESTARTS],
    );
    if (rowCount !== 1) return false;
    const { id, generation } = row;
    const reason = `its workflow was lost ${MAX_RESTARTS + 1} times: ${why}`;
    await finishOperation(tx, { id, generation, outcome: "lost", reason, by: "doctor" });
    return true;
  });
}

export async function logAdoption(db: Queryable, row: RunningRow, why: string): Promise<void> {
  await appendLogs(db, [
    {
      operationId: row.id,
      level: "warn",
      message: `the doctor starts generation ${row.generation} again: ${why}`,
      fields: { restart: row.restarts + 1, of: MAX_RESTARTS },
    },
  ]);
}

/** True when a worker has something to do on its task queues. */
export async function hasOpenWork(db: Queryable): Promise<boolean> {
  const { rows } = await db.query<{ open: boolean }>(
    `select exists (select from holdfast.operations
                     where state = 'running' and paused_at is null)
         or exists (select from holdfast.operations
                     where state = 'accepted' and start_attempts > 0) as open`,
  );
  return rows[0]!.open;
}

export async function listDrains(db: Queryable): Promise<{ queue: string; lane: number }[]> {
  const { rows } = await db.query<{ queue: string; lane: number }>(
    "select queue, lane from holdfast.drains order by queue, lane",
  );
  return rows;
}
