import type { Outcome } from "../contracts/operation.ts";
import { verdictOf } from "../domain/verdict.ts";
import { isBankLive } from "./banks.ts";
import { lockDocuments } from "./documents.ts";
import { ownBank, shareKnowledge } from "./locks.ts";
import { appendLogs } from "./logs.ts";
import { addMarks } from "./marks.ts";
import { CONSOLIDATE } from "./observations.ts";
import { countOutcomes, failureReasons } from "./outcomes.ts";
import { deleteDerived } from "./parts.ts";
import type { Tx } from "./pool.ts";
import { DOCUMENT_KEY, eraseFromIndex, factKeysOf, ownOwnIndex } from "./search-erase.ts";

/**
 * Erasing a document, in one transaction that owns the bank: no commit of work is in flight, and
 * those to come see the tombstone. Everything accepted before it ends `superseded`.
 */

export interface DocumentKey {
  bankId: string;
  tenant: string;
  /** Name of the bank. */
  bank: string;
  documentId: string;
}

export interface ErasedDocument {
  parts: number;
  /** Items, of any operation, whose payload went. */
  items: number;
}

interface ItemRef {
  operation_id: string;
  no: number;
  seq: string;
}

/** Stands where a text stood that may have quoted the document. */
const ERASED = "document erased";

/** Undefined: the bank never heard of this document. */
export async function eraseDocument(tx: Tx, key: DocumentKey): Promise<ErasedDocument | undefined> {
  await ownBank(tx, key.bankId);
  if (!(await isBankLive(tx, key.bankId))) return undefined;
  const items = await findItemsOf(tx, key);
  if (items.length === 0 && !(await isKnown(tx, key))) return undefined;

  await lockDocuments(tx, key.bankId, [key.documentId]);
  await markDocumentErased(tx, key);
  await shareKnowledge(tx, key.bankId);
  const parts = await deletePartsOf(tx, key);
  const seqs = [...new Set([...parts, ...items.map((item) => item.seq)])];
  await eraseIndexed(tx, key, seqs);
  await eraseKnowledge(tx, key.bankId, seqs);
  await deletePayloadsOf(tx, items);
  // An operation that is ending now has read the reasons: wait for it, and correct what it wrote.
  await lockOperationRows(tx, items);
  const quoting = await eraseReasons(tx, items);
  for (const operationId of quoting) await eraseQuotes(tx, operationId);
  return { parts: parts.length, items: items.length };
}

// Without an index on the key, which every accept would pay for: the ledger of one bank is read.
async function findItemsOf(tx: Tx, key: DocumentKey): Promise<ItemRef[]> {
  const { rows } = await tx.query<ItemRef>(
    `select i.operation_id, i.no, i.seq
       from holdfast.operations op
       join holdfast.items i on i.operation_id = op.id
      where op.tenant = $1 and op.scope = $2 and op.kind = 'retain'
        and op.input ->> 'bankId' = $3 and i.key = $4`,
    [key.tenant, key.bank, key.bankId, key.documentId],
  );
  return rows;
}

async function isKnown(tx: Tx, { bankId, documentId }: DocumentKey): Promise<boolean> {
  const { rows } = await tx.query(
    "select 1 from holdfast.documents where bank_id = $1 and document_id = $2",
    [bankId, documentId],
  );
  return rows.length === 1;
}

async function markDocumentErased(tx: Tx, { bankId, documentId }: DocumentKey): Promise<void> {
  await tx.query(
    `update holdfast.documents
        set erased_seq = nextval('holdfast.item_seq'), head_seq = null,
            created_at = clock_timestamp(), updated_at = clock_timestamp()
      where bank_id = $1 and document_id = $2`,
    [bankId, documentId],
  );
}

async function deletePartsOf(tx: Tx, { bankId, documentId }: DocumentKey): Promise<string[]> {
  const { rows } = await tx.query<{ seq: string }>(
    "delete from holdfast.document_parts where bank_id = $1 and document_id = $2 returning seq",
    [bankId, documentId],
  );
  return rows.map((row) => row.seq);
}

// What died before and is still marked goes too; after this the drain finds nothing to write.
async function eraseIndexed(
  tx: Tx,
  { bankId, documentId }: DocumentKey,
  seqs: readonly string[],
): Promise<void> {
  await ownOwnIndex(tx);
  await eraseFromIndex(tx, { type: "fact", keys: await factKeysOf(tx, seqs) });
  const { rows } = await tx.query<{ key: string }>(
    `select ${DOCUMENT_KEY} as key from (values ($1, $2)) as d(bank_id, document_id)`,
    [bankId, documentId],
  );
  await eraseFromIndex(tx, { type: "document", keys: rows.map((row) => row.key) });
}

