import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { Deferred, Refused } from "../../contracts/errors.ts";
import type { HoldfastConfig } from "../../contracts/config.ts";
import type { ExtractedFact, Extractor, Validation } from "../../contracts/plugins.ts";
import type { RetainItem } from "../../contracts/retain.ts";
import { markRunning } from "../../db/operations.ts";
import { documents } from "../support/fresh.ts";
import { fault } from "../support/failing.ts";
import { makeDue, retaining, textsOf, worker, type Retaining } from "../support/retaining.ts";

const upTo = (batches: number) => ({ no: 1, from: 1, to: batches });

/** An extractor that does what a text asks of it. */
function obeying(
  orders: Record<string, (attempt: number) => readonly ExtractedFact[] | Promise<never>>,
): Extractor {
  return {
    name: "obeying",
    version: "1",
    extract: (chunk, _, { attempt }) => orders[chunk.text]?.(attempt) ?? [{ text: chunk.text }],
  };
}

const throwing = (error: () => unknown) => () => {
  throw error();
};

async function itemsOf({ holdfast }: Retaining, id: string) {
  return (await holdfast.operation.items(id, { limit: 1_000 })).items;
}

test("a domain fault costs an attempt, waits longer each time, and ends the item when they are spent", async () => {
  const made = await retaining();
  const extractor = obeying({ bad: throwing(() => new Error("cannot read it")) });
  const by = worker(made.db, { extractor });
  const ref = await made.accept({
    items: [{ content: "bad" }, { content: "good" }],
    options: { maxAttempts: 3 },
  });
  for (let attempt = 1; attempt <= 2; attempt++) {
    const answer = await by.whole(ref);
    expect(answer).toMatchObject({ report: { complete: false } });
    const due = "report" in answer ? answer.report.nextDueAt! - Date.now() : 0;
    expect(due).toBeGreaterThan(attempt * 1_000 - 900);
    expect(due).toBeLessThanOrEqual(attempt * 1_000);
    expect(await itemsOf(made, ref.id)).toMatchObject([
      { outcome: null, attempts: attempt, lastError: "cannot read it" },
      { outcome: "succeeded", attempts: 0 },
    ]);
    expect((await made.holdfast.operation.get(ref.id)).nextRetryAt).not.toBeNull();
    await makeDue(made.db);
  }
  expect(await by.whole(ref)).toEqual({
    finished: {
      state: "failed",
      reason: "of 2 items, 1 failed: cannot read it",
      counts: { failed: 1, succeeded: 1 },
    },
  });
  const logs = await made.holdfast.operation.logs(ref.id, { level: "error" });
  expect(logs.items.map((line) => line.message)).toContain("item 1 failed: cannot read it");
});

test("one bad item takes no other with it, whatever is wrong with what comes of it", async () => {
  const made = await retaining();
  const long = "x".repeat(100_001);
  const facts = (fact: unknown) => () => [fact] as ExtractedFact[];
  const cases: [string, Parameters<typeof obeying>[0][string], string, RegExp][] = [
    ["throws", throwing(() => new Error("cannot")), "failed", /^cannot$/],
    ["throws no error", throwing(() => "a word"), "failed", /^a word$/],
    ["throws a NUL", throwing(() => new Error("a\0b")), "failed", /^ab$/],
    ["refuses", throwing(() => new Refused("never this")), "blocked", /^never this$/],
    ["NUL in a fact", facts({ text: "a\0b" }), "failed", /0x00/],
    ["no day", facts({ text: "a", occurredStart: "2026-02-30" }), "failed", /2026-02-30/],
    ["no offset", facts({ text: "a", start: 1.5, end: 3 }), "failed", /1\.5/],
    ["no text", facts({}), "failed", /./],
    ["no list", () => undefined as never, "succeeded", /^$/],
    [
      "too many",
      () => Array.from({ length: 2_001 }, () => ({ text: "f" })),
      "failed",
      /2001 facts for one chunk, at most 2000/,
    ],
    ["too long", facts({ text: long }), "failed", /fact of 100001 characters, at most 100000/],
  ];
  const extractor = obeying(Object.fromEntries(cases.map(([text, order]) => [text, order])));
  const good = documents(20);
  const ref = await made.accept({
    items: [...good.slice(0, 10), ...cases.map(([content]) => ({ content })), ...good.slice(10)],
    options: { maxAttempts: 1 },
  });
  const finished = await made.finished(ref, worker(made.db, { extractor }));
  expect(finished.counts).toEqual({ succeeded: 21, failed: 9, blocked: 1 });
  const items = (await itemsOf(made, ref.id)).slice(10, 10 + cases.length);
  for (const [index, [name, , outcome, reason]] of cases.entries()) {
    expect(items[index]!.outcome, name).toBe(outcome);
    expect(items[index]!.reason ?? "", name).toMatch(reason);
  }
  expect(Object.keys(await textsOf(made.db))).toHaveLength(21);
});

