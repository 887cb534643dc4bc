import type { Queryable, Tx } from "./pool.ts";

/** Documents of a bank: the row that orders who may write them. */

// A row without parts only remembers an order: nothing was written yet, or it was erased.
const HAS_PARTS = `exists (select from holdfast.document_parts p
  where p.bank_id = documents.bank_id and p.document_id = documents.document_id)`;

export interface DocumentHead {
  documentId: string;
  headSeq: bigint | null;
  erasedSeq: bigint | null;
}

/** Locks documents in order of their ids, making the rows that are not there yet. */
export async function lockDocuments(
  tx: Tx,
  bankId: string,
  documentIds: readonly string[],
): Promise<Map<string, DocumentHead>> {
  const sorted = [...new Set(documentIds)].toSorted();
  await tx.query(
    `insert into holdfast.documents (bank_id, document_id)
     select $1, d.id from unnest($2::text[]) with ordinality as d(id, place) order by d.place
     on conflict do nothing`,
    [bankId, sorted],
  );
  const { rows } = await tx.query<{
    document_id: string;
    head_seq: string | null;
    erased_seq: string | null;
  }>(
    `select document_id, head_seq, erased_seq from holdfast.documents
      where bank_id = $1 and document_id = any($2)
      order by document_id collate "C"
        for update`,
    [bankId, sorted],
  );
  return new Map(
    rows.map((row) => [
      row.document_id,
      {
        documentId: row.document_id,
        headSeq: row.head_seq === null ? null : BigInt(row.head_seq),
        erasedSeq: row.erased_seq === null ? null : BigInt(row.erased_seq),
      },
    ]),
  );
}

/** Of some items, the seqs of those that were accepted before their document was erased. */
export async function findErasedItems(
  db: Queryable,
  bankId: string,
  items: readonly { key: string; seq: string }[],
): Promise<Set<string>> {
  const { rows } = await db.query<{ seq: string }>(
    `select i.seq::text as seq
       from unnest($2::text[], $3::bigint[]) as i(document_id, seq)
       join holdfast.documents d on d.bank_id = $1 and d.document_id = i.document_id
      where d.erased_seq > i.seq`,
    [bankId, items.map((item) => item.key), items.map((item) => item.seq)],
  );
  return new Set(rows.map((row) => row.seq));
}

/** Says that documents were written now, and moves heads to the newest replace where there is one. */
export async function touchDocuments(
  tx: Tx,
  bankId: string,
  heads: readonly { documentId: string; headSeq: bigint | null }[],
): Promise<void> {
  if (heads.length === 0) return;
  await tx.query(
    `update holdfast.documents d
        set head_seq = h.seq, updated_at = clock_timestamp()
       from unnest($2::text[], $3::bigint[]) as h(document_id, seq)
      where d.bank_id = $1 and d.document_id = h.document_id`,
    [
      bankId,
      heads.map((head) => head.documentId),
      heads.map((head) => (head.headSeq === null ? null : String(head.headSeq))),
    ],
  );
}

/** Ids of live documents in a bank, in order of id. */
export async function listDocuments(
  db: Queryable,
  bankId: string,
  page: { after?: string | undefined; limit: number },
): Promise<{ documentId: string; updatedAt: Date; parts: number; size: number; facts: number }[]> {
  const { rows } = await db.query<{
    documentId: string;
    updatedAt: Date;
    parts: number;
    size: number;
    facts: number;
  }>(
    `select d.document_id as "documentId", d.updated_at as "updatedAt", count(*)::int as parts,
            (sum(p.size) + count(*) - 1)::int as size, sum(p.facts)::int as facts
       from (select * from holdfast.documents
              where bank_id = $1 and ($2::text is null or document_id > $2) and ${HAS_PARTS}
              order by document_id limit $3) d
       join holdfast.document_parts p
         on p.bank_id = d.bank_id and p.document_id = d.document_id
      group by 1, 2 order by 1`,
    [bankId, page.after ?? null, page.limit],
  );
  return rows;
}

export interface DocumentRow {
  document_id: string;
  created_at: Date;
  updated_at: Date;
}

export async function findDocument(
  db: Queryable,
  bankId: string,
  documentId: string,
): Promise<DocumentRow | undefined> {
  const { rows } = await db.query<DocumentRow>(
    `select document_id, created_at, updated_at from holdfast.documents
      where bank_id = $1 and document_id = $2 and ${HAS_PARTS}`,
    [bankId, documentId],
  );
  return rows[0];
}
