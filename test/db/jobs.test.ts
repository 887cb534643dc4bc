import { expect, test } from "vitest";
import { setBrake } from "../../db/brakes.ts";
import { finishOperation } from "../../db/finish.ts";
import { claimBatches } from "../../db/job-claim.ts";
import {
  expireDueLeases,
  expireLeases,
  extendLeases,
  hasDueLeases,
  releaseLeases,
} from "../../db/job-leases.ts";
import { postResults } from "../../db/job-post.ts";
import { countOpen, hasOpenItem, listItems, listSubBatches } from "../../db/items.ts";
import { countLateResults, listResults } from "../../db/job-results.ts";
import { pipelineDepths } from "../../db/job-depth.ts";
import { openJob } from "../../db/job-open.ts";
import { setRunAgain } from "../../db/jobs.ts";
import { findOperation, markAcceptedAgain, markCancelRequested } from "../../db/operations.ts";
import { countOutcomes } from "../../db/outcomes.ts";
import type { Db } from "../../db/pool.ts";
import { readProgress, uncountRerun } from "../../db/progress.ts";
import { freshDb as fresh } from "../support/fresh-db.ts";
import {
  aJob,
  begin,
  claimed,
  countBatches,
  countDeliveries,
  countsOf,
  passLease,
  post,
  results,
} from "../support/jobs.ts";

const expire = (db: Db) => db.transaction((tx) => expireLeases(tx));

const finish = (db: Db, id: string, generation = 1) =>
  db.transaction((tx) =>
    finishOperation(tx, { id, generation, outcome: "cancelled", reason: "asked to", by: "test" }),
  );

type Items = Parameters<typeof setRunAgain>[2];

async function runAgain(db: Db, id: string, generation: number, items: Items = "unfinished") {
  await db.transaction(async (tx) => {
    await setRunAgain(tx, id, items, generation);
    await uncountRerun(tx, id, generation, "job");
    await markAcceptedAgain(tx, id);
  });
  await begin(db, id, generation);
}

test("a batch is claimed once, with its open items and their payload, and counts when it is posted", async () => {
  const { db } = await fresh();
  const id = await aJob(db, { items: 15 });
  const [first] = await claimed(db, "a");
  const [second] = await claimed(db, "b");
  expect(first).toMatchObject({ operationId: id, batch: 1, delivery: 1, items: range(1, 10) });
  expect(second).toMatchObject({ operationId: id, batch: 2, delivery: 1, items: range(11, 15) });
  expect(await claimed(db, "c")).toEqual([]);
  expect(await countBatches(db, id)).toEqual({ ready: 0, leased: 2, done: 0 });

  expect(await post(db, id, results(first!))).toMatchObject({ accepted: 10, duplicate: 0 });
  expect(await findOperation(db, id)).toMatchObject({ wake_at: null });
  const bad = [
    { handle: second!.handle, item: 11, result: null },
    { handle: second!.handle, item: 12, reference: "s3://bucket/12" },
    { handle: second!.handle, item: 13, error: "no such image" },
    // About what is left of the batch.
    { handle: second!.handle, error: "out of memory" },
  ];
  expect(await post(db, id, bad)).toEqual({
    results: [
      { item: 11, status: "accepted" },
      { item: 12, status: "accepted" },
      { item: 13, status: "accepted" },
      { item: null, status: "accepted", items: 2 },
    ],
    accepted: 4,
    duplicate: 0,
    late: 0,
    unknown: 0,
  });
  expect(await countsOf(db, id)).toEqual({
    "job/succeeded": 12,
    "job/failed": 3,
    "sums/seen": 20,
  });
  expect(await countBatches(db, id)).toEqual({ ready: 0, leased: 0, done: 2 });
  // Nothing is open: the workflow is told to look.
  expect((await findOperation(db, id))!.wake_at).toBeInstanceOf(Date);
  const page = await listResults(db, id, { after: 10, limit: 3 });
  expect(page).toMatchObject({
    items: [
      { item: 11, key: "item-11", result: null, worker: "key/b" },
      { item: 12, reference: "s3://bucket/12" },
      { item: 13, error: "no such image" },
    ],
    next: "13",
  });
  expect(page.items[1]).not.toHaveProperty("result");
  expect(await finish(db, id)).toMatchObject({
    state: "completed",
    reason: "completed with 3 errors",
  });
});

