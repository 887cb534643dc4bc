import { expect, test } from "vitest";
import { JOB_LIMITS } from "../../contracts/job.ts";
import { finishOperation } from "../../db/finish.ts";
import { collectPage, findCollecting, type CollectedItems } from "../../db/job-collect.ts";
import { listItems, listSubBatches } from "../../db/items.ts";
import { loadClaimedItems } from "../../db/job-claim.ts";
import { wakeSettledJobs } from "../../db/job-settled.ts";
import { setRunAgain } from "../../db/jobs.ts";
import { findOperation, markAcceptedAgain } from "../../db/operations.ts";
import { countOutcomes } from "../../db/outcomes.ts";
import type { Db } from "../../db/pool.ts";
import { uncountRerun } from "../../db/progress.ts";
import { freshDb as fresh } from "../support/fresh-db.ts";
import { aJob, begin, claimed, countsOf, post, results, type JobAsked } from "../support/jobs.ts";

const collecting = (db: Db, asked: Partial<JobAsked> = {}) =>
  aJob(db, { items: 0, collector: "c", batchSize: 4, ...asked });

/** Items numbered from..to of what is collected, with `next` unless they are the last. */
function page(from: number, to: number, last = false) {
  return {
    items: range(from, to).map((n) => ({ key: `found-${n}`, payload: { n } })),
    next: last ? undefined : `after-${to}`,
    done: last,
  };
}

const collect = (
  db: Db,
  id: string,
  after: string | undefined,
  found: Pick<CollectedItems, "items" | "next" | "done">,
  more: Partial<CollectedItems> = {},
) =>
  db.transaction((tx) =>
    collectPage(tx, { operationId: id, generation: 1, after, ...found, ...more }),
  );

const finish = (db: Db, id: string, outcome: "failed" | "cancelled" | "lost" = "lost") =>
  db.transaction((tx) =>
    finishOperation(tx, { id, generation: 1, outcome, reason: "no way on", by: "test" }),
  );

test("pages are written once each, in order, and nothing is handed out before the last one is there", async () => {
  const { db } = await fresh();
  const id = await collecting(db);
  expect(await findCollecting(db, id)).toMatchObject({
    collector: "c",
    after: undefined,
    collected: 0,
    room: JOB_LIMITS.items,
    done: false,
  });
  const written = { status: "written", after: "after-6", collected: 6, done: false };
  expect(await collect(db, id, undefined, page(1, 6))).toEqual(written);
  // The answer was lost; whatever the collector says now, the page that counts is there.
  expect(await collect(db, id, undefined, page(1, 6))).toEqual({ ...written, status: "repeated" });
  expect(await collect(db, id, undefined, page(1, 3, true))).toEqual({
    ...written,
    status: "repeated",
  });
  expect(await countsOf(db, id)).toEqual({ "collect/items": 6 });
  expect(await claimed(db, "w")).toEqual([]);
  expect(await findOperation(db, id)).toMatchObject({ total: 0, batches: 0 });

  expect(await collect(db, id, "after-6", { items: [], next: "on", done: false })).toMatchObject({
    status: "written",
    collected: 6,
  });
  expect(await collect(db, id, "on", page(7, 10, true))).toMatchObject({
    status: "written",
    collected: 10,
    done: true,
  });
  expect(await collect(db, id, "on", page(7, 10, true))).toMatchObject({
    status: "repeated",
    done: true,
  });
  expect(await countsOf(db, id)).toEqual({ "collect/items": 10 });
  expect(await findOperation(db, id)).toMatchObject({ total: 10, batches: 3 });
  expect(await listSubBatches(db, id, { after: 0, limit: 9 })).toMatchObject([
    { no: 1, first_item: 1, last_item: 4 },
    { no: 2, first_item: 5, last_item: 8 },
    { no: 3, first_item: 9, last_item: 10 },
  ]);
  const leases = await claimed(db, "w", { limit: 9 });
  expect(leases.map((lease) => lease.items)).toEqual([range(1, 4), range(5, 8), [9, 10]]);
  const items = await loadClaimedItems(db, leases);
  expect(items[2]![1]).toEqual({ item: 10, key: "found-10", payload: { n: 10 } });
});

test("of two who write one page at once one does", async () => {
  const { db } = await fresh();
  const id = await collecting(db);
  const answers = await Promise.all(
    Array.from({ length: 6 }, () => collect(db, id, undefined, page(1, 50))),
  );
  expect(answers.map(({ status }) => status).toSorted()).toEqual([
    ...Array.from({ length: 5 }, () => "repeated"),
    "written",
  ]);
  expect((await listItems(db, id, { limit: 100 })).items).toHaveLength(50);
});

