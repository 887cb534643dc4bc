import { isOpen } from "./items.ts";
import { JOB_STAGE } from "./job-stages.ts";
import type { JobRow } from "./jobs.ts";
import type { Tx } from "./pool.ts";

/** A generation of a job that begins to be handed out. */

/**
 * A generation is handed out from here on: its open items become batches, and the job gets a turn.
 * Safe to repeat. Answers false when it was open before, or its items are still being collected. The
 * operation must be locked or running.
 */
export async function openJob(tx: Tx, operationId: string, generation: number): Promise<boolean> {
  const { rows } = await tx.query<{ run_again: JobRow["run_again"]; collector: string | null }>(
    `update holdfast.jobs set open_generation = $2
      where operation_id = $1 and open_generation is distinct from $2
        and (collector is null or collected_at is not null)
      returning run_again, collector`,
    [operationId, generation],
  );
  if (!rows[0]) return false;
  const { run_again, collector } = rows[0];
  // Of a claim that committed after the generation before had ended.
  await tx.query("delete from holdfast.job_debts where operation_id = $1", [operationId]);
  const left = LEFT_OUT[run_again];
  if (generation > 1 && left.length > 0) await leaveOut(tx, operationId, generation, left);
  if (generation > 1 && collector !== null) await failUnqueued(tx, operationId, generation);
  // `offset 0` keeps it one look for each batch: the statistics do not know the items yet, and a join would
  // read all of them for every batch.
  await tx.query(
    `insert into holdfast.job_batches (operation_id, generation, no, place, first_item, last_item)
     select b.operation_id, $2, b.no, case when j.shuffle then (random() * 1e9)::int else b.no end,
            b.first_item, b.last_item
       from holdfast.sub_batches b
       join holdfast.jobs j on j.operation_id = $1
      where b.operation_id = $1
        and exists (select from holdfast.items i
                     where i.operation_id = $1 and i.no between b.first_item and b.last_item
                       and ${isOpen("i", "$2", "$1")}
                     offset 0)
     on conflict do nothing`,
    [operationId, generation],
  );
  await giveTurn(tx, operationId);
  return true;
}

/** A job is in turn with the others of its pipeline, unless it was. */
export async function giveTurn(tx: Tx, operationId: string): Promise<void> {
  await tx.query(
    `insert into holdfast.job_turns (operation_id, tenant, pipeline, served, started)
     select j.operation_id, j.tenant, j.pipeline, time.at, time.at
       from holdfast.jobs j
      cross join lateral (select coalesce(max(t.started), 0) as at from holdfast.job_turns t
                           where t.pipeline = j.pipeline) time
      where j.operation_id = $1
     on conflict do nothing`,
    [operationId],
  );
}

const LEFT_OUT = {
  unfinished: [],
  failed: ["cancelled"],
  remaining: ["failed", "lost"],
  all: [],
} as const satisfies Record<JobRow["run_again"], readonly string[]>;

// What is not run again ends as it did before, in the new generation too.
async function leaveOut(
  tx: Tx,
  operationId: string,
  generation: number,
  outcomes: readonly string[],
): Promise<void> {
  await tx.query(
    `with newest as (
       select distinct on (item_no) item_no, outcome, reason, attempt, settled_by
         from holdfast.outcomes where operation_id = $1 and generation < $2
        order by item_no, generation desc
     ), left_out as (
       insert into holdfast.outcomes
         (operation_id, item_no, generation, outcome, reason, attempt, settled_by)
       select $1, item_no, $2, outcome, reason, attempt, settled_by
         from newest where outcome = any($3) order by item_no
       on conflict do nothing
       returning outcome
     )
     insert into holdfast.progress_deltas (operation_id, source, stage, outcome, n, place)
     select $1, 'open/' || $2::int, '${JOB_STAGE}', outcome, count(*)::int,
            row_number() over (order by outcome) - 1
       from left_out group by outcome
     on conflict do nothing`,
    [operationId, generation, outcomes],
  );
}

// What could not be queued when it was collected still cannot.
async function failUnqueued(tx: Tx, operationId: string, generation: number): Promise<void> {
  await tx.query(
    `with failed as (
       insert into holdfast.outcomes
         (operation_id, item_no, generation, outcome, reason, settled_by)
       select $1, i.no, $2, 'failed', p.meta ->> '${UNQUEUED}', 'collect'
         from holdfast.payloads p
         join holdfast.items i on i.operation_id = $1 and i.no = p.item_no
        where p.operation_id = $1 and p.part = 0 and p.meta ? '${UNQUEUED}'
          and ${isOpen("i", "$2", "$1")}
        order by i.no
       on conflict do nothing
       returning outcome
     )
     insert into holdfast.progress_deltas (operation_id, source, stage, outcome, n)
     select $1, 'unqueued/' || $2::int, '${JOB_STAGE}', outcome, count(*)::int
       from failed group by outcome
     on conflict do nothing`,
    [operationId, generation],
  );
}

/** Where the meta of a payload says why its item could not be queued. */
export const UNQUEUED = "unqueued";
