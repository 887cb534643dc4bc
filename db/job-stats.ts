import { PULL_WORKER_ONLINE_SECONDS } from "./job-workers.ts";
import { pipelineDepths } from "./job-depth.ts";
import { JOB_STAGE, LEASES_STAGE } from "./job-stages.ts";
import type { Queryable } from "./pool.ts";

/** What pull workers have before them and behind them, by pipeline: for gauges, no tenant in it. */

export interface PipelineStats {
  pipeline: string;
  /** Batches that may be claimed, of one job at most 10,000; how long the oldest of those has waited. */
  ready: number;
  oldestSeconds: number;
  /** Batches that somebody holds. */
  leased: number;
  /** Results and leases of jobs that are open or ended within the hour. */
  accepted: number;
  duplicate: number;
  late: number;
  expired: number;
  released: number;
  workersOnline: number;
}

/** Jobs whose results are summed; older ones are left out. */
const MOST_JOBS = 1_000;

/** Every pipeline of which there is anything to say, by name. */
export async function readPipelineStats(db: Queryable): Promise<PipelineStats[]> {
  const all = new Map<string, PipelineStats>();
  const of = (pipeline: string) => {
    const stats = all.get(pipeline) ?? { ...NOTHING, pipeline };
    all.set(pipeline, stats);
    return stats;
  };
  for (const depth of await pipelineDepths(db)) {
    const stats = of(depth.pipeline);
    stats.ready += depth.ready;
    stats.oldestSeconds = Math.max(stats.oldestSeconds, depth.oldest_seconds);
  }
  for (const { pipeline, leased } of await countLeased(db)) of(pipeline).leased = leased;
  for (const { pipeline, ...results } of await countResults(db)) {
    Object.assign(of(pipeline), results);
  }
  // Whoever claims names pipelines as they like: only those that have jobs are told of.
  for (const { pipeline, online } of await countOnline(db, [...all.keys()])) {
    of(pipeline).workersOnline = online;
  }
  return [...all.values()].toSorted((a, b) => (a.pipeline < b.pipeline ? -1 : 1));
}

const NOTHING = {
  ready: 0,
  oldestSeconds: 0,
  leased: 0,
  accepted: 0,
  duplicate: 0,
  late: 0,
  expired: 0,
  released: 0,
  workersOnline: 0,
};

async function countLeased(db: Queryable): Promise<{ pipeline: string; leased: number }[]> {
  const { rows } = await db.query<{ pipeline: string; leased: number }>(
    `select t.pipeline, count(*)::int as leased
       from holdfast.job_turns t
       join holdfast.jobs j on j.operation_id = t.operation_id
       join holdfast.job_batches b
         on b.operation_id = j.operation_id and b.generation = j.open_generation
      where b.state = 'leased' group by 1`,
  );
  return rows;
}

type Results = Pick<PipelineStats, "accepted" | "duplicate" | "late" | "expired" | "released">;

async function countResults(db: Queryable): Promise<(Results & { pipeline: string })[]> {
  const { rows } = await db.query<Results & { pipeline: string }>(
    `with recent as (
       select operation_id as id from holdfast.job_turns
        union
       select id from holdfast.operations
        where kind = 'job' and finished_at > clock_timestamp() - interval '1 hour'
        order by id desc limit ${MOST_JOBS}
     ), counted as (
       select operation_id, stage, outcome, n from holdfast.progress
        where operation_id in (select id from recent)
       union all
       select operation_id, stage, outcome, n from holdfast.progress_deltas
        where operation_id in (select id from recent) and not folded
     ), summed as (
       select j.pipeline,
              sum(n) filter (where stage = '${JOB_STAGE}' and outcome in ('succeeded', 'failed')) as accepted,
              sum(n) filter (where stage = '${LEASES_STAGE}' and outcome = 'duplicates') as duplicate,
              sum(n) filter (where stage = '${LEASES_STAGE}' and outcome = 'late') as late,
              sum(n) filter (where stage = '${LEASES_STAGE}' and outcome = 'expiries') as expired,
              sum(n) filter (where stage = '${LEASES_STAGE}' and outcome = 'releases') as released
         from counted join holdfast.jobs j using (operation_id)
        group by 1
     )
     select pipeline, coalesce(accepted, 0)::float8 as accepted,
            coalesce(duplicate, 0)::float8 as duplicate, coalesce(late, 0)::float8 as late,
            coalesce(expired, 0)::float8 as expired, coalesce(released, 0)::float8 as released
       from summed`,
  );
  return rows;
}

async function countOnline(
  db: Queryable,
  pipelines: readonly string[],
): Promise<{ pipeline: string; online: number }[]> {
  const { rows } = await db.query<{ pipeline: string; online: number }>(
    `select p.pipeline, count(*)::int as online
       from holdfast.job_workers w cross join lateral unnest(w.pipelines) as p(pipeline)
      where w.seen_at > clock_timestamp() - $1 * interval '1 second'
        and w.pipelines && $2 and p.pipeline = any($2)
      group by 1`,
    [PULL_WORKER_ONLINE_SECONDS, pipelines],
  );
  return rows;
}
