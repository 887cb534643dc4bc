import type { Chunk, ExtractedFact } from "../contracts/plugins.ts";
import type { Queryable, Tx } from "./pool.ts";

/** Parts of documents, with the chunks and facts derived from them. */

export interface NewPart {
  seq: string;
  documentId: string;
  operationId: string;
  itemNo: number;
  mode: "replace" | "append";
  digest: Buffer;
  /** `name@version/chunkSize`: what the derived rows were made by. */
  extractor: string;
  context: string | null;
  /** ISO instant; null for explicitly no time. */
  happenedAt: string | null;
  tags: readonly string[];
  metadata: Record<string, string>;
  size: number;
  chunkCount: number;
  factCount: number;
}

export interface NewFact extends ExtractedFact {
  chunkNo: number;
  ordinal: number;
}

/** What one part brings with it. */
export interface Derived {
  seq: string;
  chunks: readonly Chunk[];
  facts: readonly NewFact[];
}

export async function insertParts(
  tx: Tx,
  bankId: string,
  parts: readonly NewPart[],
): Promise<void> {
  if (parts.length === 0) return;
  await tx.query(
    `insert into holdfast.document_parts
       (seq, bank_id, document_id, operation_id, item_no, mode, digest, extractor, context,
        happened_at, tags, metadata, size, chunks, facts)
     select p.seq, $1, p.document_id, p.operation_id, p.item_no, p.mode, p.digest, p.extractor,
            p.context, p.happened_at, array(select jsonb_array_elements_text(p.tags)), p.metadata,
            p.size, p.chunks, p.facts
       from unnest($2::bigint[], $3::text[], $4::uuid[], $5::int[], $6::text[], $7::bytea[],
                   $8::text[], $9::text[], $10::timestamptz[], $11::jsonb[], $12::jsonb[],
                   $13::int[], $14::int[], $15::int[])
            as p(seq, document_id, operation_id, item_no, mode, digest, extractor, context,
                 happened_at, tags, metadata, size, chunks, facts)`,
    [
      bankId,
      parts.map((part) => part.seq),
      parts.map((part) => part.documentId),
      parts.map((part) => part.operationId),
      parts.map((part) => part.itemNo),
      parts.map((part) => part.mode),
      parts.map((part) => part.digest),
      parts.map((part) => part.extractor),
      parts.map((part) => part.context),
      parts.map((part) => part.happenedAt),
      parts.map((part) => JSON.stringify(part.tags)),
      parts.map((part) => JSON.stringify(part.metadata)),
      parts.map((part) => part.size),
      parts.map((part) => part.chunkCount),
      parts.map((part) => part.factCount),
    ],
  );
}

/**
 * Writes chunks, and facts of the chunks this call wrote: a repeat, or a second attempt beside a
 * zombie, finds the chunk there and adds nothing.
 */
export async function insertDerived(
  tx: Tx,
  bankId: string,
  derived: readonly Derived[],
): Promise<void> {
  const chunks = derived.flatMap(({ seq, chunks }) => chunks.map((chunk) => ({ ...chunk, seq })));
  if (chunks.length === 0) return;
  const { rows } = await tx.query<{ part_seq: string; no: number }>(
    `insert into holdfast.chunks (part_seq, no, start_at, end_at, text)
     select * from unnest($1::bigint[], $2::int[], $3::int[], $4::int[], $5::text[])
     on conflict do nothing
     returning part_seq, no`,
    [
      chunks.map((chunk) => chunk.seq),
      chunks.map((chunk) => chunk.no),
      chunks.map((chunk) => chunk.start),
      chunks.map((chunk) => chunk.end),
      chunks.map((chunk) => chunk.text),
    ],
  );
  const written = new Set(rows.map((row) => `${row.part_seq}.${row.no}`));
  const facts = derived.flatMap(({ seq, facts }) =>
    facts.filter((fact) => written.has(`${seq}.${fact.chunkNo}`)).map((fact) => ({ ...fact, seq })),
  );
  await insertFacts(tx, bankId, facts);
}

type PlacedFact = NewFact & { seq: string };