test("a handle is worth nothing to another key, for another job, batch or item, or with a bit changed", async () => {
  const { db } = await fresh();
  const id = await aJob(db, { items: 20 });
  const other = await aJob(db, { items: 20 });
  const held = await claimed(db, "a", { limit: 4 });
  const [mine, next] = held.filter((lease) => lease.operationId === id);
  const unknown = { accepted: 0, duplicate: 0, late: 0, unknown: 1 };
  const [result] = results(mine!, [1]);

  expect(await post(db, id, [result!], { key: "another" })).toMatchObject(unknown);
  expect(await post(db, other, [result!])).toMatchObject(unknown);
  expect(await post(db, id, [{ ...result!, item: 11 }])).toMatchObject(unknown);
  for (const at of [0, 17, 23, 27, 28, 43]) {
    const bytes = Buffer.from(mine!.handle, "base64url");
    bytes[at]! ^= 1;
    const forged = bytes.toString("base64url");
    expect(await post(db, id, [{ ...result!, handle: forged }])).toMatchObject(unknown);
    expect(await extendLeases(db, [forged], "key")).toMatchObject([{ status: "ended" }]);
    expect(await releaseLeases(db, [forged], "key")).toMatchObject([{ status: "ended" }]);
  }
  // The secret of one batch with the name of the other.
  const spliced = Buffer.from(next!.handle, "base64url");
  Buffer.from(mine!.handle, "base64url").copy(spliced, 28, 28);
  expect(
    await post(db, id, [{ ...result!, item: 11, handle: spliced.toString("base64url") }]),
  ).toMatchObject(unknown);
  expect(await extendLeases(db, [mine!.handle], "another")).toMatchObject([{ status: "ended" }]);
  expect(await releaseLeases(db, [mine!.handle], "another")).toMatchObject([{ status: "ended" }]);
  expect(await countOutcomes(db, id)).toEqual({});
  const { rows } = await db.query("select handle from holdfast.job_leases");
  const stored = rows.map((row) => (row["handle"] as Buffer).toString("base64url"));
  for (const lease of held) {
    for (const text of stored) expect(text).not.toContain(lease.handle.slice(-20));
  }
});

test("a result posted again is a duplicate and changes nothing; with its key the answer is the first one", async () => {
  const { db } = await fresh();
  const id = await aJob(db, { items: 10 });
  const [lease] = await claimed(db, "a");
  const first = await post(db, id, results(lease!, [1, 2, 3, 3]), { repeatKey: "k" });
  expect(first).toMatchObject({ accepted: 3, duplicate: 1 });
  const counts = await countsOf(db, id);
  expect(await post(db, id, results(lease!, [1, 2, 3, 3]), { repeatKey: "k" })).toEqual(first);
  await expect(post(db, id, results(lease!, [4]), { repeatKey: "k" })).rejects.toThrow(
    /key "k" was used for other results/,
  );
  expect(await countsOf(db, id)).toEqual(counts);
  // The same key of another caller is another key.
  expect(await post(db, id, results(lease!, [4]), { key: "other", repeatKey: "k" })).toMatchObject({
    unknown: 1,
  });

  const again = [{ handle: lease!.handle, item: 1, error: "changed my mind" }];
  expect(await post(db, id, again)).toMatchObject({ duplicate: 1, accepted: 0, late: 0 });
  expect(await countOutcomes(db, id)).toEqual({ succeeded: 3 });
  expect((await listResults(db, id, { limit: 1 })).items).toMatchObject([{ result: { item: 1 } }]);
  expect(await countLateResults(db, id)).toEqual({});

  // The same at once: one answer for all.
  const answers = await Promise.all(
    Array.from({ length: 6 }, () => post(db, id, results(lease!, [5, 6]), { repeatKey: "once" })),
  );
  expect(answers.map(({ accepted }) => accepted)).toEqual([2, 2, 2, 2, 2, 2]);
  expect(await countsOf(db, id)).toMatchObject({ "job/succeeded": 5, "sums/seen": 10 });
});

test("rows a user writes with a post are there exactly when it counts, and only for what it settled", async () => {
  const { db } = await fresh();
  const id = await aJob(db, { items: 10 });
  const [lease] = await claimed(db, "a");
  await db.query("create table mine (item int)");
  const postMine = (items: number[], fails = false) =>
    postResults(
      db,
      { operationId: id, key: "key", results: results(lease!, items) },
      async (tx, settled) => {
        await tx.query("insert into mine select unnest($1::int[])", [
          settled.map(({ item }) => item),
        ]);
        if (fails) throw new Error("mine is broken");
      },
    );
  await postMine([1, 2]);
  await postMine([2, 3]);
  await expect(postMine([4], true)).rejects.toThrow("mine is broken");
  const { rows } = await db.query<{ item: number }>("select item from mine order by item");
  expect(rows.map((row) => row.item)).toEqual([1, 2, 3]);
  expect(await countOutcomes(db, id)).toEqual({ succeeded: 3 });
});

