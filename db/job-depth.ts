import type { Queryable } from "./pool.ts";

/** What waits to be claimed, counted. */

export interface PipelineDepth {
  pipeline: string;
  tenant: string;
  jobs: number;
  /** Batches that may be claimed now; of one job at most 10,000 are counted. */
  ready: number;
  /** Seconds that the oldest of those counted has waited. */
  oldest_seconds: number;
}

/** More than any autoscaler starts workers for, and cheap to count. */
const MOST_OF_A_JOB = 10_000;

/** What may be claimed, by pipeline and tenant: for autoscalers. */
export async function pipelineDepths(
  db: Queryable,
  tenants?: readonly string[],
): Promise<PipelineDepth[]> {
  const { rows } = await db.query<PipelineDepth>(
    `select c.pipeline, c.tenant, count(*)::int as jobs, sum(b.ready)::int as ready,
            extract(epoch from clock_timestamp() - min(b.since))::float8 as oldest_seconds
       from holdfast.claimable_jobs() c
      cross join lateral (
        select count(*) as ready, min(few.ready_at) as since
          from (select r.ready_at from holdfast.job_batches r
                 where r.operation_id = c.operation_id and r.generation = c.generation
                   and r.state = 'ready'
                 order by r.place, r.first_item limit ${MOST_OF_A_JOB}) few
      ) b
      where b.ready > 0 and ($1::text[] is null or c.tenant = any($1))
      group by 1, 2 order by 1, 2`,
    [tenants ?? null],
  );
  return rows;
}
