import { LEASES_STAGE } from "./job-stages.ts";
import type { LeaseRef } from "./job-handles.ts";
import type { Queryable } from "./pool.ts";

/** Leases of our own workers: their processors hold batches as pull workers do, lane by lane. */

/** The key that leases of processors are bound to. No key of a caller is named so. */
export const OWN_KEY = "in-process";

// It is over, and handed out again or lost as others are: by whoever expires leases next.
const OVER = "set leased_until = clock_timestamp()";

/** Ends a lease as if its time were over, which has cost a delivery. False when it was over before. */
export async function endLease(db: Queryable, lease: LeaseRef): Promise<boolean> {
  const { rowCount } = await db.query(
    `update holdfast.job_batches ${OVER}
      where operation_id = $1 and generation = $2 and no = $3 and lease = $4 and state = 'leased'`,
    [lease.operationId, lease.generation, lease.batch, lease.lease],
  );
  return rowCount === 1;
}

/**
 * Ends what our own workers hold of a job, or one lane of them, whichever worker it was: a lane is in one
 * call's hands at a time, so that who asks knows the one before is dead. Answers how many leases it was.
 */
export async function endOwnLeases(
  db: Queryable,
  job: { id: string; generation: number },
  lane?: number,
): Promise<number> {
  const { rowCount } = await db.query(
    `update holdfast.job_batches ${OVER}
      where operation_id = $1 and generation = $2 and state = 'leased'
        and holder like '${OWN_KEY}/%/' || coalesce($3::int::text, '%')`,
    [job.id, job.generation, lane ?? null],
  );
  return rowCount ?? 0;
}

/**
 * Gives back what one lane of one worker holds of a job, at no cost of a delivery: for a lane that knows
 * it has begun nothing, but not whether its claim was answered. Answers how many leases it was.
 */
export async function releaseOwnLeases(
  db: Queryable,
  job: { id: string; generation: number },
  worker: string,
): Promise<number> {
  const { rows } = await db.query<{ released: number }>(
    `with released as (
       update holdfast.job_batches
          set state = 'ready', delivery = delivery - 1, holder = null, leased_until = null,
              beat_until = null, ready_at = clock_timestamp()
        where operation_id = $1 and generation = $2 and state = 'leased' and holder = $3
       returning no
     ), counted as (
       insert into holdfast.progress_deltas (operation_id, source, stage, outcome, n)
       select $1, 'release/' || gen_random_uuid(), '${LEASES_STAGE}', 'releases', count(*)::int
         from released having count(*) > 0
     )
     select count(*)::int as released from released`,
    [job.id, job.generation, `${OWN_KEY}/${worker}`],
  );
  return rows[0]!.released;
}