test("what Postgres refuses for good fails at once; a fault that may pass is tried again", async () => {
  const made = await retaining();
  const extractor = obeying({
    bad: () => [{ text: "a\0b" }],
    odd: throwing(() => new Error("odd")),
  });
  const ref = await made.accept({ items: [{ content: "bad" }, { content: "odd" }] });
  await worker(made.db, { extractor }).whole(ref);
  expect(await itemsOf(made, ref.id)).toMatchObject([
    { outcome: "failed", attempts: 0 },
    { outcome: null, attempts: 1 },
  ]);
});

test("an infrastructure fault of a plug-in is tried without limit and never charged", async () => {
  const made = await retaining();
  let faults = 12;
  const extractor = obeying({
    flaky: () => {
      if (faults-- > 0) throw fault(["ECONNRESET", "08006", "53300", "57P01"][faults % 4]!);
      return [{ text: "at last" }];
    },
  });
  const ref = await made.accept({ items: [{ content: "flaky" }], options: { maxAttempts: 1 } });
  expect(await made.finished(ref, worker(made.db, { extractor }))).toMatchObject({
    state: "completed",
  });
  expect(await itemsOf(made, ref.id)).toMatchObject([{ outcome: "succeeded", attempts: 0 }]);
});

test("a deferral spends no attempt and shows when it goes on, and one into the past does not spin", async () => {
  const made = await retaining();
  const until = new Date(Date.now() + 3_600_000);
  let asked = 0;
  const extractor = obeying({
    later: () => {
      if (++asked <= 5) throw new Deferred(until);
      return [];
    },
    past: () => {
      if (++asked <= 8) throw new Deferred(new Date(0));
      return [];
    },
  });
  const by = worker(made.db, { extractor });
  const ref = await made.accept({ items: [{ content: "later" }], options: { maxAttempts: 1 } });
  for (let turn = 1; turn <= 5; turn++) {
    expect(await by.whole(ref)).toEqual({
      report: { done: 0, complete: false, nextDueAt: until.getTime() },
    });
    const view = await made.holdfast.operation.get(ref.id);
    expect(view).toMatchObject({ nextRetryAt: until.toISOString(), state: "running" });
    expect(await itemsOf(made, ref.id)).toMatchObject([
      { attempts: 0, nextRetryAt: until.toISOString() },
    ]);
    await makeDue(made.db);
  }
  expect(await by.whole(ref)).toMatchObject({ finished: { state: "completed" } });

  asked = 5;
  const past = await made.accept({ items: [{ content: "past" }] });
  const answer = await by.whole(past);
  expect("report" in answer && answer.report.nextDueAt! > Date.now()).toBe(true);
  expect(asked).toBe(6);
});

test("an extractor or validator that does not answer is given up after its time, and its signal says so", async () => {
  const made = await retaining();
  const aborted: string[] = [];
  const waiting = (who: string, signal: AbortSignal) =>
    new Promise<never>(() => signal.addEventListener("abort", () => aborted.push(who)));
  const config: HoldfastConfig = {
    retain: { extractTimeoutMs: 50 },
    extractor: {
      name: "slow",
      version: "1",
      extract: (chunk, _, { signal }) =>
        chunk.text === "slow" ? waiting("extractor", signal) : [{ text: chunk.text }],
    },
    validator: {
      validate: (item, { signal }) =>
        item.content === "unjudged" ? waiting("validator", signal) : { verdict: "accept" },
    },
  };
  const ref = await made.accept({
    items: [{ content: "slow" }, { content: "quick" }, { content: "unjudged" }],
    options: { maxAttempts: 1 },
  });
  await made.finished(ref, worker(made.db, config));
  expect(await itemsOf(made, ref.id)).toMatchObject([
    { outcome: "failed", reason: "the extractor did not answer within 50 ms" },
    { outcome: "succeeded" },
    { outcome: "failed", reason: "the validator did not answer within 50 ms" },
  ]);
  expect(aborted.toSorted()).toEqual(["extractor", "validator"]);
});