test("the operation's row is written once for a whole collection", async () => {
  const { db } = await fresh();
  const id = await collecting(db);
  const version = async () =>
    (await db.query("select xmin::text from holdfast.operations where id = $1", [id])).rows[0];
  const begun = await version();
  await collect(db, id, undefined, page(1, 5));
  await collect(db, id, "after-5", page(6, 9));
  expect(await version()).toEqual(begun);
  await collect(db, id, "after-9", page(10, 12, true));
  expect(await version()).not.toEqual(begun);
});

test("an item that cannot be queued has failed, and the others are worked", async () => {
  const { db } = await fresh();
  const id = await collecting(db);
  const items = [
    { key: "good", reference: "s3://b/1" },
    { key: "no-url", error: "it has no URL" },
    { key: "large", payload: "x".repeat(JOB_LIMITS.inlineBytes) },
    { key: "odd", url: "http://x" },
    "not an item at all",
    null,
    { key: "nul\u0000inside" },
  ];
  await collect(db, id, undefined, { items, next: undefined, done: true });
  const listed = (await listItems(db, id, { limit: 50 })).items;
  expect(listed.map(({ key, outcome, reason }) => [key, outcome, reason])).toEqual([
    ["good", null, null],
    ["no-url", "failed", "could not be queued: it has no URL"],
    ["large", "failed", expect.stringMatching(/^could not be queued: its payload must be at most/)],
    ["odd", "failed", expect.stringMatching(/^could not be queued: it .*url/)],
    ["", "failed", expect.stringMatching(/^could not be queued: it /)],
    ["", "failed", expect.stringMatching(/^could not be queued: it /)],
    ["nulinside", "failed", expect.stringMatching(/^could not be queued: its key contains a NUL/)],
  ]);
  expect(await countsOf(db, id)).toEqual({ "collect/items": 7, "job/failed": 6 });
  const [lease] = await claimed(db, "w", { limit: 9 });
  expect(lease!.items).toEqual([1]);
  await post(db, id, results(lease!));
  expect(await finish(db, id)).toMatchObject({ counts: { succeeded: 1, failed: 6 } });

  // Asked for again, it cannot be queued either: no worker is given what is nothing.
  await db.transaction(async (tx) => {
    await setRunAgain(tx, id, "all", 2);
    await uncountRerun(tx, id, 2, "job");
    await markAcceptedAgain(tx, id);
  });
  await begin(db, id, 2);
  expect((await claimed(db, "w", { limit: 9 })).map((one) => one.items)).toEqual([[1]]);
  expect(await countOutcomes(db, id)).toEqual({ failed: 6 });
  expect(await countsOf(db, id)).toMatchObject({ "job/failed": 6 });
});

test("a collection that finds nothing is a job that completes at once", async () => {
  const { db } = await fresh();
  const id = await collecting(db);
  expect(await collect(db, id, undefined, { items: [], next: undefined, done: true })).toEqual({
    status: "written",
    after: undefined,
    collected: 0,
    done: true,
  });
  expect(await wakeSettledJobs(db)).toBe(1);
  expect(await finish(db, id)).toEqual({ state: "completed", counts: {} });
});

test("a limit ends the collection where it is reached, and the batches there are handed out", async () => {
  const { db } = await fresh();
  const id = await collecting(db, { take: 10 });
  await collect(db, id, undefined, page(1, 6));
  expect(await findCollecting(db, id)).toMatchObject({ room: 4 });
  expect(await collect(db, id, "after-6", page(7, 12))).toMatchObject({
    status: "written",
    collected: 10,
    done: true,
  });
  expect(await findOperation(db, id)).toMatchObject({ total: 10, batches: 3 });
  expect((await listItems(db, id, { limit: 50 })).items.at(-1)).toMatchObject({ key: "found-10" });
});

test("a shuffled collection holds every item once, in another order, and its batches go out in another one still", async () => {
  const { db } = await fresh();
  const id = await collecting(db, { shuffle: true, batchSize: 5 });
  await collect(db, id, undefined, page(1, 100));
  await collect(db, id, "after-100", page(101, 200, true));
  const { items } = await listItems(db, id, { limit: 300 });
  const keys = items.map(({ key }) => key);
  const inOrder = range(1, 200).map((n) => `found-${n}`);
  expect(keys).not.toEqual(inOrder);
  expect(keys.toSorted()).toEqual(inOrder.toSorted());
  // Inside its page, so that a page stands alone.
  expect(new Set(keys.slice(0, 100))).toEqual(new Set(inOrder.slice(0, 100)));
  const order = (await claimed(db, "w", { limit: 40 })).map((lease) => lease.batch);
  expect(order).not.toEqual(range(1, 40));
  expect(order.toSorted((a, b) => a - b)).toEqual(range(1, 40));
});

