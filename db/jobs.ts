import type { RUN_AGAIN } from "../contracts/job.ts";
import { isOpen } from "./items.ts";
import type { Queryable, Tx } from "./pool.ts";

/** Jobs as rows: what they ask for, and when they are handed out. */

/** The stage of a job's progress that is its ledger; and that of what became of its leases. */
export const JOB_STAGE = "job";
export const LEASES_STAGE = "leases";
/** What results counted, by name. */
export const SUMS_STAGE = "sums";

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
 * A generation is handed out from here on: its open items become batches, and the job gets a turn.
 * Safe to repeat. Answers false when it was open before, or its items are still being collected. The
 * operation must be locked or running.
 */
export async function openJob(tx: Tx, operationId: string, generation: number): Promise<boolean> {
  const { rows } = await tx.query<{ run_again: JobRow["run_again"]; collector: string | null }>(
    `update holdfast.jobs set open_generation = $2
      where operation_id = $1 and open_generation is distinct from $2
        and (collector is null or collected_at is not null)
      returning run_again, collector`,
    [operationId, generation],
  );
  if (!rows[0]) return false;
  const { run_again, collector } = rows[0];
  const left = LEFT_OUT[run_again];
  if (generation > 1 && left.length > 0) await leaveOut(tx, operationId, generation, left);
  if (generation > 1 && collector !== null) await failUnqueued(tx, operationId, generation);
  await tx.query(
    `insert into holdfast.job_batches (operation_id, generation, no, place, first_item, last_item)
     select b.operation_id, $2, b.no, case when j.shuffle then (random() * 1e9)::int else b.no end,
            b.first_item, b.last_item
       from holdfast.sub_batches b
       join holdfast.jobs j on j.operation_id = $1
      where b.operation_id = $1
        and exists (select from holdfast.items i
                     where i.operation_id = $1 and i.no between b.first_item and b.last_item
                       and ${isOpen("i", "$2", "$1")})
     on conflict do nothing`,
    [operationId, generation],
  );
  await giveTurn(tx, operationId);
  return true;
}

/** A job is in turn with the others of its pipeline, unless it was. */
export async function giveTurn(tx: Tx, operationId: string): Promise<void> {
  await tx.query(
    `insert into holdfast.job_turns (operation_id, tenant, pipeline, served, started)
     select j.operation_id, j.tenant, j.pipeline, time.at, time.at
       from holdfast.jobs j
      cross join lateral (select coalesce(max(t.started), 0) as at from holdfast.job_turns t
                           where t.pipeline = j.pipeline) time
      where j.operation_id = $1
     on conflict do nothing`,
    [operationId],
  );
}

const LEFT_OUT = {
  unfinished: [],
  failed: ["cancelled"],
  remaining: ["failed", "lost"],
  all: [],
} as const satisfies Record<JobRow["run_again"], readonly string[]>;

// What is not run again ends as it did before, in the new generation too.
async function leaveOut(
  tx: Tx,
  operationId: string,
  generation: number,
  outcomes: readonly string[],
): Promise<void> {
  await tx.query(
    `with newest as (
       select distinct on (item_no) item_no, outcome, reason, attempt, settled_by
         from holdfast.outcomes where operation_id = $1 and generation < $2
        order by item_no, generation desc
     ), left_out as (
       insert into holdfast.outcomes
         (operation_id, item_no, generation, outcome, reason, attempt, settled_by)
       select $1, item_no, $2, outcome, reason, attempt, settled_by
         from newest where outcome = any($3) order by item_no
       on conflict do nothing
       returning outcome
     )
     insert into holdfast.progress_deltas (operation_id, source, stage, outcome, n, place)
     select $1, 'open/' || $2::int, '${JOB_STAGE}', outcome, count(*)::int,
            row_number() over (order by outcome) - 1
       from left_out group by outcome
     on conflict do nothing`,
    [operationId, generation, outcomes],
  );
}

// What could not be queued when it was collected still cannot.
async function failUnqueued(tx: Tx, operationId: string, generation: number): Promise<void> {
  await tx.query(
    `with failed as (
       insert into holdfast.outcomes
         (operation_id, item_no, generation, outcome, reason, settled_by)
       select $1, i.no, $2, 'failed', p.meta ->> '${UNQUEUED}', 'collect'
         from holdfast.payloads p
         join holdfast.items i on i.operation_id = $1 and i.no = p.item_no
        where p.operation_id = $1 and p.part = 0 and p.meta ? '${UNQUEUED}'
          and ${isOpen("i", "$2", "$1")}
        order by i.no
       on conflict do nothing
       returning outcome
     )
     insert into holdfast.progress_deltas (operation_id, source, stage, outcome, n)
     select $1, 'unqueued/' || $2::int, '${JOB_STAGE}', outcome, count(*)::int
       from failed group by outcome
     on conflict do nothing`,
    [operationId, generation],
  );
}

/** Where the meta of a payload says why its item could not be queued. */
export const UNQUEUED = "unqueued";

/**
 * Nothing of a job is handed out any more, in the transaction that ends it: leases end, so that their
 * holders may take something else. Answers the job, or undefined for what is none.
 */