test("the validator is asked at accept and before every attempt, with the number of the attempt", async () => {
  const asked: [number, number, string | undefined][] = [];
  const validator = {
    validate(
      item: RetainItem,
      { itemNo, attempt, operationId }: { itemNo: number; attempt: number; operationId?: string },
    ): Validation {
      asked.push([itemNo, attempt, operationId]);
      return { verdict: "accept" };
    },
  };
  const made = await retaining({ validator });
  const ref = await made.accept({ items: [{ content: "bad" }, { content: "good" }] });
  expect(asked).toEqual([
    [1, 0, undefined],
    [2, 0, undefined],
  ]);
  asked.length = 0;
  const extractor = obeying({ bad: throwing(() => new Error("cannot")) });
  await made.finished(ref, worker(made.db, { validator, extractor }));
  expect(asked.filter(([itemNo]) => itemNo === 1)).toEqual([0, 1, 2].map((n) => [1, n, ref.id]));
  expect(asked.filter(([itemNo]) => itemNo === 2)).toEqual([[2, 0, ref.id]]);
});

test("a validator that refuses at accept refuses the batch; at work it blocks the one item", async () => {
  let strict = true;
  const validator = {
    validate: (item: RetainItem): Validation =>
      strict && item.content.includes("secret")
        ? { verdict: "refuse", reason: "holds a secret" }
        : { verdict: "accept" },
  };
  const made = await retaining({ validator });
  const items = [{ content: "open" }, { content: "a secret" }];
  await expect(made.accept({ items })).rejects.toMatchObject({
    status: 422,
    message: "items[1]: refused by the validator: holds a secret",
  });
  expect((await made.holdfast.operation.list()).items).toEqual([]);
  strict = false;
  const ref = await made.accept({ items });
  strict = true;
  expect(await made.finished(ref)).toMatchObject({ state: "completed" });
  expect(await itemsOf(made, ref.id)).toMatchObject([
    { outcome: "succeeded" },
    { outcome: "blocked", reason: "holds a secret" },
  ]);
  expect(Object.values(await textsOf(made.db))).toEqual(["open"]);
});

test("what a validator rewrites is what is stored, with its own size; a bad rewrite is a fault of the item", async () => {
  const rewriting = (to: Partial<RetainItem>) => ({
    validate: (item: RetainItem): Validation => ({ verdict: "rewrite", item: { ...item, ...to } }),
  });
  const made = await retaining();
  const ref = await made.accept({ items: [{ documentId: "d", content: "my number is 12345" }] });
  await made.finished(
    ref,
    worker(made.db, { validator: rewriting({ content: "my number is ***", tags: ["redacted"] }) }),
  );
  const { rows } = await made.db.query("select size, tags from holdfast.document_parts");
  expect(rows).toEqual([{ size: 16, tags: ["redacted"] }]);
  expect(await textsOf(made.db)).toEqual({ d: "my number is ***" });

  const bad = await made.accept({ items: [{ content: "a" }], options: { maxAttempts: 1 } });
  await made.finished(bad, worker(made.db, { validator: rewriting({ content: " " }) }));
  expect(await itemsOf(made, bad.id)).toMatchObject([
    { outcome: "failed", reason: expect.stringContaining("must not be blank") as string },
  ]);

  const atAccept = await retaining({ validator: rewriting({ content: "rewritten" }) });
  const early = await atAccept.accept({ items: [{ documentId: "d", content: "as it was sent" }] });
  await atAccept.finished(early);
  expect(await textsOf(atAccept.db)).toEqual({ d: "rewritten" });
});

