import type { ItemView, Outcome, Page } from "../contracts/operation.ts";
import type { Queryable } from "./pool.ts";

/** Items: one half of the ledger. Insert-only; written with their operation (db/operations.ts). */

/**
 * SQL: an outcome `o` of an earlier generation stands: it is none that may be run again, which is written
 * here and in `RERUN_OUTCOMES`, and no later generation was asked for all items. The second is looked up
 * only where the first is so.
 */
const stands = (o: string, operation = `${o}.operation_id`) => `(
  ${o}.outcome not in ('failed', 'lost', 'cancelled')
  and not exists (select from holdfast.jobs asked
                   where asked.operation_id = ${operation} and asked.base_generation > ${o}.generation))`;

/**
 * True for an item that still has to be done in generation `$generation`: it has no outcome there,
 * and none before it that stands.
 *
 * `offset 0` keeps it a look-up per item. A new operation is unknown to the statistics, so that a join
 * is planned for one outcome and reads every outcome of the operation for each of its items. Where
 * all items are of one `operation`, naming it lets the planner choose the partition.
 */
export const isOpen = (
  item: string,
  generation: string,
  operation = `${item}.operation_id`,
) => `not exists (
  select from holdfast.outcomes o
   where o.operation_id = ${operation} and o.item_no = ${item}.no
     and (o.generation = ${generation} or ${stands("o", operation)})
  offset 0)`;

/** Tries of an item `i` of operation `$1` in generation `$2`; nulls when there were none. By item, too. */
const TRIES = `left join lateral (
  select t.attempts, t.crashes, t.due_at from holdfast.attempts t
   where t.operation_id = $1 and t.item_no = i.no and t.generation = $2
  offset 0) a on true`;

export interface DueItem {
  no: number;
  seq: string;
  key: string;
  size: number;
  attempts: number;
  crashes: number;
}

/**
 * The next open items of a range of sub-batches that are due now, in order, up to `limit` items and
 * about `maxSize` code points (always at least one item).
 */
export async function findDueItems(
  db: Queryable,
  range: { operationId: string; generation: number; fromBatch: number; toBatch: number },
  page: { limit: number; maxSize: number; afterItem: number },
): Promise<DueItem[]> {
  const { rows } = await db.query<DueItem>(
    `select no, seq, key, size, attempts, crashes
       from (select due.*, sum(size) over (order by no) - size as before
               from (select i.no, i.seq, i.key, i.size,
                            coalesce(a.attempts, 0) as attempts, coalesce(a.crashes, 0) as crashes
                       from holdfast.items i
                       ${TRIES}
                      where i.operation_id = $1
                        and i.no between
                          (select first_item from holdfast.sub_batches
                            where operation_id = $1 and no = $3)
                          and (select last_item from holdfast.sub_batches
                                where operation_id = $1 and no = $4)
                        and i.no > $7
                        and (a.due_at is null or a.due_at <= clock_timestamp())
                        and ${isOpen("i", "$2", "$1")}
                      order by i.no
                      limit $5) as due) as sized
      where before < $6 or before = 0
      order by no`,
    [
      range.operationId,
      range.generation,
      range.fromBatch,
      range.toBatch,
      page.limit,
      page.maxSize,
      page.afterItem,
    ],
  );
  return rows;
}

/** What is left of a range: how many items are open, and when the first of them is due. */
export async function openInRange(
  db: Queryable,
  range: { operationId: string; generation: number; fromBatch: number; toBatch: number },
): Promise<{ open: number; nextDueAt: Date | null }> {
  const { rows } = await db.query<{ open: number; next_due_at: Date | null }>(
    `select count(*)::int as open, min(coalesce(a.due_at, '-infinity'::timestamptz)) as next_due_at
       from holdfast.items i
       ${TRIES}
      where i.operation_id = $1
        and i.no between
          (select first_item from holdfast.sub_batches where operation_id = $1 and no = $3)
          and (select last_item from holdfast.sub_batches where operation_id = $1 and no = $4)
        and ${isOpen("i", "$2", "$1")}`,
    [range.operationId, range.generation, range.fromBatch, range.toBatch],
  );
  const { open, next_due_at } = rows[0]!;
  // -infinity comes back as a number: due at once.
  return { open, nextDueAt: next_due_at instanceof Date ? next_due_at : null };
}

/** Items open in the given generation, of the whole operation. */
export async function countOpen(
  db: Queryable,
  operationId: string,
  generation: number,
): Promise<number> {
  const { rows } = await db.query<{ open: number }>(
    `select count(*)::int as open from holdfast.items i
      where i.operation_id = $1 and ${isOpen("i", "$2", "$1")}`,
    [operationId, generation],
  );
  return rows[0]!.open;
}

/**
 * Whether any item is open in the given generation. Two counts: where nothing is open, as when this is
 * asked, a look-up per item takes several times as long.
 */
