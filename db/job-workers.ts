import { readHandle } from "./job-handles.ts";
import type { Queryable } from "./pool.ts";

/** Pull workers: a key and the name a worker gives itself. Online is computed when it is read. */

export const PULL_WORKER_ONLINE_SECONDS = 60;

export interface PullWorkerSeen {
  key: string;
  worker: string;
  /** Those the key is for; absent: all. */
  tenants?: readonly string[] | undefined;
  pipelines: readonly string[];
}

/**
 * They were seen now. Written outside requests and at most every 30 s a worker, which the caller sees
 * to; names of pipelines in any order are the same.
 */
export async function markPullWorkersSeen(
  db: Queryable,
  seen: readonly PullWorkerSeen[],
): Promise<void> {
  const sorted = seen.toSorted((a, b) => compare(a.key, b.key) || compare(a.worker, b.worker));
  await db.query(
    `insert into holdfast.job_workers (key, worker, tenants, pipelines)
     select s.key, s.worker,
            case when jsonb_typeof(s.tenants) = 'array'
                 then array(select jsonb_array_elements_text(s.tenants)) end,
            array(select distinct jsonb_array_elements_text(s.pipelines) order by 1)
       from unnest($1::text[], $2::text[], $3::jsonb[], $4::jsonb[])
              as s(key, worker, tenants, pipelines)
     on conflict (key, worker) do update
        set seen_at = clock_timestamp(), tenants = excluded.tenants,
            pipelines = case when cardinality(excluded.pipelines) > 0
                             then excluded.pipelines else job_workers.pipelines end`,
    [
      sorted.map((worker) => worker.key),
      sorted.map((worker) => worker.worker),
      sorted.map((worker) => JSON.stringify(worker.tenants ?? null)),
      sorted.map((worker) => JSON.stringify(worker.pipelines)),
    ],
  );
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

/** Names of a key's workers that were seen within a minute or hold a batch; of more than `most`, some. */
export async function workersAtWork(db: Queryable, key: string, most: number): Promise<string[]> {
  const { rows } = await db.query<{ worker: string }>(
    `select w.worker from holdfast.job_workers w
      where w.key = $1
        and (w.seen_at > clock_timestamp() - $3 * interval '1 second'
             or exists (select from holdfast.job_batches b
                         where b.state = 'leased' and b.holder = w.key || '/' || w.worker))
      limit $2`,
    [key, most, PULL_WORKER_ONLINE_SECONDS],
  );
  return rows.map(({ worker }) => worker);
}

export interface PullWorkerRow {
  /** Null: of a key that is not for tenants of the scope only. */
  key: string | null;
  worker: string;
  tenants: string[] | null;
  pipelines: string[];
  first_seen_at: Date;
  seen_at: Date;
  online: boolean;
  /** Batches it holds. */
  held: number;
}

/** Workers that pull from a pipeline, or from any, last seen first; at most 1,000. */
export async function listPullWorkers(
  db: Queryable,
  filter: { pipeline?: string | undefined } = {},
): Promise<PullWorkerRow[]> {
  const { rows } = await db.query<PullWorkerRow>(
    `select w.key, w.worker, w.tenants, w.pipelines, w.first_seen_at, w.seen_at,
            w.seen_at > clock_timestamp() - $2 * interval '1 second' as online,
            (select count(*)::int from holdfast.job_batches b
              where b.state = 'leased' and b.holder = w.key || '/' || w.worker) as held
       from holdfast.job_workers w
      where $1::text is null or $1 = any(w.pipelines)
      order by w.seen_at desc limit 1000`,
    [filter.pipeline ?? null, PULL_WORKER_ONLINE_SECONDS],
  );
  return rows;
}

/**
 * The same for whoever may see some tenants only. Of a worker that serves others as well they are told
 * what concerns them: the tenants they see, the pipelines that have a job of these, what it holds of it.
 */
export async function listPullWorkersOf(
  db: Queryable,
  tenants: readonly string[],
  {
    pipeline,
    key,
  }: { pipeline?: string | undefined; /** The caller's. */ key?: string | undefined },
): Promise<PullWorkerRow[]> {
  const { rows } = await db.query<PullWorkerRow>(
    `with theirs as (
       select distinct pipeline from holdfast.jobs where tenant = any($1)
     )
     select case when own.own or w.key = $4 then w.key end as key, w.worker,
            case when w.tenants is null then $1::text[]
                 else array(select unnest(w.tenants) intersect select unnest($1::text[]) order by 1)
                 end as tenants,
            shown.pipelines, w.first_seen_at, w.seen_at,
            w.seen_at > clock_timestamp() - $3 * interval '1 second' as online,
            (select count(*)::int
               from holdfast.job_batches b join holdfast.jobs j on j.operation_id = b.operation_id
              where b.state = 'leased' and b.holder = w.key || '/' || w.worker
                and j.tenant = any($1)) as held
       from holdfast.job_workers w
      cross join lateral (select coalesce(w.tenants <@ $1, false) as own) own
      cross join lateral (
        select array(select p from unnest(w.pipelines) as p
                      where own.own or p in (select pipeline from theirs)) as pipelines) shown
      where (w.tenants is null or w.tenants && $1)
        and (own.own or cardinality(shown.pipelines) > 0)
        and ($2::text is null or $2 = any(shown.pipelines))
      order by w.seen_at desc limit 1000`,
    [tenants, pipeline ?? null, PULL_WORKER_ONLINE_SECONDS, key ?? null],
  );
  return rows;
}

/** Workers online for a pipeline that may take work of a tenant. */
export async function countPullWorkersOnline(
  db: Queryable,
  pipeline: string,
  tenant: string,
): Promise<number> {
  const { rows } = await db.query<{ online: number }>(
    `select count(*)::int as online from holdfast.job_workers
      where seen_at > clock_timestamp() - $3 * interval '1 second'
        and $1 = any(pipelines) and (tenants is null or $2 = any(tenants))`,
    [pipeline, tenant, PULL_WORKER_ONLINE_SECONDS],
  );
  return rows[0]!.online;
}

/** The worker of each lease that these handles prove, in their order; null for what is none. */
export async function workersOfHandles(
  db: Queryable,
  handles: readonly string[],
  key: string,
): Promise<(string | null)[]> {
  const refs = handles.map((handle) => readHandle(handle, key));
  const { rows } = await db.query<{ holder: string | null }>(
    `select l.holder
       from unnest($1::uuid[], $2::int[], $3::int[], $4::int[], $5::bytea[])
              with ordinality as a(operation_id, generation, batch, lease, handle, place)
       left join holdfast.job_leases l
         on l.operation_id = a.operation_id and l.generation = a.generation and l.batch = a.batch
        and l.lease = a.lease and l.handle = a.handle
      order by a.place`,
    [
      refs.map((ref) => ref?.operationId ?? null),
      refs.map((ref) => ref?.generation ?? null),
      refs.map((ref) => ref?.batch ?? null),
      refs.map((ref) => ref?.lease ?? null),
      refs.map((ref) => ref?.digest ?? null),
    ],
  );
  return rows.map(({ holder }) => holder && holder.slice(key.length + 1));
}