test("a lease that is over is handed out again with what is open; what comes late for it still counts", async () => {
  const { db } = await fresh();
  const id = await aJob(db, { items: 10, deliveries: 3 });
  const [first] = await claimed(db, "a");
  await post(db, id, results(first!, [1, 2, 3]));
  expect(await expire(db)).toEqual([]);
  await passLease(db);
  expect(await hasDueLeases(db)).toBe(true);
  expect(await expire(db)).toMatchObject([{ batch: 1, state: "ready", lost: 0, holder: "key/a" }]);
  expect(await hasDueLeases(db)).toBe(false);

  const [second] = await claimed(db, "b");
  expect(second).toMatchObject({ batch: 1, delivery: 2, items: range(4, 10) });
  // The first holder is late for its lease, and its item is still open: it counts.
  expect(await post(db, id, results(first!, [4]))).toMatchObject({ accepted: 1 });
  expect(await extendLeases(db, [first!.handle], "key")).toMatchObject([
    { status: "ended", cancelled: false },
  ]);
  expect(await countDeliveries(db, id)).toEqual({ deliveries: 2, redeliveries: 1 });
  const told = (await readProgress(db, [id])).get(id)!.filter(({ stage }) => stage === "leases");
  expect(told.map(({ outcome, n }) => [outcome, n])).toEqual([
    ["deliveries", 2],
    ["expiries", 1],
    ["redeliveries", 1],
  ]);
});

test("the last delivery is item by item: one that kills its worker is lost alone, and what comes late is kept and told so", async () => {
  const { db } = await fresh();
  const id = await aJob(db, { items: 10 });
  const [first] = await claimed(db, "a");
  await post(db, id, results(first!, [1, 2, 3]));
  await passLease(db);
  expect(await expire(db)).toMatchObject([{ state: "split", lost: 0, items: range(4, 10) }]);
  expect(await countBatches(db, id)).toEqual({ ready: 7, leased: 0, done: 1 });
  // The first holder is late, and so saves its item from being handed out again.
  expect(await post(db, id, results(first!, [4]))).toMatchObject({ accepted: 1 });
  expect(await countBatches(db, id)).toEqual({ ready: 6, leased: 0, done: 2 });

  const alone = await claimed(db, "b", { limit: 10 });
  expect(alone.map((lease) => [lease.batch, lease.delivery, lease.items])).toEqual(
    range(5, 10).map((item) => [-item, 2, [item]]),
  );
  const [poison, ...good] = alone;
  for (const lease of good) {
    expect(await post(db, id, results(lease))).toMatchObject({ accepted: 1 });
  }
  expect((await findOperation(db, id))!.wake_at).toBeNull();
  expect(await releaseLeases(db, [poison!.handle], "key")).toMatchObject([{ status: "released" }]);
  const [again] = await claimed(db, "c");
  expect(again).toMatchObject({ batch: -5, delivery: 2, items: [5] });
  await passLease(db);
  expect(await expireDueLeases(db)).toEqual({ expired: 1, lost: 1 });
  expect((await findOperation(db, id))!.wake_at).toBeInstanceOf(Date);
  expect(await claimed(db, "d")).toEqual([]);

  const counts = { "job/succeeded": 9, "job/lost": 1, "leases/expiries": 2, "leases/releases": 1 };
  expect(await countsOf(db, id)).toEqual({ ...counts, "sums/seen": 18 });
  expect(await post(db, id, results(again!, [5]))).toMatchObject({ late: 1 });
  expect(await post(db, id, results(first!, [4, 5]))).toMatchObject({ duplicate: 1, late: 1 });
  expect(await countsOf(db, id)).toMatchObject(counts);
  expect(await countLateResults(db, id)).toEqual({ lost: 2 });
  expect(await finish(db, id)).toMatchObject({
    state: "completed",
    reason: "completed with 1 error",
    counts: { succeeded: 9, lost: 1 },
  });
});

