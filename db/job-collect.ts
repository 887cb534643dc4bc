import { InvalidInput } from "../contracts/errors.ts";
import { JOB_LIMITS } from "../contracts/job.ts";
import { queuedItem, shuffled, type QueuedItem } from "../domain/job-collect.ts";
import { openJob, UNQUEUED } from "./job-open.ts";
import { JOB_STAGE } from "./job-stages.ts";
import { shareOperation } from "./locks.ts";
import { arrayText } from "./payloads.ts";
import type { Queryable, Tx } from "./pool.ts";
import { addDeltas } from "./progress.ts";

/**
 * Items of a job that a collector finds: page by page, each in one transaction, in the order of the
 * cursors it answers. Nothing is handed out before the last page is there.
 */

/** The stage of progress that counts what is collected. */
const COLLECT_STAGE = "collect";

export interface Collecting {
  tenant: string;
  pipeline: string;
  collector: string;
  /** Where the next page begins; undefined: at the start. */
  after: string | undefined;
  collected: number;
  /** The most items that it may still find. */
  room: number;
  done: boolean;
}

/** How far the collection of a job is; undefined for a job whose items came with it. */
export async function findCollecting(
  db: Queryable,
  operationId: string,
): Promise<Collecting | undefined> {
  const { rows } = await db.query<Omit<Collecting, "after"> & { after: string | null }>(
    `select tenant, pipeline, collector, collected_after as after, collected,
            least(take, $2) - collected as room, collected_at is not null as done
       from holdfast.jobs where operation_id = $1 and collector is not null`,
    [operationId, JOB_LIMITS.items],
  );
  const [row] = rows;
  return row && { ...row, after: row.after ?? undefined };
}

export interface CollectedItems {
  operationId: string;
  generation: number;
  /** The cursor that this page was asked with; undefined for the first. */
  after: string | undefined;
  /** As the collector gave them: what is no item becomes a failed one. */
  items: readonly unknown[];
  next: string | undefined;
  /** Nothing comes after this page. */
  done: boolean;
  /** Items that the tenant may have open, these included. Absent: any number. */
  maxOpenItems?: number | undefined;
}

/**
 * `repeated`: a page that was asked with this cursor is there; nothing changed. `no room`: the tenant
 * has too many items open; ask again later. `too many`: this job alone has more items than a job, or
 * its tenant, may have. `ended`: the operation is not running in this generation, or was collected.
 * `after` is where to go on, whatever it is; `done`: collected, and handed out from here on.
 */
export interface Collected {
  status: "written" | "repeated" | "no room" | "too many" | "ended";
  after: string | undefined;
  collected: number;
  done: boolean;
  /** What is open, and may be, when there is no room. */
  open?: number;
  limit?: number;
}

/**
 * Writes one page: items, payloads and sub-batches go after the last, the cursor moves, and the last
 * page sets the totals of the operation, its only write here, and opens the job. A page that was asked
 * with a cursor that has moved on changes nothing. A fixed number of statements, however many items.
 * @throws InvalidInput for a page that leads nowhere
 */
export async function collectPage(tx: Tx, page: CollectedItems): Promise<Collected> {
  const { operationId, generation } = page;
  if (!page.done && (page.next === undefined || page.next === page.after)) {
    const message = "must say where the next page begins, which is not where this one did";
    throw new InvalidInput([{ path: "next", message }]);
  }
  await shareOperation(tx, operationId);
  await lockIfLast(tx, page);
  const job = await lockCollection(tx, page);
  if (!job) return { status: "ended", after: undefined, collected: 0, done: false };
  const { collected } = job;
  const standing = { after: job.after ?? undefined, collected, done: job.done };
  if (job.done || !job.fits) return { status: "repeated", ...standing };

  const most = Math.min(job.take ?? JOB_LIMITS.items, JOB_LIMITS.items);
  const found = page.items.slice(0, Math.max(0, (job.take ?? Infinity) - collected));
  const after = collected + found.length;
  const limit = Math.min(most, page.maxOpenItems ?? Infinity);
  if (after > limit) return { status: "too many", ...standing, open: after, limit };
  const open = job.open + found.length;
  if (page.maxOpenItems !== undefined && found.length > 0 && open > page.maxOpenItems) {
    return { status: "no room", ...standing, open: job.open, limit: page.maxOpenItems };
  }

  const items = found.map(queuedItem);
  await insertItems(tx, job, page, job.shuffle ? shuffled(items, Math.random) : items);
  const done = page.done || after === job.take;
  await moveCursor(tx, page, after, done);
  if (done) await openJob(tx, operationId, generation);
  return { status: "written", after: page.next, collected: after, done };
}

// The last page writes the operation's row, which is locked before the job's, as by who begins it.
async function lockIfLast(tx: Tx, { operationId, items, done }: CollectedItems): Promise<void> {
  await tx.query(
    `select from holdfast.operations
      where id = $1
        and ($2 or exists (select from holdfast.jobs
                            where operation_id = $1 and take <= collected + $3::int))
        for no key update`,
    [operationId, done, items.length],
  );
}

interface LockedCollection {
  after: string | null;
  collected: number;
  done: boolean;
  /** The page was asked with the cursor that stands. */
  fits: boolean;
  take: number | null;
  shuffle: boolean;
  batch_size: number;
  /** Items of the tenant, as accepted or collected, but those of jobs that began to collect later. */
  open: number;
}

