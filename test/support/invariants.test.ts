import { expect, test } from "vitest";
import { v7 as uuidv7 } from "uuid";
import type { Db } from "../../db/pool.ts";
import { documents } from "./fresh.ts";
import { checkInvariants } from "./invariants.ts";
import { retaining } from "./retaining.ts";

/** A database in which a batch went well: 12 documents, two of them of two parts. */
async function worked() {
  const made = await retaining();
  const items = [
    ...documents(12),
    { documentId: "doc-1", mode: "append" as const, content: "Ada wrote again on 5 July 1843." },
    { documentId: "doc-2", mode: "append" as const, content: "Charles Babbage did not answer." },
  ];
  const ref = await made.accept({ items });
  await made.finished(ref);
  return { ...made, id: ref.id };
}

test("a batch that went well breaks no invariant", async () => {
  const { db } = await worked();
  await expect(checkInvariants(db)).resolves.toEqual([]);
});

test("a submit of two commits, interrupted between them, is seen", async () => {
  const { db } = await worked();
  const dying = new Error("killed between its commits");
  await expect(twoCommitSubmit(db, () => Promise.reject(dying))).rejects.toBe(dying);
  const violations = await checkInvariants(db, { settled: false });
  expect(violations).toEqual([expect.stringContaining("has 0 of 3 items and 0 of 1 sub-batches")]);
});

test("a submit of two commits that is not interrupted is not the checker's business", async () => {
  const { db } = await worked();
  await twoCommitSubmit(db, () => Promise.resolve());
  await expect(checkInvariants(db, { settled: false })).resolves.toEqual([]);
  await expect(checkInvariants(db)).resolves.toEqual([expect.stringContaining("is accepted")]);
});

const broken: [name: string, sql: string, seen: string][] = [
  [
    "a lost outcome",
    "delete from holdfast.outcomes where item_no = 3",
    "a terminal operation has an outcome for every item",
  ],
  [
    "a document that was not written",
    "delete from holdfast.document_parts where document_id = 'doc-3'",
    "a succeeded item is in one part",
  ],
  [
    "a chunk of nothing",
    "insert into holdfast.chunks values (987654, 0, 0, 1, 'x')",
    "chunks, facts and entities belong to a part",
  ],
  [
    "a lost chunk",
    `delete from holdfast.chunks where part_seq =
       (select seq from holdfast.document_parts where document_id = 'doc-4')`,
    "the chunks of a part cover its text exactly",
  ],
  [
    "another word in a chunk",
    `update holdfast.chunks set text = upper(text) where part_seq =
       (select seq from holdfast.document_parts where document_id = 'doc-4')`,
    "the chunks of a part cover its text exactly",
  ],
  [
    "a fact that nobody said",
    `insert into holdfast.facts (part_seq, chunk_no, ordinal, bank_id, text)
     select seq, 0, 99, bank_id, 'x' from holdfast.document_parts where document_id = 'doc-5'`,
    "facts are what the extractor finds",
  ],
  [
    "a document written twice",
    `insert into holdfast.document_parts
     select 987654, bank_id, document_id, operation_id, item_no, mode, digest, extractor, context,
            happened_at, tags, metadata, size, chunks, facts
       from holdfast.document_parts where document_id = 'doc-6'`,
    "a part was written by an item that succeeded",
  ],
  [
    "an older version beside a newer one",
    `update holdfast.documents set head_seq = head_seq + 1 where document_id = 'doc-7'`,
    "no part is older than the newest replace",
  ],
  [
    "a miscount",
    `insert into holdfast.progress_deltas (operation_id, source, stage, outcome, n)
     select id, 'twice', 'retain', 'succeeded', 1 from holdfast.operations`,
    "progress is the ledger",
  ],
  [
    "an end that was told twice",
    `insert into holdfast.events (id, type, tenant, operation_id, body)
     select gen_random_uuid(), type, tenant, operation_id, body from holdfast.events`,
    "each generation that ended has one finishing event",
  ],
  [
    "an end that was not told",
    "delete from holdfast.events",
    "each generation that ended has one finishing event",
  ],
  [
    "a page left in flight",
    `insert into holdfast.flights (operation_id, generation, range_no, items, alone, worker)
     select id, 1, 1, '{1}', false, 'x' from holdfast.operations`,
    "only an open operation has pages in flight",
  ],
  [
    "a state the ledger does not bear out",
    "update holdfast.operations set state = 'failed'",
    "the state follows from the ledger",
  ],
  [
    "rows without their operation",
    `insert into holdfast.items (operation_id, no, batch, size)
     select '${uuidv7()}'::uuid, 1, 1, 1 from holdfast.operations`,
    "every row of an operation has its operation",
  ],
  [
    "an observation of facts that are gone",
    `with one as (insert into holdfast.observations (bank_id, entity, name, text, consolidator)
       select bank_id, 'ada', 'Ada', 'x', 'x@1' from holdfast.document_parts limit 1 returning id)
     insert into holdfast.observation_sources select id, 987654, 0, 0 from one`,
    "an observation stands on facts that are there",
  ],
];

test.each(broken)("%s is seen", async (_, sql, seen) => {
  const { db } = await worked();
  await db.query(sql);
  const violations = await checkInvariants(db);
  expect(violations).toContainEqual(expect.stringContaining(seen));
});

test("a word of one fact is seen in a document too long to be compared at once", async () => {
  const { db, accept, finished } = await retaining();
  const content = "Ada Lovelace wrote to Charles Babbage in London. ".repeat(21_000);
  await finished(await accept({ items: [{ documentId: "long", content }] }));
  await expect(checkInvariants(db)).resolves.toEqual([]);
  await db.query(
    `update holdfast.facts set text = text || '!'
      where (chunk_no, ordinal) = (select chunk_no, ordinal from holdfast.facts
                                    order by 1 desc, 2 desc limit 1)`,
  );
  const violations = await checkInvariants(db);
  expect(violations).toEqual([expect.stringContaining("facts are what the extractor finds")]);
});

/** What a submit must not be: its rows in two transactions, with time to die between them. */
async function twoCommitSubmit(db: Db, between: () => Promise<void>): Promise<void> {
  const id = uuidv7();
  const digest = Buffer.alloc(32);
  await db.transaction((tx) =>
    tx.query(
      `insert into holdfast.operations
         (id, kind, tenant, digest, total, batches, submitted_by, start_after, due_at)
       values ($1, 'retain', 'default', $2, 3, 1, 'test', 'infinity', 'infinity')`,
      [id, digest],
    ),
  );
  await between();
  await db.transaction(async (tx) => {
    await tx.query(
      `insert into holdfast.sub_batches (operation_id, no, first_item, last_item, size)
       values ($1, 1, 1, 3, 3)`,
      [id],
    );
    await tx.query(
      `insert into holdfast.items (operation_id, no, batch, size)
       select $1, n, 1, 1 from generate_series(1, 3) n`,
      [id],
    );
  });
}