test("a batch with one open item is not cut any further, and one delivery is all where one is allowed", async () => {
  const { db } = await fresh();
  const id = await aJob(db, { items: 3 });
  const [lease] = await claimed(db, "a");
  await post(db, id, results(lease!, [1, 3]));
  await passLease(db);
  expect(await expire(db)).toMatchObject([{ batch: 1, state: "ready", items: [] }]);
  expect(await claimed(db, "a")).toMatchObject([{ batch: 1, delivery: 2, items: [2] }]);
  const once = await aJob(db, { items: 3, deliveries: 1 });
  await claimed(db, "a");
  await passLease(db, { operationId: once, batch: 1 });
  expect(await expire(db)).toMatchObject([{ operation_id: once, state: "done", lost: 3 }]);
  expect(await finish(db, once)).toMatchObject({
    state: "failed",
    reason: "of 3 items, 3 lost: lost: handed out 1 times, last to key/a, and never answered",
  });
});

test("an extended lease is not over before it says, and a sign of life is expected from the first one on", async () => {
  const { db } = await fresh();
  await aJob(db, { items: 20, leaseSeconds: 300, heartbeatSeconds: 60 });
  const [plain] = await claimed(db, "plain");
  const [beating] = await claimed(db, "beating", { heartbeat: true });
  expect(plain!.beatUntil).toBeNull();
  expect(beating!.beatUntil!.getTime()).toBeLessThan(beating!.leasedUntil.getTime());
  const ages = (seconds: number) =>
    db.query(
      `update holdfast.job_batches
          set leased_until = leased_until - $1 * interval '1 second',
              beat_until = beat_until - $1 * interval '1 second'`,
      [seconds],
    );
  await ages(61);
  expect(await expire(db)).toMatchObject([{ batch: beating!.batch, state: "split" }]);
  const [extended] = await extendLeases(db, [plain!.handle], "key");
  expect(extended).toMatchObject({ status: "extended", cancelled: false });
  expect(Date.parse(extended!.leasedUntil!)).toBeGreaterThan(plain!.leasedUntil.getTime());
  await ages(59);
  expect(await expire(db)).toEqual([]);
  await ages(2);
  expect(await expire(db)).toMatchObject([{ batch: plain!.batch, state: "split" }]);
});

test("an extend never shortens a lease", async () => {
  const { db } = await fresh();
  await aJob(db, { items: 5, leaseSeconds: 10 });
  const [lease] = await claimed(db, "a");
  await db.query(
    "update holdfast.job_batches set leased_until = leased_until + interval '1 hour', beat_until = leased_until + interval '1 hour'",
  );
  const [extended] = await extendLeases(db, [lease!.handle], "key");
  expect(Date.parse(extended!.leasedUntil!)).toBe(lease!.leasedUntil.getTime() + 3_600_000);
  const { rows } = await db.query<{ kept: boolean }>(
    "select beat_until >= leased_until as kept from holdfast.job_batches",
  );
  expect(rows).toEqual([{ kept: true }]);
});

test("a released batch is there at once, and has cost no delivery", async () => {
  const { db } = await fresh();
  const id = await aJob(db, { items: 4 });
  for (let round = 0; round < 5; round++) {
    const [lease] = await claimed(db, "a");
    expect(lease).toMatchObject({ delivery: 1 });
    expect(await releaseLeases(db, [lease!.handle], "key")).toMatchObject([{ status: "released" }]);
    expect(await releaseLeases(db, [lease!.handle], "key")).toMatchObject([{ status: "ended" }]);
  }
  expect(await countsOf(db, id)).toEqual({ "leases/releases": 5 });
});

