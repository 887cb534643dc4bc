import fc from "fast-check";
import { expect, test } from "vitest";
import { documentOf, type DocumentPart } from "../../domain/retain.ts";
import { listItems } from "../../db/items.ts";
import { markRunning } from "../../db/operations.ts";
import type { OperationRef } from "../../contracts/messages.ts";
import type { Outcome } from "../../contracts/operation.ts";
import { knowledgeOf, retaining, textsOf, worker, type Retaining } from "../support/retaining.ts";

/** Items of a few documents, few texts among them, so that the same text comes again and again. */
const item = fc.record({
  documentId: fc.constantFrom("a", "b", "c"),
  content: fc.constantFrom("one fish", "two fish", "red fish"),
  mode: fc.constantFrom<"replace" | "append">("replace", "replace", "append"),
  tags: fc.constantFrom<string[]>([], ["x"], ["y", "x"]),
  metadata: fc.constantFrom<Record<string, string>>({}, { k: "1" }, { k: "2", l: "3" }),
});
type Item = typeof item extends fc.Arbitrary<infer T> ? T : never;
const history = fc.record({
  batches: fc.array(fc.array(item, { minLength: 1, maxLength: 7 }), { minLength: 1, maxLength: 4 }),
  /** Which batch works next, and whether alone or beside another. */
  schedule: fc.array(fc.nat({ max: 7 }), { maxLength: 12 }),
  pageItems: fc.integer({ min: 1, max: 4 }),
});

/** Documents as if each item had been worked in the moment it was accepted. */
function modelOf(items: readonly Item[]) {
  const parts = new Map<string, DocumentPart[]>();
  for (const [index, { documentId, content, mode, tags, metadata }] of items.entries()) {
    const part = { seq: BigInt(index), text: content, tags, metadata };
    const before = mode === "append" ? (parts.get(documentId) ?? []) : [];
    parts.set(documentId, [...before, part]);
  }
  return Object.fromEntries([...parts].map(([id, of]) => [id, documentOf(of)]));
}

async function documentsOf({ db }: Retaining) {
  const texts = await textsOf(db);
  const { rows } = await db.query<{
    document_id: string;
    seq: string;
    tags: string[];
    metadata: Record<string, string>;
  }>("select document_id, seq, tags, metadata from holdfast.document_parts");
  return Object.fromEntries(
    Object.entries(texts).map(([id, text]) => {
      const parts = rows
        .filter((row) => row.document_id === id)
        .map((row) => ({ ...row, seq: BigInt(row.seq), text: "" }));
      return [id, { ...documentOf(parts), text }];
    }),
  );
}

async function outcomesOf({ db }: Retaining, id: string): Promise<(Outcome | null)[]> {
  return (await listItems(db, id, { limit: 1_000 })).items.map(({ outcome }) => outcome);
}

test("documents are what their items say in order of acceptance, however batches and pages interleave", async () => {
  const made = await retaining();
  const workers = [worker(made.db), worker(made.db, {}, "beside")] as const;

  await fc.assert(
    fc.asyncProperty(history, async ({ batches, schedule, pageItems }) => {
      await made.db.query(
        "truncate holdfast.documents, holdfast.document_parts, holdfast.chunks, holdfast.facts, holdfast.fact_entities",
      );
      const refs: OperationRef[] = [];
      for (const items of batches) {
        const ref = await made.accept({
          items,
          options: { batchItems: pageItems },
        });
        await markRunning(made.db, ref.id, 1);
        refs.push(ref);
      }
      // Single sub-batches of random batches first, two at once; then each batch to its end.
      for (let at = 0; at + 1 < schedule.length; at += 2) {
        await Promise.all(
          [schedule[at]!, schedule[at + 1]!].map((pick, lane) => {
            const ref = refs[pick % refs.length]!;
            const batch = 1 + (pick % Math.ceil(batches[pick % refs.length]!.length / pageItems));
            return workers[lane]!.pages(ref, { no: 1 + lane, from: batch, to: batch });
          }),
        );
      }
      await Promise.all(refs.map((ref, index) => made.finished(ref, workers[index % 2])));

      expect(await documentsOf(made)).toEqual(modelOf(batches.flat()));
      expect(await knowledgeOf(made.db)).toMatchObject({ strays: 0 });
      for (const [index, ref] of refs.entries()) {
        const outcomes = await outcomesOf(made, ref.id);
        expect(outcomes).toHaveLength(batches[index]!.length);
        for (const outcome of outcomes) {
          expect(["succeeded", "unchanged", "superseded"]).toContain(outcome);
        }
      }
    }),
    { numRuns: 60, endOnFailure: false },
  );
}, 120_000);

