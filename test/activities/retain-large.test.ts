import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import type { Chunk, Extractor } from "../../contracts/plugins.ts";
import { PAYLOAD_PART_SIZE } from "../../contracts/retain.ts";
import { deleteStagedParts, findAbandonedParts } from "../../db/staged-parts.ts";
import { chunk } from "../../domain/chunking.ts";
import { extractFacts, proseExtractor } from "../../domain/extraction.ts";
import { fault, watched } from "../support/failing.ts";
import { knowledgeOf, makeDue, retaining, textsOf, worker } from "../support/retaining.ts";
import type { Db } from "../../db/pool.ts";

/** Prose of about so many code points, with some outside the basic plane. */
function prose(size: number, seed = 1): string {
  const people = ["Ada Lovelace", "Charles Babbage", "Grace Hopper", "Alan Turing 🦀"];
  let text = "";
  for (let n = seed; text.length < size; n++) {
    text += `${people[n % 4]} met ${people[(n * 7 + 1) % 4]} on 2024-0${1 + (n % 9)}-11 about topic ${n * 31}.`;
    text += n % 13 === 0 ? "\n\n" : n % 5 === 0 ? "\r\n" : " ";
  }
  return text;
}

const BIG = prose(3_000_000);

const sha = (text: string) => createHash("sha256").update(text).digest("hex");

/** Digests instead of megabytes, so that a difference can be read. */
async function digests(db: Db): Promise<Record<string, string>> {
  const texts = Object.entries(await textsOf(db));
  return Object.fromEntries(texts.map(([id, text]) => [id, text === null ? "no text" : sha(text)]));
}

/** What upkeep does with staged work of operations that are over. */
async function sweepStaged(db: Db): Promise<void> {
  await db.transaction(async (tx) => {
    const abandoned = await findAbandonedParts(tx, 10);
    await deleteStagedParts(
      tx,
      abandoned.map((seq) => ({ seq, keepDerived: false })),
    );
  });
}

async function staged(db: Db) {
  const { rows } = await db.query<{ position: number; chunks: number }>(
    "select position, chunks from holdfast.staged_parts",
  );
  return rows[0];
}

test("an item of 3 MB is worked in pieces, goes on where a fault left it, and equals a pure extraction", async () => {
  const made = await retaining();
  const seen: number[] = [];
  let failAt = 500;
  const extractor: Extractor = {
    ...proseExtractor,
    extract(piece, item, context) {
      if (piece.no === failAt) throw new Error("not this time");
      seen.push(piece.no);
      return proseExtractor.extract(piece, item, context);
    },
  };
  const ref = await made.accept({ items: [{ documentId: "big", content: BIG }] });
  const by = worker(made.db, { extractor });
  expect(await by.whole(ref)).toMatchObject({ report: { complete: false, done: 0 } });
  const halfway = (await staged(made.db))!;
  expect(halfway.position).toBeGreaterThan(0);
  expect(halfway.chunks).toBeGreaterThan(300);
  // Nothing of it can be seen yet.
  expect(await textsOf(made.db)).toEqual({});

  failAt = -1;
  seen.length = 0;
  await makeDue(made.db);
  expect(await by.whole(ref)).toMatchObject({ finished: { state: "completed" } });
  expect(seen[0]).toBe(halfway.chunks);

  const chunks = chunk(BIG, 3_000);
  expect(await digests(made.db)).toEqual({ big: sha(BIG) });
  const facts = chunks.flatMap((piece) =>
    extractFacts(piece, {}).map((fact, ordinal) => [piece.no, ordinal, fact.text]),
  );
  const { rows: written } = await made.db.query<{ fact: unknown }>(
    `select jsonb_build_array(chunk_no, ordinal, text) as fact
       from holdfast.facts order by chunk_no, ordinal`,
  );
  expect(written.map((row) => row.fact)).toEqual(facts);
  const { rows: spans } = await made.db.query(
    `select no, start_at as start, end_at as end from holdfast.chunks order by no`,
  );
  expect(spans).toEqual(chunks.map(({ no, start, end }) => ({ no, start, end })));
  const { rows: parts } = await made.db.query(
    "select size, chunks, facts, digest from holdfast.document_parts",
  );
  expect(parts).toEqual([
    {
      size: [...BIG].length,
      chunks: chunks.length,
      facts: facts.length,
      digest: createHash("sha256").update(BIG).digest(),
    },
  ]);
  expect(await knowledgeOf(made.db)).toMatchObject({ strays: 0 });
}, 120_000);

