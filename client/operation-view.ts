import { operationWorkflowId } from "../contracts/ids.ts";
import type { OperationView, StageProgress } from "../contracts/operation.ts";
import { waitingTries } from "../db/attempts.ts";
import { listBrakes, type BrakeRow } from "../db/brakes.ts";
import { LEASES_STAGE, SUMS_STAGE } from "../db/job-stages.ts";
import type { OperationRow } from "../db/operations.ts";
import { waitingPlans } from "../db/plan-operation.ts";
import type { Queryable } from "../db/pool.ts";
import { readProgress, type Delta } from "../db/progress.ts";
import { onlineWorkers } from "../db/workers.ts";
import { shownState } from "../domain/shown-state.ts";

/** Rows as the outside sees them: five statements at most, however many rows. */
export async function viewOperations(
  db: Queryable,
  rows: readonly OperationRow[],
): Promise<OperationView[]> {
  if (rows.length === 0) return [];
  const ids = rows.map((row) => row.id);
  const progress = await readProgress(db, ids);
  const open = rows.some((row) => row.finished_at === null);
  const tries = open
    ? await waitingTries(db, ids)
    : new Map<string, { items: number; next: Date }>();
  const brakes = open ? await listBrakes(db) : [];
  const workersOnline = open ? (await onlineWorkers(db)).length : 0;
  const plans = rows.filter((row) => row.kind === "plan" && row.state === "running");
  const undecided = await waitingPlans(
    db,
    plans.map((row) => row.id),
  );
  return rows.map((row) => {
    const waiting = tries.get(row.id);
    const stages = stagesOf(row, progress.get(row.id) ?? []);
    const left = row.total - (stages[0]?.done ?? 0);
    const allWait = waiting !== undefined && waiting.items >= left;
    const shown = shownState({
      state: row.state,
      cancelRequested: row.cancel_requested_at !== null,
      paused: row.paused_at !== null,
      braked: brakes.some((brake) => holds(brake, row)),
      notBefore: row.state === "accepted" ? row.start_after : allWait ? waiting.next : null,
      awaitsDecision: undecided.has(row.id),
      workersOnline,
      now: new Date(),
    });
    return viewOf(row, shown, stages, waiting?.next ?? null);
  });
}

function viewOf(
  row: OperationRow,
  shown: OperationView["shown"],
  stages: StageProgress[],
  nextTry: Date | null,
): OperationView {
  return {
    id: row.id,
    kind: row.kind,
    tenant: row.tenant,
    scope: row.scope,
    key: row.key,
    state: row.state,
    shown,
    generation: row.generation,
    restarts: row.restarts,
    priority: row.priority,
    total: row.total,
    batches: row.batches,
    stages,
    nextRetryAt: iso(nextTry),
    result: row.result,
    reason: row.reason,
    input: row.input,
    submittedBy: row.submitted_by,
    acceptedAt: row.accepted_at.toISOString(),
    startAfter: iso(row.start_after),
    startedAt: iso(row.started_at),
    finishedAt: iso(row.finished_at),
    cancelRequestedAt: iso(row.cancel_requested_at),
    pausedAt: iso(row.paused_at),
    pausedBy: row.paused_by,
    pauseReason: row.pause_reason,
    workflowId: operationWorkflowId(row),
  };
}

/** What jobs count beside their items. */
const NO_ITEMS: ReadonlySet<string> = new Set([LEASES_STAGE, SUMS_STAGE]);

function stagesOf(row: OperationRow, deltas: readonly Delta[]): StageProgress[] {
  const stages = new Map<string, StageProgress>();
  stages.set(row.kind, { stage: row.kind, counts: {}, done: 0, total: row.total });
  for (const [stage, total] of Object.entries(expectedOf(row))) {
    stages.set(stage, { stage, counts: {}, done: 0, total });
  }
  for (const { stage, outcome, n } of deltas) {
    if (row.kind === "job" && NO_ITEMS.has(stage)) continue;
    const known = stages.get(stage) ?? { stage, counts: {}, done: 0, total: row.total };
    known.counts[outcome] = n;
    known.done += n;
    stages.set(stage, known);
  }
  for (const stage of Object.keys(expectedOf(row))) {
    const known = stages.get(stage)!;
    known.total = row.finished_at === null ? Math.max(known.total, known.done) : known.done;
  }
  return [...stages.values()];
}

// A stage that counts something else than items has a total of its own, which is an estimate.
function expectedOf({ input }: OperationRow): Record<string, number> {
  return (input["expected"] as Record<string, number> | undefined) ?? {};
}

/** True when a brake holds an operation back: `isBraked` of db/brakes.ts, for a row at hand. */
export function holds(
  brake: BrakeRow,
  row: Pick<OperationRow, "kind" | "tenant" | "scope">,
): boolean {
  switch (brake.applies_to) {
    case "all":
      return true;
    case "kind":
      return brake.name === row.kind;
    case "tenant":
      return brake.name === row.tenant;
    case "scope":
      return brake.name === `${row.tenant}/${row.scope}`;
    case "queue":
    case "target":
      return false;
  }
}

function iso(moment: Date | null): string | null {
  return moment?.toISOString() ?? null;
}