test("only what may be served is offered: running, not cancelled, paused, braked or ended, of the tenants and pipelines asked for", async () => {
  const { db } = await fresh();
  const id = await aJob(db, { items: 50, tenant: "t", pipeline: "q" });
  await aJob(db, { items: 50, pipeline: "q", tenant: "u", accepted: true });
  const offered = async (asked = {}) =>
    (
      await claimBatches(db, {
        pipelines: ["q"],
        limit: 1,
        key: "k",
        worker: "w",
        held: 99,
        ...asked,
      })
    ).leases.length;
  const set = (sql: string) => db.query(`update holdfast.operations set ${sql} where id = '${id}'`);
  expect(await offered({ pipelines: ["p", "r"] })).toBe(0);
  expect(await offered({ tenants: ["default"] })).toBe(0);
  expect(await offered({ tenants: ["t"] })).toBe(1);
  expect(await pipelineDepths(db)).toMatchObject([
    { pipeline: "q", tenant: "t", jobs: 1, ready: 4 },
  ]);

  await set("paused_at = now()");
  expect(await offered()).toBe(0);
  expect(await pipelineDepths(db)).toEqual([]);
  await set("paused_at = null");
  for (const [appliesTo, name] of [
    ["all", ""],
    ["kind", "job"],
    ["tenant", "t"],
  ] as const) {
    await db.transaction((tx) => setBrake(tx, { appliesTo, name, reason: "stop", by: "me" }));
    expect(await offered()).toBe(0);
    await db.query("delete from holdfast.brakes");
  }
  expect(await offered()).toBe(1);
  const [held] = await claimed(db, "late", { pipelines: ["q"] });
  await db.transaction((tx) => markCancelRequested(tx, id, "me"));
  expect(await offered()).toBe(0);
  expect(await extendLeases(db, [held!.handle], "key")).toMatchObject([
    { status: "extended", cancelled: true },
  ]);
  // Until the job has ended, what comes counts.
  expect(await post(db, id, results(held!, held!.items.slice(0, 1)))).toMatchObject({
    accepted: 1,
  });
  await finish(db, id);
  expect(await offered()).toBe(0);
  expect(await extendLeases(db, [held!.handle], "key")).toMatchObject([
    { status: "ended", cancelled: true },
  ]);
  expect(await post(db, id, results(held!, held!.items.slice(0, 2)))).toMatchObject({
    duplicate: 1,
    late: 1,
  });
  expect(await countLateResults(db, id)).toEqual({ cancelled: 1 });
  expect(await findOperation(db, id)).toMatchObject({ state: "cancelled" });
});

test("a worker holds no more batches than it may, however many claims it sends at once, and ended jobs free it", async () => {
  const { db } = await fresh();
  const id = await aJob(db, { items: 100 });
  const counts = await Promise.all(
    Array.from(
      { length: 8 },
      async () => (await claimed(db, "greedy", { limit: 2, held: 3 })).length,
    ),
  );
  expect(counts.reduce((sum, n) => sum + n, 0)).toBe(3);
  expect(await claimed(db, "other", { limit: 2, held: 3 })).toHaveLength(2);
  expect(await claimed(db, "greedy", { key: "another", limit: 1, held: 3 })).toHaveLength(1);
  await finish(db, id);
  await aJob(db, { items: 100 });
  expect(await claimed(db, "greedy", { limit: 5, held: 3 })).toHaveLength(3);
});

test("a claim says how many jobs had work, and takes of each in turn", async () => {
  const { db } = await fresh();
  for (let n = 0; n < 3; n++) await aJob(db, { items: 10 });
  const asked = { pipelines: ["p"], key: "k", worker: "w", held: 99 };
  const one = await claimBatches(db, { ...asked, limit: 1 });
  expect([one.waiting, one.leases.length]).toEqual([3, 1]);
  const ten = await claimBatches(db, { ...asked, limit: 10 });
  expect([ten.waiting, ten.leases.length]).toEqual([2, 2]);
  const jobs = [...one.leases, ...ten.leases].map((lease) => lease.operationId);
  expect(new Set(jobs).size).toBe(3);
  expect(await claimBatches(db, { ...asked, limit: 10 })).toEqual({ waiting: 0, leases: [] });
});

test("a run again hands out what is unfinished, and handles of before belong to before", async () => {
  const { db } = await fresh();
  const id = await aJob(db, { items: 30 });
  const held = await claimed(db, "a", { limit: 3 });
  await post(db, id, results(held[0]!));
  await post(db, id, [{ handle: held[1]!.handle, item: 11, error: "bad" }]);
  await finish(db, id);
  expect(await countOutcomes(db, id)).toEqual({ succeeded: 10, failed: 1, cancelled: 19 });

  await runAgain(db, id, 2);
  expect(await db.transaction((tx) => openJob(tx, id, 2))).toBe(false);
  const late = await post(db, id, [...results(held[1]!, [11, 12]), ...results(held[0]!, [1])]);
  expect(late).toMatchObject({ late: 1, duplicate: 2, accepted: 0 });
  expect(await countLateResults(db, id)).toEqual({ "older generation": 1 });
  const again = await claimed(db, "b", { limit: 9 });
  expect(again.map((lease) => [lease.generation, lease.batch, lease.items])).toEqual([
    [2, 2, range(11, 20)],
    [2, 3, range(21, 30)],
  ]);
  for (const lease of again) await post(db, id, results(lease));
  expect(await countsOf(db, id)).toMatchObject({ "job/succeeded": 30, "sums/seen": 60 });
  expect(await finish(db, id, 2)).toMatchObject({ state: "completed", counts: { succeeded: 30 } });
});

