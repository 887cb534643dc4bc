import { holderOf } from "./job-handles.ts";
import type { Queryable } from "./pool.ts";

/** What whoever waits for work asks, which writes nothing. */

export interface ReadyWork {
  pipeline: string;
  tenant: string;
  /** Batches; of one job at most `most` are counted. */
  ready: number;
}

/** What could be claimed of these pipelines now. */
export async function readyWork(
  db: Queryable,
  pipelines: readonly string[],
  most: number,
): Promise<ReadyWork[]> {
  const { rows } = await db.query<ReadyWork>(
    `select c.pipeline, c.tenant, sum(r.n)::int as ready
       from holdfast.claimable_jobs() c
      cross join lateral (
        select count(*) as n
          from (select from holdfast.job_batches b
                 where b.operation_id = c.operation_id and b.generation = c.generation
                   and b.state = 'ready'
                 limit $2) as few) r
      where c.pipeline = any($1)
      group by 1, 2 order by 1, 2`,
    [pipelines, most],
  );
  return rows;
}

/** Batches that a worker holds. */
export async function countHeld(db: Queryable, key: string, worker: string): Promise<number> {
  const { rows } = await db.query<{ held: number }>(
    `select count(*)::int as held from holdfast.job_batches
      where state = 'leased' and holder = $1`,
    [holderOf(key, worker)],
  );
  return rows[0]!.held;
}
