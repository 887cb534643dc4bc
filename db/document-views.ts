import type { FactView } from "../contracts/retain.ts";
import type { Queryable } from "./pool.ts";

/** What is read of one document: its visible parts, their text and what was derived from it. */

export interface PartRow {
  seq: string;
  mode: "replace" | "append";
  operation_id: string;
  item_no: number;
  context: string | null;
  happened_at: Date | null;
  tags: string[];
  metadata: Record<string, string>;
  extractor: string;
  size: number;
  written_at: Date;
  text: string;
  /** First and last code point of each chunk, in order. */
  starts: number[];
  ends: number[];
}

/** Parts of a document in order of acceptance, each with its text: its chunks joined. */
export async function listParts(
  db: Queryable,
  bankId: string,
  documentId: string,
): Promise<PartRow[]> {
  const { rows } = await db.query<PartRow>(
    `select p.seq, p.mode, p.operation_id, p.item_no, p.context, p.happened_at, p.tags, p.metadata,
            p.extractor, p.size, p.written_at, coalesce(c.text, '') as text,
            coalesce(c.starts, '{}') as starts, coalesce(c.ends, '{}') as ends
       from holdfast.document_parts p
       left join lateral (
         select string_agg(text, '' order by no) as text, array_agg(start_at order by no) as starts,
                array_agg(end_at order by no) as ends
           from holdfast.chunks where part_seq = p.seq) c on true
      where p.bank_id = $1 and p.document_id = $2
      order by p.seq`,
    [bankId, documentId],
  );
  return rows;
}

/** Facts of some parts, by part, in order of the text. */
export async function listFacts(
  db: Queryable,
  partSeqs: readonly string[],
): Promise<Map<string, FactView[]>> {
  const { rows } = await db.query<{
    part_seq: string;
    chunk_no: number;
    ordinal: number;
    text: string;
    start_at: number | null;
    end_at: number | null;
    occurred_start: string | null;
    occurred_end: string | null;
    entities: string[] | null;
  }>(
    `select f.part_seq, f.chunk_no, f.ordinal, f.text, f.start_at, f.end_at, f.occurred_start,
            f.occurred_end,
            (select array_agg(e.name order by e.entity) from holdfast.fact_entities e
              where e.part_seq = f.part_seq and e.chunk_no = f.chunk_no
                and e.ordinal = f.ordinal) as entities
       from holdfast.facts f
      where f.part_seq = any($1)
      order by f.part_seq, f.chunk_no, f.ordinal`,
    [partSeqs],
  );
  const byPart = new Map<string, FactView[]>();
  for (const row of rows) {
    const facts = byPart.get(row.part_seq) ?? [];
    facts.push({
      id: `${row.part_seq}.${row.chunk_no}.${row.ordinal}`,
      text: row.text,
      chunk: row.chunk_no,
      start: row.start_at,
      end: row.end_at,
      occurredStart: row.occurred_start,
      occurredEnd: row.occurred_end,
      entities: row.entities ?? [],
    });
    byPart.set(row.part_seq, facts);
  }
  return byPart;
}