test("a run again may take up only what failed, or only what remained; the rest ends as it had", async () => {
  const { db } = await fresh();
  for (const [items, batches, counts] of [
    ["failed", [[11]], { succeeded: 11, cancelled: 19 }],
    ["remaining", [range(12, 20), range(21, 30)], { succeeded: 29, failed: 1 }],
  ] as const) {
    const id = await aJob(db, { items: 30 });
    const held = await claimed(db, "a", { limit: 3 });
    await post(db, id, results(held[0]!));
    await post(db, id, [{ handle: held[1]!.handle, item: 11, error: "bad" }]);
    await finish(db, id);
    await runAgain(db, id, 2, items);
    const again = await claimed(db, "b", { limit: 9 });
    expect(again.map((lease) => lease.items)).toEqual(batches);
    for (const lease of again) await post(db, id, results(lease));
    expect(await countOutcomes(db, id)).toEqual(counts);
    const progress = await countsOf(db, id);
    for (const [outcome, n] of Object.entries(counts)) expect(progress[`job/${outcome}`]).toBe(n);
    await finish(db, id, 2);
    expect(await countOutcomes(db, id)).toEqual(counts);
  }
});

test("a run again of all begins anew: nothing of before counts, in the ledger, in progress, in sums or among results", async () => {
  const { db } = await fresh();
  const id = await aJob(db, { items: 30 });
  const held = await claimed(db, "a", { limit: 3 });
  for (const lease of held.slice(0, 2)) await post(db, id, results(lease));
  await post(db, id, [{ handle: held[2]!.handle, error: "bad" }]);
  await finish(db, id);
  expect(await countOpen(db, id, 2)).toBe(10);

  await runAgain(db, id, 2, "all");
  expect(await countOpen(db, id, 2)).toBe(30);
  expect(await hasOpenItem(db, id, 2)).toBe(true);
  expect(await countsOf(db, id)).toEqual({});
  expect(await countOutcomes(db, id)).toEqual({});
  expect((await listItems(db, id, { outcome: "open", limit: 50 })).items).toHaveLength(30);
  expect((await listItems(db, id, { outcome: "succeeded", limit: 50 })).items).toEqual([]);
  expect(await listSubBatches(db, id, { after: 0, limit: 9 })).toMatchObject(
    range(1, 3).map(() => ({ settled: 0, failed: 0 })),
  );
  expect(await listResults(db, id, { limit: 50 })).toEqual({ items: [] });
  // What holders of before say belongs to before.
  expect(await post(db, id, results(held[0]!, [1]))).toMatchObject({ duplicate: 1 });

  const again = await claimed(db, "b", { limit: 9 });
  expect(again.flatMap((lease) => lease.items)).toEqual(range(1, 30));
  await post(db, id, results(again[0]!));
  expect(await countsOf(db, id)).toEqual({
    "job/succeeded": 10,
    "sums/seen": 20,
    "leases/duplicates": 1,
  });
  expect((await listResults(db, id, { limit: 50 })).items).toHaveLength(10);
  expect(await listSubBatches(db, id, { after: 0, limit: 1 })).toMatchObject([{ settled: 10 }]);
  expect(await finish(db, id, 2)).toMatchObject({
    state: "cancelled",
    counts: { succeeded: 10, cancelled: 20 },
  });
  expect(await countsOf(db, id)).toMatchObject({ "job/succeeded": 10, "job/cancelled": 20 });

  // What succeeded since stands; the generation before all of them still does not.
  await runAgain(db, id, 3, "failed");
  expect(await countOpen(db, id, 3)).toBe(0);
  expect(await hasOpenItem(db, id, 3)).toBe(false);
  expect(await countsOf(db, id)).toMatchObject({ "job/succeeded": 10, "job/cancelled": 20 });
  await finish(db, id, 3);
  await runAgain(db, id, 4);
  expect(await countOpen(db, id, 4)).toBe(20);
  expect((await listResults(db, id, { limit: 50 })).items).toHaveLength(10);
});

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, n) => from + n);
}