test("after a crash the next page is half as large, and only an item that was alone is charged", async () => {
  const made = await retaining();
  const seen: number[][] = [];
  const ref = await made.accept({ items: documents(40), options: { batchItems: 100 } });
  await markRunning(made.db, ref.id, 1);
  const died = (items: number[], alone: boolean) =>
    made.db.query(
      `insert into holdfast.flights (operation_id, generation, range_no, items, alone, worker)
       values ($1, 1, 1, $2, $3, 'gone')
       on conflict (operation_id, generation, range_no) do update
          set items = excluded.items, alone = excluded.alone`,
      [ref.id, items, alone],
    );
  // Ends after its first page, so that the page can be seen.
  const page = async () => {
    let first: number[] | undefined;
    const cancelled = new AbortController();
    const by = worker(made.db, {
      extractor: {
        name: "watching",
        version: "1",
        async extract() {
          if (!first) {
            const { rows } = await made.db.query<{ items: number[]; alone: boolean }>(
              "select items, alone from holdfast.flights",
            );
            first = rows[0]!.items;
            seen.push(first);
            cancelled.abort();
          }
          throw new Deferred(new Date(Date.now() + 600_000));
        },
      },
    });
    await by.pages(ref, upTo(1), cancelled.signal).catch(() => undefined);
    await makeDue(made.db);
    return first!;
  };
  const all = Array.from({ length: 40 }, (_, index) => index + 1);
  expect(await page()).toEqual(all);

  await died(all, false);
  expect(await page()).toEqual(all.slice(0, 20));
  await died(all.slice(0, 3), false);
  expect(await page()).toEqual([1]);
  const crashes = async () => (await itemsOf(made, ref.id))[0]!.crashes;
  await died([1], false);
  expect(await page()).toEqual([1]);
  expect(await crashes()).toBe(0);
  for (let crash = 1; crash <= 2; crash++) {
    await died([1], true);
    expect(await page()).toEqual([1]);
    expect(await crashes()).toBe(crash);
  }
  await died([1], true);
  await worker(made.db).pages(ref, upTo(1));
  const items = await itemsOf(made, ref.id);
  expect(items[0]).toMatchObject({
    outcome: "failed",
    reason: "crashes the worker (3 times)",
    attempts: 0,
  });
  for (const item of items.slice(1))
    expect(item).toMatchObject({ outcome: "succeeded", crashes: 0 });
});

test("a zombie that comes late to its commit writes nothing of what another attempt has settled", async () => {
  const made = await retaining();
  const ref = await made.accept({
    items: [
      { documentId: "lost", content: "one" },
      { documentId: "open", content: "two" },
    ],
    options: { maxAttempts: 1 },
  });
  await markRunning(made.db, ref.id, 1);
  let wakeUp: () => void = () => undefined;
  const asleep = new Promise<void>((resolve) => (wakeUp = resolve));
  let started: () => void = () => undefined;
  const isStarted = new Promise<void>((resolve) => (started = resolve));
  const sleeping: Extractor = {
    name: "sleeping",
    version: "1",
    async extract(chunk) {
      started();
      await asleep;
      return [{ text: chunk.text }];
    },
  };
  const zombie = worker(made.db, { extractor: sleeping }, "zombie").pages(ref, upTo(1));
  await isStarted;
  // The attempt that took its place fails the one item, and puts off the other.
  const live = obeying({
    one: throwing(() => new Error("cannot")),
    two: throwing(() => new Deferred(new Date(Date.now() + 600_000))),
  });
  await worker(made.db, { extractor: live }, "live").pages(ref, upTo(1));
  wakeUp();
  await zombie;
  expect(await itemsOf(made, ref.id)).toMatchObject([
    { outcome: "failed", reason: "cannot" },
    { outcome: "succeeded" },
  ]);
  expect(await textsOf(made.db)).toEqual({ open: "two" });
  expect(await made.working.finish(ref)).toMatchObject({ counts: { failed: 1, succeeded: 1 } });
  expect((await made.holdfast.operation.get(ref.id)).stages).toMatchObject([
    { counts: { failed: 1, succeeded: 1 }, done: 2 },
  ]);
});

test("a cancel reaches the extractor, nothing is begun after it, and what was done stays", async () => {
  const made = await retaining();
  let started = 0;
  let aborted = 0;
  const extractor: Extractor = {
    name: "waiting",
    version: "1",
    async extract(chunk, _, { signal }) {
      started++;
      if (chunk.text !== "wait") return [{ text: chunk.text }];
      await sleep(60_000, undefined, { signal }).catch((error: unknown) => {
        aborted++;
        throw error;
      });
      return [];
    },
  };
  const done = documents(100);
  const ref = await made.accept({
    items: [...done, { content: "wait" }, ...documents(300)],
    options: { batchItems: 100 },
  });
  await markRunning(made.db, ref.id, 1);
  const cancel = new AbortController();
  const by = worker(made.db, { extractor, retain: { extractConcurrency: 1 } });
  const working = by.pages(ref, upTo(5), cancel.signal).catch(() => undefined);
  while (started < 101) await sleep(5);
  await made.holdfast.operation.cancel(ref.id);
  cancel.abort();
  await working;
  expect({ started, aborted }).toEqual({ started: 101, aborted: 1 });
  expect(await by.pages(ref, upTo(5))).toEqual({
    done: 0,
    complete: false,
    stop: "cancelled",
  });
  expect(started).toBe(101);
  expect((await by.finish(ref, "cancelled")).counts).toEqual({ succeeded: 100, cancelled: 301 });
});