async function insertFacts(tx: Tx, bankId: string, facts: readonly PlacedFact[]): Promise<void> {
  if (facts.length === 0) return;
  await tx.query(
    `insert into holdfast.facts
       (part_seq, chunk_no, ordinal, bank_id, start_at, end_at, occurred_start, occurred_end, text)
     select f.part_seq, f.chunk_no, f.ordinal, $1, f.start_at, f.end_at, f.occurred_start,
            f.occurred_end, f.text
       from unnest($2::bigint[], $3::int[], $4::smallint[], $5::int[], $6::int[], $7::date[],
                   $8::date[], $9::text[])
            as f(part_seq, chunk_no, ordinal, start_at, end_at, occurred_start, occurred_end, text)`,
    [
      bankId,
      facts.map((fact) => fact.seq),
      facts.map((fact) => fact.chunkNo),
      facts.map((fact) => fact.ordinal),
      facts.map((fact) => fact.start ?? null),
      facts.map((fact) => fact.end ?? null),
      facts.map((fact) => fact.occurredStart ?? null),
      facts.map((fact) => fact.occurredEnd ?? null),
      facts.map((fact) => fact.text),
    ],
  );
  const named = facts.flatMap((fact) =>
    [...distinctEntities(fact.entities ?? [])].map(([entity, name]) => ({ fact, entity, name })),
  );
  if (named.length === 0) return;
  await tx.query(
    `insert into holdfast.fact_entities (part_seq, chunk_no, ordinal, bank_id, entity, name)
     select e.part_seq, e.chunk_no, e.ordinal, $1, e.entity, e.name
       from unnest($2::bigint[], $3::int[], $4::smallint[], $5::text[], $6::text[])
            as e(part_seq, chunk_no, ordinal, entity, name)`,
    [
      bankId,
      named.map(({ fact }) => fact.seq),
      named.map(({ fact }) => fact.chunkNo),
      named.map(({ fact }) => fact.ordinal),
      named.map(({ entity }) => entity),
      named.map(({ name }) => name),
    ],
  );
}

function distinctEntities(names: readonly string[]): Map<string, string> {
  const distinct = new Map<string, string>();
  for (const name of names) {
    const entity = entityKey(name);
    if (entity && !distinct.has(entity)) distinct.set(entity, name.trim());
  }
  return distinct;
}

/** What entity names are compared by: case and outer white space do not matter. */
export function entityKey(name: string): string {
  return name.trim().toLowerCase().slice(0, 200);
}

export interface KnownPart {
  documentId: string;
  seq: string;
  digest: Buffer;
  extractor: string;
}

/** The one part of documents that have exactly one, written by a replace. */
export async function findSoleParts(
  db: Queryable,
  bankId: string,
  documentIds: readonly string[],
): Promise<Map<string, KnownPart>> {
  const { rows } = await db.query<KnownPart>(
    `select document_id as "documentId", min(seq)::text as seq,
            (array_agg(digest))[1] as digest, (array_agg(extractor))[1] as extractor
       from holdfast.document_parts
      where bank_id = $1 and document_id = any($2)
      group by document_id
     having count(*) = 1 and min(mode) = 'replace'`,
    [bankId, documentIds],
  );
  return new Map(rows.map((row) => [row.documentId, row]));
}

/** The same text came again: what the caller says about it now is what counts. */
export async function updatePartLabels(
  tx: Tx,
  labels: readonly Pick<NewPart, "seq" | "context" | "happenedAt" | "tags" | "metadata">[],
): Promise<void> {
  if (labels.length === 0) return;
  await tx.query(
    `update holdfast.document_parts p
        set context = l.context, happened_at = l.happened_at,
            tags = array(select jsonb_array_elements_text(l.tags)), metadata = l.metadata
       from unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::jsonb[], $5::jsonb[])
            as l(seq, context, happened_at, tags, metadata)
      where p.seq = l.seq`,
    [
      labels.map((label) => label.seq),
      labels.map((label) => label.context),
      labels.map((label) => label.happenedAt),
      labels.map((label) => JSON.stringify(label.tags)),
      labels.map((label) => JSON.stringify(label.metadata)),
    ],
  );
}

/** Seqs of the parts of each document that are older than `before`. */
export async function findPartsBefore(
  tx: Tx,
  bankId: string,
  documents: readonly { documentId: string; before: bigint }[],
): Promise<string[]> {
  if (documents.length === 0) return [];
  const { rows } = await tx.query<{ seq: string }>(
    `select p.seq from holdfast.document_parts p
       join unnest($2::text[], $3::bigint[]) as d(document_id, before)
         on p.document_id = d.document_id and p.seq < d.before
      where p.bank_id = $1`,
    [
      bankId,
      documents.map((document) => document.documentId),
      documents.map((document) => String(document.before)),
    ],
  );
  return rows.map((row) => row.seq);
}

/** Removes parts with their chunks and facts. */
export async function deleteParts(tx: Tx, seqs: readonly string[]): Promise<void> {
  if (seqs.length === 0) return;
  await tx.query("delete from holdfast.document_parts where seq = any($1)", [seqs]);
  await deleteDerived(tx, seqs);
}

/** Chunks and facts of parts that are gone, or of staged work that is given up. */
export async function deleteDerived(tx: Tx, seqs: readonly string[]): Promise<void> {
  if (seqs.length === 0) return;
  await tx.query(
    `with entities as (delete from holdfast.fact_entities where part_seq = any($1)),
          facts as (delete from holdfast.facts where part_seq = any($1))
     delete from holdfast.chunks where part_seq = any($1)`,
    [seqs],
  );
}
