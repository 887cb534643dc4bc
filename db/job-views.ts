import type { JobFilter } from "../contracts/job.ts";
import type { Page } from "../contracts/operation.ts";
import { PULL_WORKER_ONLINE_SECONDS } from "./job-workers.ts";
import { type JobRow } from "./jobs.ts";
import type { OperationRow } from "./operations.ts";
import type { Queryable } from "./pool.ts";

/** Jobs for people: a fixed number of statements, however many jobs. */

/** A job beside its operation. */
export type JobOperationRow = OperationRow & JobRow;

/** One page of jobs, newest first. The cursor is the id of the last one. */
export async function listJobs(
  db: Queryable,
  filter: JobFilter & { limit: number; tenants?: readonly string[] | undefined },
): Promise<Page<JobOperationRow>> {
  const { rows } = await db.query<JobOperationRow>(
    `select op.*, j.*
       from holdfast.operations op
       join holdfast.jobs j on j.operation_id = op.id
      where op.kind = 'job'
        and ($1::text is null or j.pipeline = $1)
        and ($2::text[] is null or op.state = any($2))
        and ($3::text is null or op.tenant = $3)
        and ($4::uuid is null or op.id < $4)
        and ($5::text[] is null or op.tenant = any($5))
      order by op.id desc
      limit $6`,
    [
      filter.pipeline ?? null,
      filter.state === undefined
        ? null
        : filter.state === "open"
          ? ["accepted", "running"]
          : [filter.state],
      filter.tenant ?? null,
      filter.after ?? null,
      filter.tenants ?? null,
      filter.limit + 1,
    ],
  );
  const items = rows.slice(0, filter.limit);
  return rows.length > filter.limit ? { items, next: items.at(-1)!.id } : { items };
}

export async function findJobOperation(
  db: Queryable,
  id: string,
): Promise<JobOperationRow | undefined> {
  const { rows } = await db.query<JobOperationRow>(
    `select op.*, j.*
       from holdfast.operations op
       join holdfast.jobs j on j.operation_id = op.id
      where op.id = $1`,
    [id],
  );
  return rows[0];
}

export interface PullerRow {
  pipelines: string[];
  /** Null: all. */
  tenants: string[] | null;
  seen_at: Date;
  online: boolean;
}

/** Whoever pulled from these pipelines in the last day, and whether they are online. */
export async function pullersOf(db: Queryable, pipelines: readonly string[]): Promise<PullerRow[]> {
  const { rows } = await db.query<PullerRow>(
    `select pipelines, tenants, max(seen_at) as seen_at,
            max(seen_at) > clock_timestamp() - $2 * interval '1 second' as online
       from holdfast.job_workers
      where pipelines && $1 and seen_at > clock_timestamp() - interval '1 day'
      group by key, worker, pipelines, tenants`,
    [pipelines, PULL_WORKER_ONLINE_SECONDS],
  );
  return rows;
}

/** Errors looked at for a summary, in order of items. */
const MOST_ERRORS = 5_000;

/** Why items of a generation failed or were lost, the commonest first, with the first ten of each. */
export async function summarizeErrors(
  db: Queryable,
  operationId: string,
  generation: number,
): Promise<{ reason: string; count: number; items: string[] }[]> {
  const { rows } = await db.query<{ reason: string; count: number; items: string[] }>(
    `with errors as (
       select item_no, coalesce(reason, outcome) as reason from holdfast.outcomes
        where operation_id = $1 and generation = $2 and outcome in ('failed', 'lost')
        order by item_no limit ${MOST_ERRORS}
     ), causes as (
       select reason, count(*)::int as count, (array_agg(item_no order by item_no))[1:10] as first
         from errors group by reason order by 2 desc, 1 limit 100
     )
     select c.reason, c.count,
            array(select coalesce(nullif(i.key, ''), 'item ' || i.no)
                    from holdfast.items i
                   where i.operation_id = $1 and i.no = any(c.first) order by i.no) as items
       from causes c order by 2 desc, 1`,
    [operationId, generation],
  );
  return rows;
}

/** Tenants of some jobs, by id. */
export async function tenantsOfJobs(
  db: Queryable,
  ids: readonly string[],
): Promise<Map<string, string>> {
  const { rows } = await db.query<{ operation_id: string; tenant: string }>(
    "select operation_id, tenant from holdfast.jobs where operation_id = any($1)",
    [ids],
  );
  return new Map(rows.map((row) => [row.operation_id, row.tenant]));
}
