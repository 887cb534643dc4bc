import type { Queryable } from "./pool.ts";

/** Workers that are alive, as they say themselves: enough to show "waiting for a worker". */

const ONLINE_SECONDS = 30;

export async function markWorkerSeen(
  db: Queryable,
  worker: { id: string; identity: string; version: string },
): Promise<void> {
  await db.query(
    `insert into holdfast.workers (id, identity, version) values ($1, $2, $3)
     on conflict (id) do update set seen_at = clock_timestamp()`,
    [worker.id, worker.identity, worker.version],
  );
}

export async function deleteWorker(db: Queryable, id: string): Promise<void> {
  await db.query("delete from holdfast.workers where id = $1", [id]);
}

export interface WorkerRow {
  id: string;
  identity: string;
  version: string;
  started_at: Date;
  seen_at: Date;
}

export async function onlineWorkers(db: Queryable): Promise<WorkerRow[]> {
  const { rows } = await db.query<WorkerRow>(
    `select id, identity, version, started_at, seen_at from holdfast.workers
      where seen_at > clock_timestamp() - $1 * interval '1 second' order by started_at`,
    [ONLINE_SECONDS],
  );
  return rows;
}
