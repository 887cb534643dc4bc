import { PULL_WORKER_ONLINE_SECONDS } from "./job-workers.ts";
import { JOB_STAGE } from "./job-stages.ts";
import type { Queryable } from "./pool.ts";

/** Who works on a job and how it goes, for people: read, and never by the work itself. */

export interface JobWorkerRow {
  /** Key and worker, as leases name them. */
  holder: string;
  /** The name it gave itself; null for a lane of one of our own workers. */
  worker: string | null;
  /** Null when it was never seen asking. */
  seen_at: Date | null;
  online: boolean;
  /** Batches of this job that it holds. */
  held: number;
  /** The first five of them; a batch of one item that crashed workers has minus its number. */
  batches: number[];
  /** The most often that one of them was handed out. */
  delivery: number;
  /** When the first of them is over, unless it is extended. */
  ends_at: Date | null;
}

/**
 * Whoever holds batches of a job, and whoever is online for its pipeline and tenant; those that hold
 * most first.
 */
export async function workersOfJob(
  db: Queryable,
  operationId: string,
  limit: number,
): Promise<JobWorkerRow[]> {
  const { rows } = await db.query<JobWorkerRow>(
    `with job as (
       select operation_id, tenant, pipeline, open_generation from holdfast.jobs
        where operation_id = $1
     ), held as (
       select b.holder, count(*)::int as held,
              (array_agg(b.no order by b.ready_at, b.no))[1:5] as batches,
              max(b.delivery)::int as delivery, min(least(b.leased_until, b.beat_until)) as ends_at
         from job
         join holdfast.job_batches b
           on b.operation_id = $1 and b.generation = job.open_generation and b.state = 'leased'
        group by b.holder
     ), known as (
       select w.key || '/' || w.worker as holder, w.worker, w.seen_at,
              w.seen_at > clock_timestamp() - $3 * interval '1 second' as online,
              job.pipeline = any(w.pipelines)
                and (w.tenants is null or job.tenant = any(w.tenants)) as able
         from job, holdfast.job_workers w
     )
     select coalesce(h.holder, k.holder) as holder, k.worker, k.seen_at,
            coalesce(k.online, false) as online, coalesce(h.held, 0) as held,
            coalesce(h.batches, '{}') as batches, coalesce(h.delivery, 0) as delivery, h.ends_at
       from held h
       full join known k on k.holder = h.holder
      where h.holder is not null or (k.online and k.able)
      order by 5 desc, 1
      limit $2`,
    [operationId, limit, PULL_WORKER_ONLINE_SECONDS],
  );
  return rows;
}

export interface SettledSlot {
  /** A minute of the last hour: 0 is the oldest, 59 the newest. */
  slot: number;
  good: number;
  /** Failed or lost. */
  bad: number;
}

/** Items of a job that were worked in the last hour, by minute; minutes without any are absent. */
export async function settledInLastHour(
  db: Queryable,
  operationId: string,
): Promise<SettledSlot[]> {
  const { rows } = await db.query<SettledSlot>(
    `select greatest(0, 59 - floor(extract(epoch from now() - at) / 60))::int as slot,
            coalesce(sum(n) filter (where outcome not in ('failed', 'lost')), 0)::int as good,
            coalesce(sum(n) filter (where outcome in ('failed', 'lost')), 0)::int as bad
       from holdfast.progress_deltas
      where operation_id = $1 and stage = '${JOB_STAGE}' and at > now() - interval '1 hour'
        and n > 0 and outcome <> 'cancelled' and not starts_with(source, 'open/')
      group by 1 order by 1`,
    [operationId],
  );
  return rows;
}