test("of jobs that collect at once the first to be accepted has room, so that one of them always gets on", async () => {
  const { db } = await fresh();
  const first = await collecting(db);
  const second = await collecting(db);
  const room = { maxOpenItems: 20 };
  await collect(db, first, undefined, page(1, 12), room);
  await collect(db, second, undefined, page(1, 8), room);
  expect(await collect(db, second, "after-8", page(9, 10), room)).toMatchObject({
    status: "no room",
    open: 20,
  });
  expect(await collect(db, first, "after-12", page(13, 16, true), room)).toMatchObject({
    status: "written",
    done: true,
  });
  // What is handed out counts against everybody, until it has ended.
  expect(await collect(db, second, "after-8", page(9, 10), room)).toMatchObject({
    status: "no room",
    open: 24,
  });
  for (const lease of await claimed(db, "w", { limit: 9 })) await post(db, first, results(lease));
  await finish(db, first);
  expect(await collect(db, second, "after-8", page(9, 10, true), room)).toMatchObject({
    status: "written",
    done: true,
  });
});

test("a page waits while its tenant has too much open, and a job that can never fit is told so", async () => {
  const { db } = await fresh();
  const other = await aJob(db, { items: 20 });
  const id = await collecting(db);
  await collect(db, id, undefined, page(1, 5), { maxOpenItems: 30 });
  expect(await collect(db, id, "after-5", page(6, 12), { maxOpenItems: 30 })).toEqual({
    status: "no room",
    after: "after-5",
    collected: 5,
    done: false,
    open: 25,
    limit: 30,
  });
  await finish(db, other);
  expect(await collect(db, id, "after-5", page(6, 12), { maxOpenItems: 30 })).toMatchObject({
    status: "written",
    collected: 12,
  });
  expect(await collect(db, id, "after-12", page(13, 40), { maxOpenItems: 30 })).toMatchObject({
    status: "too many",
    collected: 12,
    limit: 30,
  });
  expect(await findCollecting(db, id)).toMatchObject({ collected: 12, after: "after-12" });
});

test("a page that leads nowhere is refused before anything is written", async () => {
  const { db } = await fresh();
  const id = await collecting(db);
  const nowhere = { items: [{ key: "a" }], done: false };
  await expect(collect(db, id, undefined, { ...nowhere, next: undefined })).rejects.toThrow(
    /next: must say where the next page begins/,
  );
  await expect(collect(db, id, "x", { ...nowhere, next: "x" })).rejects.toThrow(/next: must say/);
  expect((await listItems(db, id, { limit: 5 })).items).toEqual([]);
});

test("a collection that is cancelled, or fails, ends with what it has; run again goes on where it was", async () => {
  const { db } = await fresh();
  for (const outcome of ["cancelled", "failed"] as const) {
    const id = await collecting(db, { pipeline: outcome });
    await collect(db, id, undefined, page(1, 6));
    expect(await finish(db, id, outcome)).toEqual({
      state: outcome,
      reason: "no way on",
      counts: { [outcome]: 6 },
    });
    expect(await findOperation(db, id)).toMatchObject({ total: 6, batches: 2 });
    expect(await collect(db, id, "after-6", page(7, 9))).toMatchObject({ status: "ended" });

    await db.transaction(async (tx) => {
      await setRunAgain(tx, id, "unfinished", 2);
      await uncountRerun(tx, id, 2, "job");
      await markAcceptedAgain(tx, id);
    });
    await begin(db, id, 2);
    expect(await claimed(db, "w", { pipelines: [outcome] })).toEqual([]);
    expect(await findCollecting(db, id)).toMatchObject({ after: "after-6", collected: 6 });
    expect(await collect(db, id, "after-6", page(7, 9, true), { generation: 2 })).toMatchObject({
      status: "written",
      collected: 9,
      done: true,
    });
    const leases = await claimed(db, "w", { pipelines: [outcome], limit: 9 });
    expect(leases.flatMap((lease) => lease.items)).toEqual(range(1, 9));
    expect(await findOperation(db, id)).toMatchObject({ total: 9, batches: 3 });
  }
  // Without a single item there is no ledger to tell from: it was not done all the same.
  const empty = await collecting(db);
  expect(await finish(db, empty, "failed")).toMatchObject({ state: "failed", counts: {} });
});

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, n) => from + n);
}