export async function closeJob(tx: Tx, operationId: string): Promise<JobRow | undefined> {
  const { rows } = await tx.query<JobRow>(
    `with closed as (
       update holdfast.job_batches
          set state = 'done', holder = null, leased_until = null, beat_until = null
        where operation_id = $1 and state <> 'done'
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
  let closed = 0;
  // Whoever has one locked closes it, as a rule; it may be a sign of life too, which does not.
  for (const lock of ["skip locked", "skip locked", ""] as const) {
    const seen = await closeUnlocked(db, operationId, generation, batches, lock);
    closed += seen.closed;
    if (seen.left === 0) break;
  }
  return closed;
}

// `offset 0` keeps the search for an open item one look for each batch; a join would read every item
// that the job has.
async function closeUnlocked(
  db: Queryable,
  operationId: string,
  generation: number,
  batches: readonly number[],
  lock: "skip locked" | "",
): Promise<{ closed: number; left: number }> {
  const { rows } = await db.query<{ closed: number; left: number }>(
    `with settled as (
       select b.no from holdfast.job_batches b
        where b.operation_id = $1 and b.generation = $2 and b.no = any($3) and b.state <> 'done'
          and not exists (
            select from holdfast.items i
             where i.operation_id = $1 and i.no between b.first_item and b.last_item
               and ${isOpen("i", "$2", "$1")}
            offset 0)
     ), locked as (
       select b.no from holdfast.job_batches b
        where b.operation_id = $1 and b.generation = $2
          and b.no = any(array(select no from settled))
        order by b.no
          for no key update of b ${lock}
     ), closed as (
       update holdfast.job_batches b
          set state = 'done', holder = null, leased_until = null, beat_until = null
        where b.operation_id = $1 and b.generation = $2
          and b.no = any(array(select no from locked)) and b.state <> 'done'
       returning b.no
     )
     select (select count(*)::int from closed) as closed,
            (select count(*)::int from settled) - (select count(*)::int from locked) as left`,
    [operationId, generation, batches],
  );
  return rows[0]!;
}

/**
 * Wakes running jobs of which no batch is open any more, so that they are finished: this one, or all
 * that nobody woke. Answers how many.
 */
export async function wakeSettledJobs(db: Queryable, operationId?: string): Promise<number> {
  const { rowCount } = await db.query(
    `update holdfast.operations op set wake_at = clock_timestamp()
       from holdfast.jobs j
      where j.operation_id = op.id and op.state = 'running'
        and (op.wake_at is null
             -- One that is being told of a wake before this may have looked too early.
             or $1::uuid is not null and op.wake_at > clock_timestamp())
        and j.open_generation = op.generation
        and j.operation_id in (select t.operation_id from holdfast.job_turns t
                                where $1::uuid is null or t.operation_id = $1)
        and not exists (select from holdfast.job_batches b
                         where b.operation_id = op.id and b.generation = op.generation
                           and b.state = 'ready')
        and not exists (select from holdfast.job_batches b
                         where b.operation_id = op.id and b.generation = op.generation
                           and b.state = 'leased')`,
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

/** Batches of a job's newest generation by state, and what its leases came to. */
export async function countBatches(
  db: Queryable,
  operationId: string,
): Promise<{ ready: number; leased: number; done: number }> {
  const { rows } = await db.query<{ ready: number; leased: number; done: number }>(
    `select count(*) filter (where b.state = 'ready')::int as ready,
            count(*) filter (where b.state = 'leased')::int as leased,
            count(*) filter (where b.state = 'done')::int as done
       from holdfast.job_batches b
       join holdfast.operations op on op.id = b.operation_id
      where b.operation_id = $1 and b.generation = op.generation`,
    [operationId],
  );
  return rows[0]!;
}

/** How often batches of a job were handed out, and handed out again; all generations. */
export async function countDeliveries(
  db: Queryable,
  operationId: string,
): Promise<{ deliveries: number; redeliveries: number }> {
  const { rows } = await db.query<{ deliveries: number; redeliveries: number }>(
    `select count(*)::int as deliveries,
            count(*) filter (where delivery > 1)::int as redeliveries
       from holdfast.job_leases where operation_id = $1`,
    [operationId],
  );
  return rows[0]!;
}

export interface PipelineDepth {
  pipeline: string;
  tenant: string;
  jobs: number;
  /** Batches that may be claimed now. */
  ready: number;
  /** Seconds that the oldest of them has waited. */
  oldest_seconds: number;
}

/** What may be claimed, by pipeline and tenant: for autoscalers. */
export async function pipelineDepths(
  db: Queryable,
  tenants?: readonly string[],
): Promise<PipelineDepth[]> {
  const { rows } = await db.query<PipelineDepth>(
    `select c.pipeline, c.tenant, count(distinct c.operation_id)::int as jobs,
            count(*)::int as ready,
            extract(epoch from clock_timestamp() - min(b.ready_at))::float8 as oldest_seconds
       from holdfast.claimable_jobs() c
       join holdfast.job_batches b
         on b.operation_id = c.operation_id and b.generation = c.generation and b.state = 'ready'
      where $1::text[] is null or c.tenant = any($1)
      group by 1, 2 order by 1, 2`,
    [tenants ?? null],
  );
  return rows;
}
