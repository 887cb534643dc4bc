import type { Chunk } from "../../contracts/plugins.ts";
import type { RetainItem } from "../../contracts/retain.ts";
import { entityKey } from "../../db/parts.ts";
import type { Queryable } from "../../db/pool.ts";
import { chunk } from "../../domain/chunking.ts";
import { extractFacts, proseExtractor } from "../../domain/extraction.ts";

/** Facts as they stand, and as a pure run of the default extractor over the payload finds them. */

interface StoredPart {
  seq: string;
  document_id: string;
  content: string;
  meta: Partial<RetainItem> | null;
  chunk_size: number;
}

const PARTS_AT_ONCE = 500;
/** Above so many code units a part is compared by itself, some chunks at a time. */
const LONG = 1_000_000;
const CHUNKS_AT_ONCE = 2_000;

/** Each part whose chunks or facts are not what its payload gives, in one line. */
export async function factsDiffer(tx: Queryable): Promise<string[]> {
  const violations: string[] = [];
  for (let after = "0"; ;) {
    const { rows: parts } = await tx.query<StoredPart>(
      `select p.seq, p.document_id, y.content, y.meta, (op.input ->> 'chunkSize')::int as chunk_size
         from (select * from holdfast.document_parts
                where seq > $1 and extractor like $2
                order by seq limit ${PARTS_AT_ONCE}) p
         join holdfast.operations op on op.id = p.operation_id
        cross join lateral (
          select string_agg(content, '' order by part) as content,
                 (array_agg(meta order by part))[1] as meta
            from holdfast.payloads where operation_id = p.operation_id and item_no = p.item_no) y
        where y.content is not null
        order by p.seq`,
      [after, `${proseExtractor.name}@${proseExtractor.version}/%`],
    );
    if (parts.length === 0) return violations;
    const short = parts.filter((part) => part.content.length <= LONG);
    const stored = await storedFacts(
      tx,
      short.map((part) => part.seq),
    );
    for (const part of parts) {
      const same =
        part.content.length > LONG
          ? await sameThroughout(tx, part)
          : (stored.get(part.seq) ?? []).join("\n") === pureFacts(part, chunksOf(part)).join("\n");
      if (same) continue;
      violations.push(
        `facts are what the extractor finds: part ${part.seq} of document ${part.document_id}`,
      );
    }
    after = parts.at(-1)!.seq;
  }
}

async function sameThroughout(tx: Queryable, part: StoredPart): Promise<boolean> {
  const chunks = chunksOf(part);
  for (let from = 0; from < chunks.length; from += CHUNKS_AT_ONCE) {
    const some = chunks.slice(from, from + CHUNKS_AT_ONCE);
    const stored = await storedFacts(tx, [part.seq], { from, to: from + some.length - 1 });
    if ((stored.get(part.seq) ?? []).join("\n") !== pureFacts(part, some).join("\n")) return false;
  }
  return true;
}

const chunksOf = (part: StoredPart) => chunk(part.content, part.chunk_size);

function pureFacts(part: StoredPart, chunks: readonly Chunk[]): string[] {
  return chunks.flatMap((piece) =>
    extractFacts(piece, part.meta ?? {}).map((fact, ordinal) =>
      line(
        piece.no,
        ordinal,
        fact.start,
        fact.end,
        fact.occurredStart,
        fact.occurredEnd,
        fact.text,
        [...new Set((fact.entities ?? []).map(entityKey))],
      ),
    ),
  );
}

async function storedFacts(
  tx: Queryable,
  seqs: readonly string[],
  chunks = { from: 0, to: 2 ** 31 - 1 },
): Promise<Map<string, string[]>> {
  const { rows } = await tx.query<{
    part_seq: string;
    chunk_no: number;
    ordinal: number;
    start_at: number | null;
    end_at: number | null;
    occurred_start: string | null;
    occurred_end: string | null;
    text: string;
    entities: string[];
  }>(
    `select f.*, array(select entity from holdfast.fact_entities e
               where e.part_seq = f.part_seq and e.chunk_no = f.chunk_no and e.ordinal = f.ordinal)
             as entities
       from holdfast.facts f where f.part_seq = any($1) and f.chunk_no between $2 and $3
      order by f.part_seq, f.chunk_no, f.ordinal`,
    [seqs, chunks.from, chunks.to],
  );
  const byPart = new Map<string, string[]>();
  for (const fact of rows) {
    const lines = byPart.get(fact.part_seq) ?? [];
    const { chunk_no, ordinal, start_at, end_at, occurred_start, occurred_end } = fact;
    lines.push(
      line(
        chunk_no,
        ordinal,
        start_at,
        end_at,
        occurred_start,
        occurred_end,
        fact.text,
        fact.entities,
      ),
    );
    byPart.set(fact.part_seq, lines);
  }
  return byPart;
}

function line(
  chunkNo: number,
  ordinal: number,
  start: number | null | undefined,
  end: number | null | undefined,
  from: string | null | undefined,
  to: string | null | undefined,
  text: string,
  entities: readonly string[],
): string {
  return JSON.stringify([
    chunkNo,
    ordinal,
    start ?? null,
    end ?? null,
    from?.slice(0, 10) ?? null,
    to?.slice(0, 10) ?? null,
    text,
    entities.filter(Boolean).toSorted(),
  ]);
}