async function lockCollection(
  tx: Tx,
  { operationId, generation, after }: CollectedItems,
): Promise<LockedCollection | undefined> {
  const { rows } = await tx.query<LockedCollection>(
    `select j.collected_after as after, j.collected, j.collected_at is not null as done,
            j.collected_after is not distinct from $3 as fits, j.take, j.shuffle, j.batch_size,
            (select coalesce(sum(greatest(o.total, others.collected)), 0)::float8
               from holdfast.operations o
               left join holdfast.jobs others on others.operation_id = o.id
              where o.tenant = op.tenant and o.state in ('accepted', 'running')
                -- Of several that collect, the first gets on and ends; else each might wait for the others.
                and (o.id <= op.id or others.operation_id is null or others.collector is null
                     or others.collected_at is not null)) as open
       from holdfast.jobs j
       join holdfast.operations op on op.id = j.operation_id
      where j.operation_id = $1 and j.collector is not null
        and op.state = 'running' and op.generation = $2 and op.cancel_requested_at is null
        for update of j`,
    [operationId, generation, after ?? null],
  );
  return rows[0];
}

// Batches are cut by number alone, so that small pages fill the last one up.
async function insertItems(
  tx: Tx,
  { collected, batch_size }: LockedCollection,
  { operationId, generation }: CollectedItems,
  items: readonly QueuedItem[],
): Promise<void> {
  if (items.length === 0) return;
  const sizes = items.map(({ payload }) => Buffer.byteLength(payload));
  await tx.query(
    `with written as (
       insert into holdfast.items (operation_id, no, batch, size, key)
       select $1, $2::int + i.place, ($2::int + i.place - 1) / $3::int + 1, i.size, i.key
         from unnest($4::int[], $5::text[]) with ordinality as i(size, key, place)
       returning no, batch, size
     )
     insert into holdfast.sub_batches (operation_id, no, first_item, last_item, size)
     select $1, batch, min(no), max(no), sum(size) from written group by batch order by batch
     on conflict (operation_id, no) do update
        set last_item = excluded.last_item, size = sub_batches.size + excluded.size`,
    [operationId, collected, batch_size, arrayText(sizes), items.map(({ key }) => key)],
  );
  await insertPayloads(tx, operationId, collected, items);
  const unqueued = items.flatMap((item, n) =>
    item.unqueued === undefined ? [] : [{ no: collected + n + 1, reason: item.unqueued }],
  );
  if (unqueued.length > 0) {
    await tx.query(
      `insert into holdfast.outcomes
         (operation_id, item_no, generation, outcome, reason, settled_by)
       select $1, u.no, $2, 'failed', u.reason, 'collect'
         from unnest($3::int[], $4::text[]) as u(no, reason)`,
      [operationId, generation, unqueued.map(({ no }) => no), unqueued.map(({ reason }) => reason)],
    );
  }
  await addDeltas(tx, operationId, `${COLLECT_STAGE}/${collected + 1}`, [
    { stage: COLLECT_STAGE, outcome: "items", n: items.length },
    ...(unqueued.length > 0 ? [{ stage: JOB_STAGE, outcome: "failed", n: unqueued.length }] : []),
  ]);
}

async function insertPayloads(
  tx: Tx,
  operationId: string,
  collected: number,
  items: readonly QueuedItem[],
): Promise<void> {
  const carried = items.flatMap((item, n) => {
    const { payload, reference, unqueued } = item;
    const meta =
      unqueued !== undefined ? { [UNQUEUED]: unqueued } : reference ? { reference } : undefined;
    if (payload === "" && meta === undefined) return [];
    return [{ no: collected + n + 1, payload, meta: meta ? JSON.stringify(meta) : null }];
  });
  if (carried.length === 0) return;
  await tx.query(
    `insert into holdfast.payloads (operation_id, item_no, part, meta, content)
     select $1, p.no, 0, p.meta, p.content
       from unnest($2::int[], $3::jsonb[], $4::text[]) as p(no, meta, content)`,
    [
      operationId,
      carried.map(({ no }) => no),
      carried.map(({ meta }) => meta),
      carried.map(({ payload }) => payload),
    ],
  );
}

async function moveCursor(
  tx: Tx,
  { operationId, next }: CollectedItems,
  collected: number,
  done: boolean,
): Promise<void> {
  await tx.query(
    `update holdfast.jobs
        set collected_after = coalesce($2, collected_after), collected = $3,
            page_at = clock_timestamp(), collected_at = case when $4 then clock_timestamp() end
      where operation_id = $1`,
    [operationId, next ?? null, collected, done],
  );
  if (done) await setTotals(tx, operationId);
}

/** What an operation holds is what was collected for it, however far that came. Answers its items. */
export async function setTotals(tx: Tx, operationId: string): Promise<number> {
  const { rows } = await tx.query<{ total: number }>(
    `update holdfast.operations op
        set total = held.items, batches = held.batches, bytes = held.bytes
       from (select coalesce(max(last_item), 0) as items, count(*)::int as batches,
                    coalesce(sum(size), 0) as bytes
               from holdfast.sub_batches where operation_id = $1) held
      where op.id = $1
      returning op.total`,
    [operationId],
  );
  return rows[0]!.total;
}
