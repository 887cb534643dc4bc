import type { RUN_AGAIN } from "../contracts/job.ts";
import type { Queryable, Tx } from "./pool.ts";

/** Jobs as rows: what they ask for, and when they are handed out. */

export interface JobRow {
  operation_id: string;
  tenant: string;
  pipeline: string;
  open_generation: number | null;
  weight: number;
  batch_size: number;
  lease_seconds: number;
  heartbeat_seconds: number;
  deliveries: number;
  max_failed_share: number;
  run_again: (typeof RUN_AGAIN)[number];
  /** Outcomes of generations before it do not stand. */
  base_generation: number;
  shuffle: boolean;
  collector: string | null;
  /** The most items that are collected. */
  take: number | null;
  collected_after: string | null;
  collected: number;
  page_at: Date | null;
  collected_at: Date | null;
  repaired_at: Date | null;
}

const COLUMNS = `operation_id, tenant, pipeline, open_generation, weight, batch_size, lease_seconds,
  heartbeat_seconds, deliveries, max_failed_share, run_again, base_generation, shuffle, collector,
  take, collected_after, collected, page_at, collected_at, repaired_at`;

export interface NewJob {
  operationId: string;
  tenant: string;
  pipeline: string;
  /** `turnWeight` of what was asked for. */
  weight: number;
  batchSize: number;
  leaseSeconds: number;
  heartbeatSeconds: number;
  deliveries: number;
  maxFailedShare: number;
  /** Batches are handed out in a random order, and items of a collected page stand in one. */
  shuffle?: boolean | undefined;
  collector?: string | undefined;
  /** The most items that are collected. */
  take?: number | undefined;
}

/** Beside its operation, in the transaction that accepts it. */
export async function insertJob(tx: Tx, job: NewJob): Promise<void> {
  await tx.query(
    `insert into holdfast.jobs
       (operation_id, tenant, pipeline, weight, batch_size, lease_seconds, heartbeat_seconds,
        deliveries, max_failed_share, shuffle, collector, take)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
    [
      job.operationId,
      job.tenant,
      job.pipeline,
      job.weight,
      job.batchSize,
      job.leaseSeconds,
      job.heartbeatSeconds,
      job.deliveries,
      job.maxFailedShare,
      job.shuffle ?? false,
      job.collector ?? null,
      job.take ?? null,
    ],
  );
}

export async function findJob(db: Queryable, operationId: string): Promise<JobRow | undefined> {
  const { rows } = await db.query<JobRow>(
    `select ${COLUMNS} from holdfast.jobs where operation_id = $1`,
    [operationId],
  );
  return rows[0];
}

/**
 * What the next generation takes up, in the transaction of the run-again that makes it, before anything
 * is counted or uncounted. `generation`: the one to come.
 */
export async function setRunAgain(
  tx: Tx,
  operationId: string,
  items: JobRow["run_again"],
  generation: number,
): Promise<void> {
  await tx.query(
    `update holdfast.jobs
        set run_again = $2, base_generation = case when $2 = 'all' then $3 else base_generation end
      where operation_id = $1`,
    [operationId, items, generation],
  );
}

/**
 * Nothing of a job is handed out any more, in the transaction that ends it: leases end, so that their
 * holders may take something else. Answers the job, or undefined for what is none.
 */
export async function closeJob(tx: Tx, operationId: string): Promise<JobRow | undefined> {
  // A claim has the turn before what is owed and before batches, and holders lock these in their order.
  await tx.query("select from holdfast.job_turns where operation_id = $1 for update", [
    operationId,
  ]);
  const { rows } = await tx.query<JobRow>(
    `with open as (
       select operation_id, generation, no from holdfast.job_batches
        where operation_id = $1 and state <> 'done'
        order by generation, no
          for no key update
     ), closed as (
       update holdfast.job_batches b
          set state = 'done', holder = null, leased_until = null, beat_until = null
         from open o
        where b.operation_id = $1 and b.operation_id = o.operation_id
          and b.generation = o.generation and b.no = o.no
     ), gone as (
       delete from holdfast.job_turns where operation_id = $1
     ), paid as (
       delete from holdfast.job_debts where operation_id = $1
     )
     update holdfast.jobs set open_generation = null where operation_id = $1
     returning ${COLUMNS}`,
    [operationId],
  );
  return rows[0];
}
