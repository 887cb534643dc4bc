import type { Finished } from "../contracts/messages.ts";
import { holdupOf, stallStep, type StallFacts } from "../domain/job-stall.ts";
import { finishOperation } from "./finish.ts";
import { hasOpenItem, isOpen } from "./items.ts";
import { PULL_WORKER_ONLINE_SECONDS } from "./job-workers.ts";
import { giveTurn, openJob } from "./job-open.ts";
import { ownOperation, shareOperation } from "./locks.ts";
import type { Queryable, Tx } from "./pool.ts";

/** What holds jobs up: what decides it, and the repair and the end of one that is stuck. */

export interface JobStanding extends StallFacts {
  now: Date;
  /** Items settled since then, in the last `paceSeconds`; null before it began. */
  settled: number;
  settledSince: Date | null;
}

/** Batches of one job, ready or held, that are counted at most. */
export const MOST_COUNTED = 10_000;
const PACE_SECONDS = 300;

/**
 * What is known of some jobs at this moment, by id: one statement, and no look at the ledger. Counts of
 * batches stop at `most`.
 */
export async function readStalls(
  db: Queryable,
  ids: readonly string[],
  most = MOST_COUNTED,
): Promise<Map<string, JobStanding>> {
  const { rows } = await db.query<
    Omit<JobStanding, "collecting"> & { id: string; collected: number | null; pageAt: Date | null }
  >(
    `select id, now, pipeline, at_work as "atWork", started_at as "startedAt", collected,
            page_at as "pageAt", open, ready, leased, workers_online as "workersOnline",
            worker_seen_at as "workerSeenAt", claimed_at as "claimedAt", result_at as "resultAt",
            repaired_at as "repairedAt", settled, settled_since as "settledSince"
       from holdfast.job_standings($1, $2, $3, $4)`,
    [ids, PULL_WORKER_ONLINE_SECONDS, most, PACE_SECONDS],
  );
  return new Map(
    rows.map(({ id, collected, pageAt, ...facts }) => [
      id,
      { ...facts, ...(collected === null ? {} : { collecting: { collected, pageAt } }) },
    ]),
  );
}

/**
 * Batches for open items that nothing would hand out: the batch they were cut into when none of its open
 * items is in one, else one of their own. Takes nothing from a batch that is there, gives each at least
 * one more delivery, and goes on with the numbers of leases there were. Answers how many it made; safe
 * to repeat.
 */
export async function repairBatches(
  tx: Tx,
  operationId: string,
  generation: number,
): Promise<number> {
  await shareOperation(tx, operationId);
  const { rows } = await tx.query<{ deliveries: number }>(
    `update holdfast.jobs j set repaired_at = clock_timestamp()
       from holdfast.operations op
      where j.operation_id = $1 and op.id = $1 and op.state = 'running' and op.generation = $2
        and (j.collector is null or j.collected_at is not null)
      returning j.deliveries`,
    [operationId, generation],
  );
  if (!rows[0]) return 0;
  await openJob(tx, operationId, generation);
  await giveTurn(tx, operationId);
  const { rowCount } = await tx.query(
    `with open as (
       select i.no, i.batch,
              not exists (select from holdfast.job_batches b
                           where b.operation_id = $1 and b.generation = $2 and b.no = i.batch
                             and b.state <> 'done')
              and not exists (select from holdfast.job_batches b
                               where b.operation_id = $1 and b.generation = $2 and b.no = -i.no
                                 and b.state <> 'done') as bare
         from holdfast.items i
        where i.operation_id = $1 and ${isOpen("i", "$2", "$1")}
     ), whole as (
       select batch from open group by batch having bool_and(bare)
     ), missing as (
       select s.no, s.no as place, s.first_item, s.last_item
         from holdfast.sub_batches s join whole w on w.batch = s.no
        where s.operation_id = $1
        union all
       select -o.no, o.batch, o.no, o.no from open o
        where o.bare and o.batch not in (select batch from whole)
     )
     insert into holdfast.job_batches
       (operation_id, generation, no, place, first_item, last_item, lease, delivery)
     select $1, $2, m.no, m.place, m.first_item, m.last_item, coalesce(l.lease, 0),
            least(coalesce(l.delivery, 0), $3::int - 1)
       from missing m
       left join lateral (select max(lease) as lease, max(delivery) as delivery
                            from holdfast.job_leases
                           where operation_id = $1 and generation = $2 and batch = m.no) l on true
      order by m.no
     on conflict (operation_id, generation, no) do update
        set state = 'ready', delivery = least(job_batches.delivery, excluded.delivery),
            ready_at = clock_timestamp()
      where job_batches.state = 'done'`,
    [operationId, generation, rows[0].deliveries],
  );
  return rowCount ?? 0;
}

/**
 * Ends a job that is stuck and has been for ten minutes after its batches were mended: what is open is
 * lost. Undefined for any other: it is decided here, with nothing of the job in flight.
 */
export async function endStuckJob(
  tx: Tx,
  job: { id: string; generation: number; by: string },
): Promise<Finished | undefined> {
  await ownOperation(tx, job.id);
  const facts = (await readStalls(tx, [job.id])).get(job.id);
  if (!facts || stallStep(facts, facts.now.getTime()) !== "end") return undefined;
  if (!(await hasOpenItem(tx, job.id, job.generation))) return undefined;
  const why = holdupOf(facts, facts.now.getTime())!.text;
  const reason = `stuck: ${why}, and mending its batches has not helped`;
  return finishOperation(tx, { ...job, outcome: "lost", reason });
}
