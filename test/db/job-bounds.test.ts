import { expect, test } from "vitest";
import { newContext } from "../../client/context.ts";
import { holdfastOver } from "../../client/index.ts";
import { jobCounters } from "../../client/job-counters.ts";
import { Conflict, InvalidInput } from "../../contracts/errors.ts";
import { finishOperation } from "../../db/finish.ts";
import { wakeSettledJobs } from "../../db/job-settled.ts";
import { closeJob } from "../../db/jobs.ts";
import { findOperation } from "../../db/operations.ts";
import { countOutcomes } from "../../db/outcomes.ts";
import type { Db } from "../../db/pool.ts";
import { foldDeltas } from "../../db/progress.ts";
import { sweepRetention } from "../../db/retention.ts";
import { freshDb } from "../support/fresh-db.ts";
import { aJob, begin, claimed, countsOf, post, results, type Held } from "../support/jobs.ts";

/** What callers of a job can make it hold, and what stays behind of it. */

const finish = (db: Db, id: string, generation = 1) =>
  db.transaction((tx) =>
    finishOperation(tx, { id, generation, outcome: "cancelled", reason: "asked", by: "test" }),
  );

const named = (lease: Held, names: readonly string[][]) =>
  results(lease).map((result, n) => ({
    ...result,
    counts: Object.fromEntries((names[n] ?? []).map((name) => [name, 1])),
  }));

const numbered = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, n) => `n${from + n}`);

const deltas = async (db: Db) =>
  (await db.query<{ n: number }>("select count(*)::int as n from holdfast.progress_deltas"))
    .rows[0]!.n;

test("sums of any size are taken back when all is run again", async () => {
  const { db } = await freshDb();
  const { job } = holdfastOver(newContext({ db }));
  const id = await aJob(db, { items: 10 });
  const [lease] = await claimed(db, "w");
  await post(db, id, results(lease!));
  await finish(db, id);
  while ((await db.transaction((tx) => foldDeltas(tx))) > 0);
  await db.query("update holdfast.progress set n = 5000000001 where stage = 'sums'");
  expect(await countsOf(db, id)).toMatchObject({ "sums/seen": 5_000_000_001 });
  await job.retry(id, { items: "all" });
  expect(await countsOf(db, id)).not.toHaveProperty(["sums/seen"]);
});

test("a job sums at most 100 names: a post that brings more is refused, says so, and writes nothing", async () => {
  const { db } = await freshDb();
  const { job } = holdfastOver(newContext({ db, key: "key" }));
  const id = await aJob(db, { items: 60, batchSize: 10 });
  const held = await claimed(db, "w", { limit: 6 });
  const names = (from: number, to: number) =>
    Array.from({ length: Math.ceil((to - from + 1) / 12) }, (_, n) =>
      numbered(from + n * 12, Math.min(to, from + n * 12 + 11)),
    );
  // More than it may have, at once; then as many as it may have, from this process and from another.
  await expect(post(db, id, named(held[0]!, names(0, 100)))).rejects.toThrow(InvalidInput);
  expect(await countsOf(db, id)).not.toHaveProperty(["sums/n0"]);
  expect(await countOutcomes(db, id)).toEqual({});
  await post(db, id, named(held[0]!, names(0, 59)));
  await db.query(
    `insert into holdfast.progress_deltas (operation_id, source, stage, outcome, n, place)
     select $1, 'elsewhere', 'sums', 'n' || n, 1, n from generate_series(60, 98) n`,
    [id],
  );
  await post(db, id, named(held[1]!, [["n99"]]));
  const before = await deltas(db);
  const tooMany = job.post(id, { results: named(held[2]!, [["n1"], ["n100"]]) });
  await expect(tooMany).rejects.toThrow(/results\[1\]\.counts: .*at most 100 names.*"n100"/);
  expect(await deltas(db)).toBe(before);
  expect(await countOutcomes(db, id)).toEqual({ succeeded: 20 });
  expect(await post(db, id, named(held[3]!, names(0, 99)))).toMatchObject({ accepted: 10 });
  // What is taken back leaves room for other names.
  await finish(db, id);
  await job.retry(id, { items: "all" });
  await begin(db, id, 2);
  const [again] = await claimed(db, "w");
  expect(await post(db, id, named(again!, names(200, 299)))).toMatchObject({ accepted: 10 });
});

