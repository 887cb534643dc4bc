import { createHash } from "node:crypto";
import pg from "pg";
import type { Chunk } from "../contracts/plugins.ts";
import { chunk } from "../domain/chunking.ts";
import { extractFacts } from "../domain/extraction.ts";

/**
 * The loop somebody writes by hand: cut, extract, insert a page of documents set-based, next page.
 * The same rows into tables with the same columns and indexes; no ledger, no order, no cancel, and
 * after a crash it begins again.
 */

export interface HandWritten {
  /** Writes documents into a bank; answers how many facts. */
  retain(bankId: number, documents: readonly { id: string; content: string }[]): Promise<number>;
  close(): Promise<void>;
}

const TABLES = ["documents", "document_parts", "chunks", "facts", "fact_entities"];
const PAGE = 100;
const CHUNK_SIZE = 3_000;

export async function handWritten(databaseUrl: string): Promise<HandWritten> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query("create schema rival");
  for (const table of TABLES) {
    await client.query(`create table rival.${table} (like holdfast.${table} including all)`);
  }
  let seq = 0;
  return {
    async retain(bankId, documents) {
      let facts = 0;
      for (let from = 0; from < documents.length; from += PAGE) {
        const parts = documents
          .slice(from, from + PAGE)
          .map((document) => extracted(++seq, document));
        await insertPage(client, bankId, parts);
        facts += parts.reduce((sum, part) => sum + part.facts.length, 0);
      }
      return facts;
    },
    close: () => client.end(),
  };
}

type Part = ReturnType<typeof extracted>;

function extracted(seq: number, { id, content }: { id: string; content: string }) {
  const chunks = chunk(content, CHUNK_SIZE);
  const facts = chunks.flatMap((one) => factsOf(seq, one));
  const digest = createHash("sha256").update(content).digest();
  return { seq, id, digest, size: content.length, chunks, facts };
}

function factsOf(seq: number, one: Chunk) {
  return extractFacts(one, {}).map((fact, ordinal) => ({ ...fact, seq, chunkNo: one.no, ordinal }));
}

async function insertPage(
  client: pg.Client,
  bankId: number,
  parts: readonly Part[],
): Promise<void> {
  const chunks = parts.flatMap((part) => part.chunks.map((one) => ({ seq: part.seq, ...one })));
  const facts = parts.flatMap((part) => part.facts);
  const entities = facts.flatMap((fact) => {
    const names = new Map((fact.entities ?? []).map((name) => [name.trim().toLowerCase(), name]));
    return [...names].map(([entity, name]) => ({ fact, entity, name }));
  });
  await client.query("begin");
  await client.query(
    `insert into rival.documents (bank_id, document_id, head_seq)
     select $1, * from unnest($2::text[], $3::bigint[])`,
    [bankId, parts.map((part) => part.id), parts.map((part) => part.seq)],
  );
  await client.query(
    `insert into rival.document_parts
       (bank_id, operation_id, item_no, mode, extractor, happened_at, seq, document_id, digest,
        size, chunks, facts)
     select $1, '00000000-0000-0000-0000-000000000000', 0, 'replace', 'prose', now(), *
       from unnest($2::bigint[], $3::text[], $4::bytea[], $5::int[], $6::int[], $7::int[])`,
    [
      bankId,
      parts.map((part) => part.seq),
      parts.map((part) => part.id),
      parts.map((part) => part.digest),
      parts.map((part) => part.size),
      parts.map((part) => part.chunks.length),
      parts.map((part) => part.facts.length),
    ],
  );
  await client.query(
    `insert into rival.chunks (part_seq, no, start_at, end_at, text)
     select * from unnest($1::bigint[], $2::int[], $3::int[], $4::int[], $5::text[])`,
    [
      chunks.map((one) => one.seq),
      chunks.map((one) => one.no),
      chunks.map((one) => one.start),
      chunks.map((one) => one.end),
      chunks.map((one) => one.text),
    ],
  );
  await client.query(
    `insert into rival.facts (bank_id, part_seq, chunk_no, ordinal, start_at, end_at,
                              occurred_start, occurred_end, text)
     select $1, * from unnest($2::bigint[], $3::int[], $4::smallint[], $5::int[], $6::int[],
                              $7::date[], $8::date[], $9::text[])`,
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
  await client.query(
    `insert into rival.fact_entities (bank_id, part_seq, chunk_no, ordinal, entity, name)
     select $1, * from unnest($2::bigint[], $3::int[], $4::smallint[], $5::text[], $6::text[])`,
    [
      bankId,
      entities.map(({ fact }) => fact.seq),
      entities.map(({ fact }) => fact.chunkNo),
      entities.map(({ fact }) => fact.ordinal),
      entities.map(({ entity }) => entity),
      entities.map(({ name }) => name),
    ],
  );
  await client.query("commit");
}