test("a large item may be interrupted at any of its pieces by a lost connection", async () => {
  const made = await retaining();
  const content = prose(4 * PAYLOAD_PART_SIZE);
  for (const documentId of ["first", "second"]) {
    const ref = await made.accept({
      items: [{ documentId, content }],
      options: { chunkSize: 50_000 },
    });
    if (documentId === "first") {
      await made.finished(ref);
      continue;
    }
    let calls = 0;
    for (let step = 3; calls < 100; calls++, step += 2) {
      const faulty = watched(made.db, (statement) => {
        if (statement === step) throw fault("08006");
      });
      const answer = await worker(faulty)
        .whole(ref)
        .catch(() => undefined);
      await makeDue(made.db);
      if (answer && "finished" in answer) break;
    }
    expect(calls).toBeGreaterThan(5);
  }
  expect(await digests(made.db)).toEqual({ first: sha(content), second: sha(content) });
  const { rows } = await made.db.query<{ n: number }>(
    "select count(*)::int as n from holdfast.facts group by part_seq",
  );
  expect(rows[0]).toEqual(rows[1]);
  expect(await knowledgeOf(made.db)).toMatchObject({ strays: 0 });
}, 120_000);

test("two attempts at work on one large item write it once, and neither takes the operation for gone", async () => {
  const made = await retaining();
  const ref = await made.accept({
    items: [{ documentId: "big", content: BIG.slice(0, 1_200_000) }],
  });
  await made.working.begin(ref);
  const range = { no: 1, from: 1, to: 1 };
  const slow = (ms: number): Extractor => ({
    ...proseExtractor,
    async extract(piece, item, context) {
      await new Promise((resolve) => setTimeout(resolve, ms));
      return proseExtractor.extract(piece, item, context);
    },
  });
  const reports = await Promise.all(
    [1, 2].map((ms) => worker(made.db, { extractor: slow(ms) }, `worker ${ms}`).pages(ref, range)),
  );
  for (const report of reports) expect(report.stop).toBeUndefined();
  await made.finished(ref);
  expect(await digests(made.db)).toEqual({ big: sha(BIG.slice(0, 1_200_000)) });
  expect((await made.holdfast.operation.items(ref.id)).items).toMatchObject([
    { outcome: "succeeded", attempts: 0 },
  ]);
  expect(await knowledgeOf(made.db)).toMatchObject({ strays: 0 });
}, 60_000);

test("a zombie that begins a large item again after it was written takes nothing away", async () => {
  const made = await retaining();
  const content = BIG.slice(0, 600_000);
  const ref = await made.accept({ items: [{ documentId: "big", content }] });
  let resume: () => void = () => undefined;
  const stopped = new Promise<void>((resolve) => (resume = resolve));
  // It has read that the item is due, and sleeps before it stages anything.
  let asleep = false;
  const sleepy = watched(made.db, async (_, text) => {
    if (asleep || !text.includes("staged_parts")) return;
    asleep = true;
    await stopped;
  });
  await made.working.begin(ref);
  const zombie = worker(sleepy, {}, "zombie").pages(ref, { no: 1, from: 1, to: 1 });
  while (!asleep) await new Promise((resolve) => setTimeout(resolve, 5));
  await made.finished(ref);
  const before = await knowledgeOf(made.db);
  resume();
  await zombie;
  await sweepStaged(made.db);
  expect(await digests(made.db)).toEqual({ big: sha(content) });
  expect(await knowledgeOf(made.db)).toEqual(before);
}, 60_000);

test("a large item that is overtaken, blocked or cancelled leaves nothing of its staged work", async () => {
  const made = await retaining();
  const big = { documentId: "d", content: BIG.slice(0, 600_000) };
  const older = await made.accept({ items: [big] });
  const newer = await made.accept({ items: [{ documentId: "d", content: "newer" }] });
  await made.finished(newer);
  await made.finished(older);
  expect(await textsOf(made.db)).toEqual({ d: "newer" });
  expect(await knowledgeOf(made.db)).toMatchObject({ strays: 0 });

  const cancelled = await made.accept({ items: [big] });
  const cancelling: Extractor = {
    ...proseExtractor,
    async extract(piece: Chunk, item, context) {
      if (piece.no === 120) await made.holdfast.operation.cancel(cancelled.id);
      return proseExtractor.extract(piece, item, context);
    },
  };
  const by = worker(made.db, { extractor: cancelling });
  expect(await by.whole(cancelled)).toMatchObject({ report: { stop: "cancelled" } });
  expect(await by.finish(cancelled)).toMatchObject({ state: "failed" });
  await sweepStaged(made.db);
  expect(await textsOf(made.db)).toEqual({ d: "newer" });
  expect(await knowledgeOf(made.db)).toMatchObject({ strays: 0 });
});