test("the same text again is unchanged, also several times in one batch, and what is said about it is renewed", async () => {
  const made = await retaining();
  const text = "Ada Lovelace wrote to Charles Babbage.";
  await made.finished(
    await made.accept({ items: [{ documentId: "d", content: text, tags: ["old"] }] }),
  );
  const before = await textsOf(made.db);

  const same = (tags: string[]) => ({ documentId: "d", content: text, tags, context: "later" });
  const again = await made.accept({ items: [same(["one"]), same(["two"]), same(["three"])] });
  expect(await made.finished(again)).toMatchObject({ state: "completed" });
  expect(await outcomesOf(made, again.id)).toEqual(["superseded", "superseded", "unchanged"]);
  expect(await textsOf(made.db)).toEqual(before);
  expect(await documentsOf(made)).toMatchObject({ d: { tags: ["three"] } });
  const { rows } = await made.db.query("select count(*)::int as n from holdfast.chunks");
  expect(rows).toEqual([{ n: 1 }]);
});

test("an item overtaken by a newer replace is superseded, and leaves nothing of its own", async () => {
  const made = await retaining();
  const older = await made.accept({ items: [{ documentId: "d", content: "older" }] });
  const added = await made.accept({
    items: [{ documentId: "d", content: "added", mode: "append" }],
  });
  const newer = await made.accept({ items: [{ documentId: "d", content: "newer" }] });
  const last = await made.accept({ items: [{ documentId: "d", content: "last", mode: "append" }] });
  for (const ref of [last, newer, added, older]) await made.finished(ref);
  expect(await outcomesOf(made, older.id)).toEqual(["superseded"]);
  expect(await outcomesOf(made, added.id)).toEqual(["superseded"]);
  expect(await made.holdfast.operation.get(older.id)).toMatchObject({ state: "completed" });
  expect(await textsOf(made.db)).toEqual({ d: "newer\nlast" });
  expect(await knowledgeOf(made.db)).toMatchObject({ strays: 0 });
});

test("a newer replace that fails hides nothing", async () => {
  const made = await retaining();
  const extractor = {
    name: "picky",
    version: "1",
    extract(chunk: { text: string }) {
      if (chunk.text === "bad") throw new Error("cannot read it");
      return [];
    },
  };
  const ref = await made.accept({
    items: [
      { documentId: "d", content: "good" },
      { documentId: "d", content: "bad" },
    ],
    options: { maxAttempts: 1 },
  });
  await made.finished(ref, worker(made.db, { extractor }));
  expect(await outcomesOf(made, ref.id)).toEqual(["succeeded", "failed"]);
  expect(await textsOf(made.db)).toEqual({ d: "good" });
});

test("an append to nothing makes the document; tags are united, metadata merged per key, a replace sets both", async () => {
  const made = await retaining();
  const work = async (items: Parameters<typeof made.accept>[0]["items"], documentTags?: string[]) =>
    made.finished(await made.accept({ items, ...(documentTags ? { documentTags } : {}) }));
  const append = { documentId: "d", mode: "append" as const };
  await work([{ ...append, content: "one", tags: ["a"], metadata: { k: "1", l: "1" } }], ["batch"]);
  await work([{ ...append, content: "two", tags: ["b", "a"], metadata: { k: "2" } }]);
  expect(await documentsOf(made)).toEqual({
    d: { text: "one\ntwo", tags: ["batch", "a", "b"], metadata: { k: "2", l: "1" } },
  });
  await work([{ documentId: "d", content: "three", tags: ["c"] }]);
  expect(await documentsOf(made)).toEqual({ d: { text: "three", tags: ["c"], metadata: {} } });
});

test("a thousand appends of twenty callers stand in one document, in order of acceptance", async () => {
  const made = await retaining();
  const refs = await Promise.all(
    Array.from({ length: 20 }, (_, caller) =>
      made.accept({
        items: Array.from({ length: 50 }, (_, n) => ({
          documentId: "log",
          content: `line ${caller}.${n}`,
          mode: "append" as const,
        })),
      }),
    ),
  );
  await Promise.all(refs.map((ref) => made.finished(ref)));
  const { rows } = await made.db.query<{ content: string }>(
    `select p.content from holdfast.items i
       join holdfast.payloads p on p.operation_id = i.operation_id and p.item_no = i.no
      order by i.seq`,
  );
  expect(rows).toHaveLength(1_000);
  expect(await textsOf(made.db)).toEqual({ log: rows.map((row) => row.content).join("\n") });
}, 60_000);

test("items without an id are documents of their own, the same ones when they are worked again", async () => {
  const made = await retaining();
  const ref = await made.accept({
    items: [{ content: "first" }, { content: "second" }, { content: "first" }],
    options: { batchItems: 2 },
  });
  await made.finished(ref);
  expect(Object.values(await textsOf(made.db)).toSorted()).toEqual(["first", "first", "second"]);
});
