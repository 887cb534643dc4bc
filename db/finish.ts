import type { Finished } from "../contracts/messages.ts";
import type { Outcome } from "../contracts/operation.ts";
import { jobVerdict } from "../domain/job.ts";
import { verdictOf, type Verdict } from "../domain/verdict.ts";
import { forgetTries } from "./attempts.ts";
import { insertEvents } from "./events.ts";
import { hasOpenItem } from "./items.ts";
import { setTotals } from "./job-collect.ts";
import { closeJob } from "./jobs.ts";
import { ownOperation } from "./locks.ts";
import { appendLogs } from "./logs.ts";
import { lockOperation, markFinished, type OperationRow } from "./operations.ts";
import { countOutcomes, failureReasons, settleOpenItems } from "./outcomes.ts";
import { closePlan } from "./plan-operation.ts";
import type { Tx } from "./pool.ts";
import { addDeltas } from "./progress.ts";

export interface Ending {
  id: string;
  generation: number;
  /** What open items end with, and why. */
  outcome: Extract<Outcome, "failed" | "cancelled" | "lost">;
  reason: string;
  by: string;
  /** Stands as the reason of the operation, where it ends cancelled. Default: what the ledger says. */
  verdict?: string;
  /** False: no line of log says so. Default true. */
  persistLogs?: boolean;
}

/**
 * Ends an operation: closes what is open, derives the state from the ledger, and writes the event
 * with it. On a terminal row, or one of another generation, it answers what is stored and changes
 * nothing, so it can be repeated.
 */
export async function finishOperation(tx: Tx, ending: Ending): Promise<Finished> {
  await ownOperation(tx, ending.id);
  const row = await lockOperation(tx, ending.id);
  if (!row || row.generation !== ending.generation) return { state: "gone", counts: {} };
  if (row.state !== "accepted" && row.state !== "running") return stored(row);

  // As a rule nothing is open, which two counts see several times as fast as a look for each item.
  const closed = (await hasOpenItem(tx, row.id, row.generation))
    ? await settleOpenItems(tx, ending, ending.outcome, ending.reason, ending.by)
    : 0;
  if (closed > 0) {
    await addDeltas(tx, row.id, `finish/${row.generation}`, [
      { stage: row.kind, outcome: ending.outcome, n: closed },
    ]);
  }
  const job = row.kind === "job" ? await closeJob(tx, row.id) : undefined;
  if (row.kind === "plan") await closePlan(tx, row.id, ending);
  // Its items were not all found: however those ended that were, it was not done.
  const uncollected = job !== undefined && job.collector !== null && job.collected_at === null;
  if (uncollected) row.total = await setTotals(tx, row.id);
  const counts = await countOutcomes(tx, row.id);
  const causes = await failureReasons(tx, row.id, row.generation);
  const cancelRequested = row.cancel_requested_at !== null || ending.outcome === "cancelled";
  // Without any item there is no ledger to derive a state from: the row was never fully submitted.
  const hollow = row.total > 0 && Object.keys(counts).length === 0 && !cancelRequested;
  const verdict =
    uncollected || hollow
      ? unfinished(ending, cancelRequested)
      : job
        ? jobVerdict(counts, job.max_failed_share, cancelRequested, causes)
        : verdictOf(counts, cancelRequested, causes);
  if (verdict.state === "cancelled" && ending.verdict) verdict.reason = ending.verdict;
  await markFinished(tx, {
    id: row.id,
    generation: row.generation,
    state: verdict.state,
    reason: verdict.reason,
    result: counts,
  });
  await forgetTries(tx, row.id);
  await insertEvents(tx, [
    {
      type: "operation.finished",
      tenant: row.tenant,
      operationId: row.id,
      body: finishedBody(row, verdict, counts),
    },
  ]);
  if (ending.persistLogs === false) return { ...verdict, counts };
  await appendLogs(tx, [
    {
      operationId: row.id,
      level: verdict.state === "failed" ? "error" : "info",
      message: verdict.reason ? `${verdict.state}: ${verdict.reason}` : verdict.state,
      fields: { generation: row.generation, ...counts },
    },
  ]);
  return { ...verdict, counts };
}

function unfinished({ reason }: Ending, cancelRequested: boolean): Verdict {
  return { state: cancelRequested ? "cancelled" : "failed", reason };
}

function finishedBody(
  row: OperationRow,
  verdict: { state: string; reason?: string | undefined },
  counts: Partial<Record<Outcome, number>>,
) {
  return {
    operationId: row.id,
    key: row.key,
    kind: row.kind,
    tenant: row.tenant,
    scope: row.scope,
    generation: row.generation,
    state: verdict.state,
    reason: verdict.reason ?? null,
    total: row.total,
    counts,
  };
}

function stored(row: OperationRow): Finished {
  return {
    state: row.state as Finished["state"],
    ...(row.reason === null ? {} : { reason: row.reason }),
    counts: (row.result ?? {}) as Record<string, number>,
  };
}