export async function hasOpenItem(
  db: Queryable,
  operationId: string,
  generation: number,
): Promise<boolean> {
  const { rows } = await db.query<{ open: boolean }>(
    `select (select count(*) from holdfast.items where operation_id = $1)
            > (select count(*) from holdfast.outcomes
                where operation_id = $1
                  and (generation = $2
                       or (outcome not in ('failed', 'lost', 'cancelled')
                           and generation >= coalesce((select base_generation from holdfast.jobs
                                                        where operation_id = $1), 1)))) as open`,
    [operationId, generation],
  );
  return rows[0]!.open;
}

export interface ItemFilter {
  outcome?: Outcome | "open" | undefined;
  batch?: number | undefined;
  limit: number;
  /** Number of the last item of the page before. */
  after?: number | undefined;
}

/** One page of items with their current outcome: that of the newest generation. */
export async function listItems(
  db: Queryable,
  operationId: string,
  filter: ItemFilter,
): Promise<Page<ItemView>> {
  const { rows } = await db.query<{
    no: number;
    batch: number;
    key: string;
    seq: string;
    size: number;
    outcome: Outcome | null;
    reason: string | null;
    generation: number | null;
    attempts: number | null;
    crashes: number | null;
    due_at: Date | null;
    last_error: string | null;
    settled_at: Date | null;
  }>(
    `select i.no, i.batch, i.key, i.seq, i.size, o.outcome, o.reason, o.generation,
            a.attempts, a.crashes, a.due_at, a.last_error, o.settled_at
       from holdfast.items i
       join holdfast.operations op on op.id = i.operation_id
       left join lateral (
         select outcome, reason, generation, settled_at from holdfast.outcomes
          where operation_id = i.operation_id and item_no = i.no
            and (generation = op.generation or ${stands("outcomes", "op.id")}
                 or op.state in ('completed', 'failed', 'cancelled'))
          order by generation desc limit 1) o on true
       left join holdfast.attempts a
         on a.operation_id = i.operation_id and a.item_no = i.no and a.generation = op.generation
      where i.operation_id = $1
        and i.no > $2
        and ($3::int is null or i.batch = $3)
        and ($4::text is null or o.outcome = $4)
        and (not $5 or o.outcome is null)
      order by i.no
      limit $6`,
    [
      operationId,
      filter.after ?? 0,
      filter.batch ?? null,
      filter.outcome === "open" ? null : (filter.outcome ?? null),
      filter.outcome === "open",
      filter.limit + 1,
    ],
  );
  const items = rows.slice(0, filter.limit).map((row): ItemView => ({
    no: row.no,
    batch: row.batch,
    key: row.key,
    seq: row.seq,
    size: row.size,
    outcome: row.outcome,
    reason: row.reason,
    generation: row.generation,
    attempts: row.attempts ?? 0,
    crashes: row.crashes ?? 0,
    nextRetryAt: row.outcome === null && row.due_at ? row.due_at.toISOString() : null,
    lastError: row.last_error,
    settledAt: row.settled_at?.toISOString() ?? null,
  }));
  return rows.length > filter.limit ? { items, next: String(items.at(-1)!.no) } : { items };
}

export interface SubBatchRow {
  no: number;
  first_item: number;
  last_item: number;
  size: string;
  settled: number;
  failed: number;
}

/** Sub-batches of an operation with how far each is. */
export async function listSubBatches(
  db: Queryable,
  operationId: string,
  page: { after: number; limit: number },
): Promise<SubBatchRow[]> {
  const { rows } = await db.query<SubBatchRow>(
    `select b.no, b.first_item, b.last_item, b.size,
            count(o.item_no)::int as settled,
            count(o.item_no) filter (where o.outcome in ('failed', 'lost'))::int as failed
       from holdfast.sub_batches b
       join holdfast.operations op on op.id = b.operation_id
       left join lateral (
         select distinct on (item_no) item_no, outcome, generation from holdfast.outcomes
          where operation_id = b.operation_id and item_no between b.first_item and b.last_item
          order by item_no, generation desc) o
         on o.generation = op.generation or ${stands("o", "op.id")}
            or op.state in ('completed', 'failed', 'cancelled')
      where b.operation_id = $1 and b.no > $2
      group by b.no, b.first_item, b.last_item, b.size
      order by b.no
      limit $3`,
    [operationId, page.after, page.limit],
  );
  return rows;
}

/** Items per sub-batch, in order: what ranges are cut from. */
export async function subBatchSizes(db: Queryable, operationId: string): Promise<number[]> {
  const { rows } = await db.query<{ items: number }>(
    `select last_item - first_item + 1 as items from holdfast.sub_batches
      where operation_id = $1 order by no`,
    [operationId],
  );
  return rows.map((row) => row.items);
}