/**
 * Removes what was derived of parts, staged ones too. Observations about their entities go whether
 * they name these facts as sources or not, for what they say may come from them; entities that
 * other documents speak of are consolidated again.
 */
async function eraseKnowledge(tx: Tx, bankId: string, seqs: readonly string[]): Promise<void> {
  const { rows } = await tx.query<{ entity: string }>(
    "select distinct entity from holdfast.fact_entities where part_seq = any($1)",
    [seqs],
  );
  const entities = rows.map((row) => row.entity);
  await tx.query("delete from holdfast.staged_parts where part_seq = any($1)", [seqs]);
  await deleteDerived(tx, seqs);
  const { rows: surviving } = await tx.query<{ entity: string }>(
    `with said as (
       delete from holdfast.observations where bank_id = $1 and entity = any($2)
     ), failing as (
       delete from holdfast.quarantine where queue = $3 and scope = $1::text and key = any($2)
     ), marked as (
       delete from holdfast.marks
        where queue = $3 and scope = $1::text
          and key = any(array(select 'entity/' || unnest($2::text[])
                              union all select 'part/' || unnest($4::bigint[])))
     )
     select entity from unnest($2::text[]) as e(entity)
      where exists (select from holdfast.fact_entities f
              where f.bank_id = $1 and f.entity = e.entity)`,
    [bankId, entities, CONSOLIDATE, seqs],
  );
  await addMarks(
    tx,
    CONSOLIDATE,
    bankId,
    surviving.map((row) => `entity/${row.entity}`),
  );
}

async function deletePayloadsOf(tx: Tx, items: readonly ItemRef[]): Promise<void> {
  await tx.query(
    `delete from holdfast.payloads p
      using unnest($1::uuid[], $2::int[]) as i(operation_id, no)
      where p.operation_id = i.operation_id and p.item_no = i.no`,
    [items.map((item) => item.operation_id), items.map((item) => item.no)],
  );
}

async function lockOperationRows(tx: Tx, items: readonly ItemRef[]): Promise<void> {
  await tx.query("select 1 from holdfast.operations where id = any($1) order by id for update", [
    [...new Set(items.map((item) => item.operation_id))],
  ]);
}

/** Blanks errors and reasons of items, which need not wait for a try any more. Answers the operations that had some. */
async function eraseReasons(tx: Tx, items: readonly ItemRef[]): Promise<string[]> {
  const { rows } = await tx.query<{ operation_id: string }>(
    `with erased as (
       select * from unnest($1::uuid[], $2::int[]) as i(operation_id, no)
     ), tries as (
       update holdfast.attempts a set last_error = $3, due_at = clock_timestamp()
         from erased i
        where a.operation_id = i.operation_id and a.item_no = i.no and a.last_error is not null
       returning a.operation_id
     ), ends as (
       update holdfast.outcomes o set reason = $3
         from erased i
        where o.operation_id = i.operation_id and o.item_no = i.no and o.reason is not null
          and o.outcome in ('failed', 'blocked', 'lost')
       returning o.operation_id
     )
     select operation_id from tries union select operation_id from ends`,
    [items.map((item) => item.operation_id), items.map((item) => item.no), ERASED],
  );
  return rows.map((row) => row.operation_id);
}

/** Where an operation repeats what its items said: its own reason, its events, its log. */
async function eraseQuotes(tx: Tx, operationId: string): Promise<void> {
  const generation = await failedGeneration(tx, operationId);
  if (generation !== undefined) {
    const counts: Partial<Record<Outcome, number>> = await countOutcomes(tx, operationId);
    const causes = await failureReasons(tx, operationId, generation);
    await setReason(tx, operationId, verdictOf(counts, false, causes).reason ?? ERASED);
  }
  await tx.query(
    `update holdfast.events set body = jsonb_set(body, '{reason}', to_jsonb($2::text))
      where operation_id = $1 and body ->> 'reason' is not null`,
    [operationId, ERASED],
  );
  await tx.query(
    "delete from holdfast.logs where operation_id = $1 and level in ('warn', 'error')",
    [operationId],
  );
  const message = "a document was erased: lines that may have quoted it are gone";
  await appendLogs(tx, [{ operationId, level: "info", message }]);
}

async function failedGeneration(tx: Tx, operationId: string): Promise<number | undefined> {
  const { rows } = await tx.query<{ generation: number }>(
    "select generation from holdfast.operations where id = $1 and state = 'failed'",
    [operationId],
  );
  return rows[0]?.generation;
}

async function setReason(tx: Tx, operationId: string, reason: string): Promise<void> {
  await tx.query("update holdfast.operations set reason = $2 where id = $1", [operationId, reason]);
}
