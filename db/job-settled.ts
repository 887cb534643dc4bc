import { JOB_STAGE } from "./job-stages.ts";
import type { Queryable } from "./pool.ts";

/** Batches that have no open item left, and jobs that have no such batch left. */

/**
 * Batches of a job that have no open item left are done. Asked after the commit that settled them, or
 * made them: of several who do, the last to ask sees all. An item may have a batch of its own, so ask
 * for minus its number too. Answers how many this call closed.
 */
export async function closeSettledBatches(
  db: Queryable,
  operationId: string,
  generation: number,
  batches: readonly number[],
): Promise<number> {
  return (await close(db, operationId, generation, batches)).closed;
}

/** The same, and the job is woken when nothing of it is left. Of those who close at once, the last wakes. */
export async function closeAndWake(
  db: Queryable,
  operationId: string,
  generation: number,
  batches: readonly number[],
): Promise<number> {
  if (batches.length === 0) return 0;
  const { closed, ready } = await close(db, operationId, generation, batches);
  // While something may be claimed yet, whoever posts that wakes it.
  if (closed > 0 && !ready) await wakeSettledJobs(db, operationId);
  return closed;
}

async function close(
  db: Queryable,
  operationId: string,
  generation: number,
  batches: readonly number[],
): Promise<{ closed: number; ready: boolean }> {
  let closed = 0;
  let ready = false;
  // Whoever has one locked closes it, as a rule; it may be a sign of life too, which does not.
  for (const waits of [false, false, true]) {
    const { rows } = await db.query<{ seen: { closed: number; left: number; ready: boolean } }>(
      "select holdfast.close_settled_batches($1, $2, $3, $4) as seen",
      [operationId, generation, batches, waits],
    );
    const { seen } = rows[0]!;
    closed += seen.closed;
    ready = seen.ready;
    if (seen.left === 0) break;
  }
  return { closed, ready };
}

/**
 * Wakes running jobs of which no batch is open any more, so that they are finished: this one, or all
 * that nobody woke. Of all, those that have open items are left out, for which each wake would be a look
 * in vain and the next to come, and so are paused ones. Answers how many.
 */
export async function wakeSettledJobs(db: Queryable, operationId?: string): Promise<number> {
  const { rowCount } = await db.query(
    `with quiet as materialized (
       select op.id, op.total
         from holdfast.operations op
         join holdfast.jobs j on j.operation_id = op.id
        where op.state = 'running'
          and (op.wake_at is null
               -- One that is being told of a wake before this may have looked too early.
               or $1::uuid is not null and op.wake_at > clock_timestamp())
          and ($1::uuid is not null or op.paused_at is null)
          and j.open_generation = op.generation
          and j.operation_id in (select t.operation_id from holdfast.job_turns t
                                  where $1::uuid is null or t.operation_id = $1)
          and not exists (select from holdfast.job_batches b
                           where b.operation_id = op.id and b.generation = op.generation
                             and b.state = 'ready')
          and not exists (select from holdfast.job_batches b
                           where b.operation_id = op.id and b.generation = op.generation
                             and b.state = 'leased')
     )
     update holdfast.operations op set wake_at = clock_timestamp()
       from quiet
      where op.id = quiet.id and op.state = 'running'
        and (op.wake_at is null or $1::uuid is not null and op.wake_at > clock_timestamp())
        and ($1::uuid is not null
             or quiet.total <= (
               select coalesce(sum(c.n), 0)
                 from (select p.n from holdfast.progress p
                        where p.operation_id = quiet.id and p.stage = '${JOB_STAGE}'
                       union all
                       select d.n from holdfast.progress_deltas d
                        where d.operation_id = quiet.id and d.stage = '${JOB_STAGE}'
                          and not d.folded) c))`,
    [operationId ?? null],
  );
  return rowCount ?? 0;
}

/** Numbers of the batches that are not done. */
export async function openBatches(
  db: Queryable,
  operationId: string,
  generation: number,
): Promise<number[]> {
  const { rows } = await db.query<{ no: number }>(
    `select no from holdfast.job_batches
      where operation_id = $1 and generation = $2 and state <> 'done' order by no`,
    [operationId, generation],
  );
  return rows.map((row) => row.no);
}
