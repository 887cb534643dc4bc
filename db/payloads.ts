import type { Queryable, Tx } from "./pool.ts";

/** What items carry, apart from the ledger, so that it can go earlier. */

/**
 * Payloads on their way in. All texts stand in one UTF-8 buffer and are cut by offsets on the
 * server: binary, nothing to escape on either side, far cheaper than an array of texts.
 */
export interface PayloadSlice {
  bytes: Buffer;
  /** In order; the meta JSON of an entry (length 0: none) follows its content in the buffer. */
  entries: readonly { itemNo: number; part: number; contentBytes: number; metaBytes: number }[];
}

/** Columns item_no, part, meta, content of `payloadRows`, whose first parameter is `$first`. */
export function payloadColumns(first: number): string {
  const text = (from: string, length: string) =>
    `convert_from(substring($${first}::bytea from ${from} for ${length}), 'UTF8')`;
  return `p.item_no, p.part,
              case when p.meta_bytes > 0
                   then ${text("p.start_at + p.content_bytes", "p.meta_bytes")}::jsonb end,
              ${text("p.start_at", "p.content_bytes")}`;
}

export function payloadRows(first: number): string {
  const arrays = [1, 2, 3, 4, 5].map((i) => `$${first + i}::int[]`).join(", ");
  return `unnest(${arrays}) as p(item_no, part, start_at, content_bytes, meta_bytes)`;
}

export function payloadValues({ bytes, entries }: PayloadSlice): unknown[] {
  let next = 1; // substring counts from 1
  const starts = entries.map((entry) => {
    const start = next;
    next += entry.contentBytes + entry.metaBytes;
    return start;
  });
  return [
    bytes,
    entries.map((entry) => entry.itemNo),
    entries.map((entry) => entry.part),
    starts,
    entries.map((entry) => entry.contentBytes),
    entries.map((entry) => entry.metaBytes),
  ];
}

/** Further slices of a batch too large for one statement, in the transaction of its accept. */
export async function insertPayloads(
  tx: Tx,
  operationId: string,
  slice: PayloadSlice,
): Promise<void> {
  await tx.query(
    `insert into holdfast.payloads (operation_id, item_no, part, meta, content)
     select $1, ${payloadColumns(2)} from ${payloadRows(2)}`,
    [operationId, ...payloadValues(slice)],
  );
}

export interface PayloadRow {
  item_no: number;
  part: number;
  meta: Record<string, unknown> | null;
  content: string;
}

/** First parts of some items: the whole content of all but large ones. */
export async function loadPayloads(
  db: Queryable,
  operationId: string,
  itemNos: readonly number[],
): Promise<PayloadRow[]> {
  const { rows } = await db.query<PayloadRow>(
    `select item_no, part, meta, content from holdfast.payloads
      where operation_id = $1 and item_no = any($2) and part = 0
      order by item_no`,
    [operationId, itemNos],
  );
  return rows;
}

/** One part of one item; undefined after the last. */
export async function loadPayloadPart(
  db: Queryable,
  operationId: string,
  itemNo: number,
  part: number,
): Promise<PayloadRow | undefined> {
  const { rows } = await db.query<PayloadRow>(
    `select item_no, part, meta, content from holdfast.payloads
      where operation_id = $1 and item_no = $2 and part = $3`,
    [operationId, itemNo, part],
  );
  return rows[0];
}

/** Payload goes with what it belonged to: an erased document. */
export async function deletePayloads(
  tx: Tx,
  operationId: string,
  itemNos: readonly number[],
): Promise<void> {
  await tx.query("delete from holdfast.payloads where operation_id = $1 and item_no = any($2)", [
    operationId,
    itemNos,
  ]);
}
