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

/** A list as the text of a Postgres array: one join, where the driver would escape each element. */
export function arrayText(list: readonly number[]): string {
  return `{${list.join(",")}}`;
}

/** The last six arguments of `holdfast.accept_operation` and `holdfast.accept_payloads`. */
export function payloadValues({ bytes, entries }: PayloadSlice): unknown[] {
  let next = 1; // substring counts from 1
  const starts = entries.map((entry) => {
    const start = next;
    next += entry.contentBytes + entry.metaBytes;
    return start;
  });
  return [
    bytes,
    arrayText(entries.map((entry) => entry.itemNo)),
    arrayText(entries.map((entry) => entry.part)),
    arrayText(starts),
    arrayText(entries.map((entry) => entry.contentBytes)),
    arrayText(entries.map((entry) => entry.metaBytes)),
  ];
}

/** Further slices of a batch too large for one statement, in the transaction of its accept. */
export async function insertPayloads(
  tx: Tx,
  operationId: string,
  slice: PayloadSlice,
): Promise<void> {
  await tx.query("select holdfast.accept_payloads($1, $2, $3, $4, $5, $6, $7)", [
    operationId,
    ...payloadValues(slice),
  ]);
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