test("a batch stops at its next page when it is paused or braked, and goes on where it was", async () => {
  const made = await retaining();
  const ref = await made.accept({ items: documents(250) });
  await markRunning(made.db, ref.id, 1);
  let worked = 0;
  const extractor: Extractor = {
    name: "pausing",
    version: "1",
    async extract(chunk) {
      if (++worked === 50) await made.holdfast.operation.pause(ref.id, "look first");
      return [{ text: chunk.text }];
    },
  };
  const by = worker(made.db, { extractor });
  expect(await by.pages(ref, upTo(3))).toMatchObject({ complete: false, stop: "paused" });
  expect((await itemsOf(made, ref.id)).filter((item) => item.outcome !== null).length).toBeLessThan(
    250,
  );
  await made.holdfast.operation.resume(ref.id);
  await made.holdfast.brake.set("scope", "default/notes", "incident");
  expect(await by.pages(ref, upTo(3))).toMatchObject({ stop: "paused" });
  await made.holdfast.brake.lift("scope", "default/notes");
  expect(await by.pages(ref, upTo(3))).toMatchObject({ complete: true });
});

test("a run again works what failed and nothing else", async () => {
  const made = await retaining();
  let broken = true;
  const extractor = obeying({
    bad: () => {
      if (broken) throw new Error("cannot");
      return [];
    },
  });
  const seen: string[] = [];
  const watching: Extractor = {
    ...extractor,
    extract(chunk, item, context) {
      seen.push(chunk.text);
      return extractor.extract(chunk, item, context);
    },
  };
  const by = worker(made.db, { extractor: watching });
  const ref = await made.accept({
    items: [{ content: "good" }, { content: "bad" }, { content: "fine" }],
    options: { maxAttempts: 1 },
  });
  expect(await made.finished(ref, by)).toMatchObject({ state: "failed" });
  broken = false;
  seen.length = 0;
  expect(await made.holdfast.operation.retry(ref.id)).toMatchObject({ generation: 2 });
  expect(await made.finished({ ...ref, generation: 2 }, by)).toEqual({
    state: "completed",
    counts: { succeeded: 3 },
  });
  expect(seen).toEqual(["bad"]);
});

test("every field of an item arrives where it is read", async () => {
  const made = await retaining();
  const received: unknown[] = [];
  const extractor: Extractor = {
    name: "receiving",
    version: "1",
    extract(_, item) {
      received.push(item);
      return [];
    },
  };
  const item = {
    content: "Something.",
    documentId: "d",
    timestamp: "2024-02-29T12:00:00+02:00",
    context: "team meeting",
    tags: ["own"],
    metadata: { source: "mail" },
    entities: [{ text: "Ada Lovelace", type: "PERSON" }],
    resolveEntities: false,
    mode: "replace" as const,
  };
  const ref = await made.accept({
    items: [
      item,
      { content: "Timeless.", documentId: "e", timestamp: "unset" },
      { content: "Now.", documentId: "f" },
    ],
    documentTags: ["batch", "own"],
  });
  await made.finished(ref, worker(made.db, { extractor }));
  const { content: _, ...about } = item;
  expect(received[0]).toEqual({ ...about, tags: ["batch", "own"] });
  const { rows } = await made.db.query(
    `select document_id, context, happened_at, tags, metadata, mode
       from holdfast.document_parts order by seq`,
  );
  const { acceptedAt } = await made.holdfast.operation.get(ref.id);
  expect(rows).toMatchObject([
    {
      document_id: "d",
      context: "team meeting",
      happened_at: new Date("2024-02-29T10:00:00Z"),
      tags: ["batch", "own"],
      metadata: { source: "mail" },
      mode: "replace",
    },
    { document_id: "e", happened_at: null, tags: ["batch", "own"] },
    { document_id: "f", happened_at: new Date(acceptedAt) },
  ]);
});