test("a key of a post is good for one body: another body is refused, and the same one is told what it was told", async () => {
  const { db } = await freshDb();
  const id = await aJob(db, { items: 20 });
  const [one, two] = await claimed(db, "w", { limit: 2 });
  const first = await post(db, id, results(one!), { repeatKey: "k" });
  expect(first).toEqual(
    expect.objectContaining({ accepted: 10, duplicate: 0, late: 0, unknown: 0 }),
  );
  expect(Object.keys(first).toSorted()).toEqual([
    "accepted",
    "duplicate",
    "late",
    "results",
    "unknown",
  ]);
  expect(await post(db, id, results(one!), { repeatKey: "k" })).toEqual(first);
  const other = post(db, id, results(two!), { repeatKey: "k" });
  await expect(other).rejects.toThrow(Conflict);
  await expect(other).rejects.toMatchObject({ code: "key-reused", status: 409 });
  expect(await countOutcomes(db, id)).toEqual({ succeeded: 10 });
  const both = await Promise.allSettled([
    post(db, id, results(two!, [11, 12]), { repeatKey: "once" }),
    post(db, id, results(two!, [13]), { repeatKey: "once" }),
  ]);
  expect(both.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
});

test("keys of posts are told apart by who gave them, whatever is in them", async () => {
  const { db } = await freshDb();
  const id = await aJob(db, { items: 20 });
  const [mine] = await claimed(db, "w", { key: "a" });
  const [theirs] = await claimed(db, "w", { key: "a/b" });
  await post(db, id, results(mine!), { key: "a", repeatKey: "b/c" });
  const answer = await post(db, id, results(theirs!), { key: "a/b", repeatKey: "c" });
  expect(answer).toMatchObject({ accepted: 10 });
  expect(await countOutcomes(db, id)).toEqual({ succeeded: 20 });
});

test("a post that settles nothing and has no key leaves no row, however often it comes, and is counted beside", async () => {
  const { db } = await freshDb();
  const { job } = holdfastOver(newContext({ db, key: "key" }));
  const id = await aJob(db, { items: 10 });
  const [lease] = await claimed(db, "w");
  await finish(db, id);
  const rows = await deltas(db);
  const unknown = [{ handle: lease!.handle.slice(0, -2) + "xx", item: 1, result: 1 }];
  const counted = jobCounters.postsOfNothing;
  expect(await job.post(id, { results: unknown })).toMatchObject({ unknown: 1 });
  expect(await deltas(db)).toBe(rows);
  const late = { results: results(lease!) };
  expect(await job.post(id, late)).toMatchObject({ late: 10 });
  expect(await deltas(db)).toBe(rows + 1);
  for (let n = 0; n < 3; n++) await job.post(id, late);
  expect(await deltas(db)).toBe(rows + 1);
  expect(jobCounters.postsOfNothing).toBe(counted + 5);
  // With a key its answer is kept, once.
  for (let n = 0; n < 3; n++) await job.post(id, { results: unknown, key: "k" });
  expect(await deltas(db)).toBe(rows + 2);
});

test("what a claim owes that commits after its job ended is forgotten, by upkeep or when the job begins again", async () => {
  const { db } = await freshDb();
  const owe = (id: string) =>
    db.query("insert into holdfast.job_debts (operation_id, served) values ($1, 1)", [id]);
  const owed = async () =>
    (await db.query<{ id: string }>("select operation_id as id from holdfast.job_debts")).rows.map(
      ({ id }) => id,
    );
  const { job } = holdfastOver(newContext({ db }));
  const again = await aJob(db, { items: 10 });
  const gone = await aJob(db, { items: 10 });
  const open = await aJob(db, { items: 10 });
  for (const id of [again, gone]) await finish(db, id);
  for (const id of [again, gone, open]) await owe(id);
  await job.retry(again, { items: "all" });
  await begin(db, again, 2);
  expect(await owed()).toEqual([gone, open]);
  await db.transaction((tx) => sweepRetention(tx));
  expect(await owed()).toEqual([open]);
  await db.transaction((tx) => closeJob(tx, open));
  expect(await owed()).toEqual([]);
});

test("upkeep wakes a job of which nothing is open, and neither one that is stuck nor one that is paused", async () => {
  const { db } = await freshDb();
  const { operation } = holdfastOver(newContext({ db }));
  const stuck = await aJob(db, { items: 4 });
  await db.query("update holdfast.job_batches set state = 'done'");
  const settled = await aJob(db, { items: 4 });
  const paused = await aJob(db, { items: 4 });
  for (const lease of await claimed(db, "w", { limit: 2 })) {
    await post(db, lease.operationId, results(lease));
  }
  await operation.pause(paused);
  // Nobody came to wake them, or what they were told is lost.
  await db.query("update holdfast.operations set wake_at = null");
  expect(await wakeSettledJobs(db)).toBe(1);
  expect((await findOperation(db, settled))!.wake_at).toBeInstanceOf(Date);
  // Whoever sees its last batch go does not ask how it stands.
  expect(await wakeSettledJobs(db, stuck)).toBe(1);
});

test("a job that is run again months later hands out its items with their payloads", async () => {
  const { db } = await freshDb();
  const { job } = holdfastOver(newContext({ db }));
  const { id } = await job.submit({
    pipeline: "p",
    items: [{ payload: { page: 1 } }, { reference: "s3://scans/2" }],
  });
  await begin(db, id, 1);
  const [first] = await claimed(db, "w");
  await post(db, id, results(first!));
  await finish(db, id);
  await db.query(
    "update holdfast.operations set finished_at = clock_timestamp() - interval '80 days'",
  );

  await db.transaction((tx) => sweepRetention(tx));
  await job.retry(id, { items: "all" });
  await begin(db, id, 2);

  const { batches } = await job.claim({ pipelines: ["p"], worker: "w" });
  expect(batches[0]!.items).toMatchObject([
    { item: 1, payload: { page: 1 } },
    { item: 2, reference: "s3://scans/2" },
  ]);
});
