import { expect, test } from "vitest";
import { newContext } from "../../client/context.ts";
import { holdfastOver, type Holdfast } from "../../client/index.ts";
import { jobCounters } from "../../client/job-counters.ts";
import type { ClaimedBatch, PostedResult } from "../../contracts/job.ts";
import { finishOperation } from "../../db/finish.ts";
import { expireLeases } from "../../db/job-leases.ts";
import { markPullWorkersSeen } from "../../db/job-workers.ts";
import { appendLogs } from "../../db/logs.ts";
import type { Db } from "../../db/pool.ts";
import { fresh } from "../support/fresh.ts";
import { aJob, begin, passLease } from "../support/jobs.ts";
import { snapshotOf } from "../support/snapshot.ts";

const claim = async ({ job }: Holdfast, worker = "w") =>
  (await job.claim({ pipelines: ["p"], worker })).batches[0]!;

const good = ({ handle, items }: ClaimedBatch): PostedResult[] =>
  items.map(({ item }) => ({ handle, item, result: { item }, counts: { seen: 2 } }));

const finish = (db: Db, id: string, generation = 1) =>
  db.transaction((tx) =>
    finishOperation(tx, {
      id,
      generation,
      outcome: "lost",
      reason: "never answered",
      by: "test",
    }),
  );

const none = { accepted: 0, duplicate: 0, late: 0, unknown: 0 };

test("a handle is worth nothing to another key, for another job, or when it is made up", async () => {
  const { db, holdfast } = await fresh();
  const id = await aJob(db, { items: 20 });
  const other = await aJob(db, { items: 20 });
  const owner = holdfast.as({ actor: "service", key: "key-1" });
  const held = await claim(owner);
  const [mine, theirs] = held.job === id ? [id, other] : [other, id];
  const before = await snapshotOf(db);
  const forged = Buffer.from(held.handle, "base64url");
  forged[40]! ^= 1;
  const attempts: [string, Holdfast, string, string][] = [
    ["another key", holdfast.as({ actor: "service", key: "key-2" }), mine, held.handle],
    ["nobody's key", holdfast, mine, held.handle],
    ["another job", owner, theirs, held.handle],
    ["one that is forged", owner, mine, forged.toString("base64url")],
  ];
  for (const [what, caller, job, handle] of attempts) {
    const answer = await caller.job.post(job, { results: good({ ...held, handle }) });
    expect(answer, what).toMatchObject({ ...none, unknown: 10 });
    if (job !== mine) continue;
    expect((await caller.job.extend({ handles: [handle] })).leases, what).toEqual([
      { handle, status: "ended", cancelled: false, leasedUntil: null },
    ]);
    expect((await caller.job.release({ handles: [handle] })).leases, what).toEqual([
      { handle, status: "ended" },
    ]);
  }
  const counted = ["progress_deltas", "job_workers", "logs"];
  expect(without(await snapshotOf(db), counted)).toEqual(without(before, counted));
  expect(await owner.job.post(mine, { results: good(held) })).toMatchObject({ accepted: 10 });
});

const without = (snapshot: object, tables: readonly string[]) =>
  Object.fromEntries(
    Object.entries(snapshot).filter(([table]) => !tables.some((name) => table.includes(name))),
  );

test("an item that is not of the handle's batch is unknown, and the others of the post count", async () => {
  const { db, holdfast } = await fresh();
  const id = await aJob(db, { items: 30 });
  const { handle } = await claim(holdfast);
  const answer = await holdfast.job.post(id, {
    results: [
      { handle, item: 1, result: null },
      { handle, item: 11, result: "of another batch" },
      { handle, item: 31, result: "of no batch" },
      { handle, item: 2, error: "broken" },
      { handle, item: 1, result: "again" },
    ],
  });
  expect(answer.results.map(({ status }) => status)).toEqual([
    "accepted",
    "unknown",
    "unknown",
    "accepted",
    "duplicate",
  ]);
  expect((await holdfast.job.get(id)).counts).toEqual({ succeeded: 1, failed: 1 });
});

test("every call about a job of another tenant finds no such job, and writes nothing", async () => {
  const { db, holdfast } = await fresh();
  const id = await aJob(db, { items: 10, tenant: "theirs" });
  const owner = holdfast.as({ actor: "s", key: "key", tenants: ["theirs"] });
  const held = await claim(owner);
  const { job } = holdfast.as({ actor: "s", key: "key", tenants: ["mine"] });
  const before = await snapshotOf(db);
  const calls: (() => Promise<unknown>)[] = [
    () => job.get(id),
    () => job.watch(id)[Symbol.asyncIterator]().next(),
    () => job.wait(id),
    () => job.cancel(id),
    () => job.retry(id),
    () => job.results(id),
    () => job.eachResult(id)[Symbol.asyncIterator]().next(),
    () => job.lateResults(id),
    () => job.logText(id),
    () => job.post(id, { results: good(held) }),
  ];
  for (const call of calls) {
    await expect(call(), String(call)).rejects.toMatchObject({ code: "not-found", status: 404 });
  }
  const handles = [held.handle];
  expect((await job.extend({ handles })).leases).toMatchObject([{ status: "ended" }]);
  expect((await job.release({ handles })).leases).toMatchObject([{ status: "ended" }]);
  expect((await job.list()).items).toEqual([]);
  expect(await job.pipelines()).toEqual([]);
  expect(await snapshotOf(db)).toEqual(before);
  expect((await owner.job.extend({ handles })).leases).toMatchObject([{ status: "extended" }]);
  expect((await job.claim({ pipelines: ["p"], worker: "x" })).batches).toEqual([]);
});

test("a post with anything wrong in it is refused by its place, and nothing of it is written", async () => {
  const { db, holdfast } = await fresh();
  const id = await aJob(db, { items: 10 });
  const held = await claim(holdfast);
  const { handle } = held;
  const before = await snapshotOf(db);
  const fine = good(held)[0]!;
  const cases: [unknown, RegExp][] = [
    [{ results: [] }, /^results: must hold at least one/],
    [{ results: [fine, { handle, item: 2 }] }, /^results\[1\]\.result: send one of/],
    [{ results: [fine, { ...fine, error: "and" }] }, /^results\[1\]\.result: send one of/],
    [{ results: [{ handle: "x", item: 1, result: 1 }] }, /^results\[0\]\.handle: must be a handle/],
    [{ results: [{ handle, item: 0, result: 1 }] }, /^results\[0\]\.item: /],
    [{ results: [{ handle, result: 1 }] }, /^results\[0\]\.item: must name the item/],
    [
      { results: [fine, { handle, item: 2, result: "x".repeat(17_000) }] },
      /^results\[1\]\.result: must be at most 16384 bytes/,
    ],
    [{ results: [{ ...fine, counts: { seen: -1 } }] }, /^results\[0\]\.counts\.seen/],
    [{ results: [{ ...fine, counts: { Seen: 1 } }] }, /^results\[0\]\.counts/],
    [{ results: Array.from({ length: 1_001 }, () => fine) }, /^results: must hold at most 1000/],
    [{ results: [fine], clinet: "x" }, /clinet/],
    [{ results: [fine], key: "\n" }, /^key: /],
  ];
  for (const [request, message] of cases) {
    await expect(holdfast.job.post(id, request as never)).rejects.toThrow(message);
  }
  await expect(holdfast.job.post("7", { results: [fine] })).rejects.toThrow(/^id: must be/);
  expect(await snapshotOf(db)).toEqual(before);
});

test("a post repeated with its key is told what the first was told, even after the job has ended", async () => {
  const { db, holdfast } = await fresh();
  const id = await aJob(db, { items: 10 });
  const held = await claim(holdfast);
  const request = { results: good(held), key: "post-1" };
  const first = await holdfast.job.post(id, request);
  expect(first).toMatchObject({ ...none, accepted: 10 });
  expect(await holdfast.job.post(id, request)).toEqual(first);
  await finish(db, id);
  expect(await holdfast.job.post(id, request)).toEqual(first);
  const atOnce = { results: good(held), key: "post-2" };
  const answers = await Promise.all([1, 2, 3].map(() => holdfast.job.post(id, atOnce)));
  for (const answer of answers) expect(answer).toEqual(answers[0]);
  expect((await holdfast.job.get(id)).leases.duplicates).toBe(10);
});

test("what was lost or cancelled is told late, kept, and changes nothing", async () => {
  const { db, holdfast } = await fresh();
  const id = await aJob(db, { items: 10, deliveries: 1 });
  const held = await claim(holdfast);
  await holdfast.job.post(id, { results: good(held).slice(0, 8) });
  await passLease(db);
  await db.transaction((tx) => expireLeases(tx));
  await finish(db, id);
  const ended = await holdfast.job.get(id);
  expect(ended).toMatchObject({ state: "completed", outcome: "completed with 2 errors" });
  const answer = await holdfast.job.post(id, { results: good(held) });
  expect(answer).toMatchObject({ ...none, duplicate: 8, late: 2 });
  const later = await holdfast.job.get(id);
  expect([later.counts, later.state]).toEqual([ended.counts, ended.state]);
  const { items } = await holdfast.job.lateResults(id, { limit: 1 });
  expect(items).toMatchObject([{ item: 9, why: "lost", result: { item: 9 }, worker: "test/w" }]);
  const all = await holdfast.job.lateResults(id);
  expect(all.items.map(({ item }) => item)).toEqual([9, 10]);
});

test("rows that are written with results exist when and only when the results count", async () => {
  const { db } = await fresh();
  await db.query("create table mine (item int)");
  let fails = true;
  const { job } = holdfastOver(
    newContext({
      db,
      actor: "test",
      config: {
        jobs: {
          onResults: async (tx, results) => {
            await tx.query("insert into mine select unnest($1::int[])", [
              results.map(({ item }) => item),
            ]);
            if (fails) throw new Error("not today");
          },
        },
      },
    }),
  );
  const id = await aJob(db, { items: 10 });
  const held = (await job.claim({ pipelines: ["p"], worker: "w" })).batches[0]!;
  await expect(job.post(id, { results: good(held), key: "k" })).rejects.toThrow("not today");
  const mine = async () => (await db.query("select from mine")).rows.length;
  expect([await mine(), (await job.get(id)).counts]).toEqual([0, {}]);
  fails = false;
  await job.post(id, { results: good(held), key: "k" });
  await job.post(id, { results: good(held), key: "k" });
  await job.post(id, { results: good(held) });
  expect(await mine()).toBe(10);
});

test("results come in pages and one after another, errors apart", async () => {
  const { db, holdfast } = await fresh();
  const id = await aJob(db, { items: 25, batchSize: 25 });
  const held = await claim(holdfast);
  await holdfast.job.post(id, {
    results: [
      ...good(held).slice(0, 20),
      { handle: held.handle, item: 21, reference: "s3://out/21" },
      { handle: held.handle, error: "the rest is broken" },
    ],
  });
  const first = await holdfast.job.results(id, { limit: 10 });
  expect(first.items[0]).toMatchObject({ item: 1, key: "item-1", result: { item: 1 } });
  const second = await holdfast.job.results(id, { limit: 100, after: first.next! });
  expect(second.items.map(({ item }) => item)).toEqual(
    Array.from({ length: 15 }, (_, n) => n + 11),
  );
  expect(second.next).toBeUndefined();
  const errors = await holdfast.job.results(id, { errors: true });
  expect(errors.items.map(({ item, error }) => [item, error])).toEqual(
    [22, 23, 24, 25].map((item) => [item, "the rest is broken"]),
  );
  const each = [];
  for await (const result of holdfast.job.eachResult(id, { errors: false })) each.push(result.item);
  expect(each).toEqual(Array.from({ length: 21 }, (_, n) => n + 1));
  await expect(holdfast.job.results(id, { limit: 1_001 })).rejects.toThrow(/^limit: /);
  await expect(holdfast.job.results(id, { after: "x" })).rejects.toThrow(/^after: must be the/);
});

test("cancel stops the hand-out at once, is repeatable, and reaches holders with their next call", async () => {
  const { db, holdfast } = await fresh();
  const id = await aJob(db, { items: 20 });
  const held = await claim(holdfast);
  expect((await holdfast.job.cancel(id)).shown).toBe("cancelling");
  expect((await holdfast.job.cancel(id)).shown).toBe("cancelling");
  expect((await holdfast.job.claim({ pipelines: ["p"], worker: "v" })).batches).toEqual([]);
  const { leases } = await holdfast.job.extend({ handles: [held.handle] });
  expect(leases).toMatchObject([{ cancelled: true }]);
  await db.transaction((tx) =>
    finishOperation(tx, { id, generation: 1, outcome: "cancelled", reason: "asked", by: "test" }),
  );
  expect(await holdfast.job.post(id, { results: good(held) })).toMatchObject({ ...none, late: 10 });
  expect(await holdfast.job.get(id)).toMatchObject({
    state: "cancelled",
    counts: { cancelled: 20 },
    batches: { ready: 0, leased: 0 },
  });
  expect((await holdfast.job.cancel(id)).state).toBe("cancelled");
  const accepted = await holdfast.job.submit({ pipeline: "p", items: [{}] });
  expect((await holdfast.job.cancel(accepted.id)).state).toBe("cancelled");
});

/** A job that ended with 4 good items, 3 failed and 3 cancelled. */
async function mixed({ db, holdfast }: { db: Db; holdfast: Holdfast }) {
  const id = await aJob(db, { items: 10 });
  const held = await claim(holdfast);
  const { handle } = held;
  await holdfast.job.post(id, {
    results: [
      ...good(held).slice(0, 4),
      ...[5, 6, 7].map((item) => ({ handle, item, error: "broken" })),
    ],
  });
  await db.transaction((tx) =>
    finishOperation(tx, { id, generation: 1, outcome: "cancelled", reason: "x", by: "test" }),
  );
  return { id, held };
}

test.each([
  [undefined, [5, 6, 7, 8, 9, 10]],
  ["failed", [5, 6, 7]],
  ["remaining", [8, 9, 10]],
  ["all", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]],
] as const)(
  "run again (%s) hands out %j, and old leases cannot touch it",
  async (mode, expected) => {
    const { db, holdfast } = await fresh();
    const { id, held } = await mixed({ db, holdfast });
    const again = await holdfast.job.retry(id, mode ? { items: mode } : {});
    expect(again).toMatchObject({ state: "accepted", generation: 2, total: 10 });
    await begin(db, id, 2);
    const next = await claim(holdfast);
    expect(next.generation).toBe(2);
    expect(next.items.map(({ item }) => item)).toEqual(expected);
    expect(await holdfast.job.post(id, { results: good(held).slice(7) })).toMatchObject({
      late: 3,
    });
    await holdfast.job.post(id, { results: good(next) });
    await finish(db, id, 2);
    const { counts, progress } = await holdfast.job.get(id);
    expect(Object.values(counts).reduce((sum, n) => sum + n, 0)).toBe(10);
    expect(counts.succeeded).toBe(mode === "failed" || mode === "remaining" ? 7 : 10);
    expect(progress.stages[2]!.params).toMatchObject([
      { key: "seen", value: 2 * counts.succeeded! },
    ]);
  },
);

test("a retry that fits nothing says what would, and one of an open job that it is open", async () => {
  const { db, holdfast } = await fresh();
  const id = await aJob(db, { items: 10 });
  await expect(holdfast.job.retry(id)).rejects.toMatchObject({ code: "still-open", status: 409 });
  const held = await claim(holdfast);
  await holdfast.job.post(id, { results: good(held) });
  await finish(db, id);
  await expect(holdfast.job.retry(id)).rejects.toThrow(/no unfinished item; run "all" again/);
  await expect(holdfast.operation.retry(id)).rejects.toMatchObject({ code: "nothing-to-retry" });
  await expect(holdfast.job.retry(id, { items: "failed" })).rejects.toThrow(
    /no item that failed or was lost; there are items for "all" \(10\)/,
  );
  await expect(holdfast.job.retry(id, { items: "some" as "all" })).rejects.toThrow(/^items: /);
  const { id: cut } = await mixed({ db, holdfast });
  await holdfast.job.retry(cut, { items: "failed" });
  await begin(db, cut, 2);
  await holdfast.job.post(cut, { results: good(await claim(holdfast)) });
  await finish(db, cut, 2);
  // Asked without a mode it means unfinished, whatever it was before.
  await holdfast.operation.retry(cut);
  await begin(db, cut, 3);
  expect((await claim(holdfast)).items.map(({ item }) => item)).toEqual([8, 9, 10]);
});

test("a job shows stages, counts, leases, speed and errors, and 'unknown' before there is data", async () => {
  const { db, holdfast } = await fresh();
  const id = await aJob(db, { items: 40 });
  expect(await holdfast.job.get(id)).toMatchObject({
    state: "running",
    shown: "waiting for a worker",
    throughput: "unknown",
    eta: "unknown",
    workersOnline: 0,
    holdup: { kind: "no workers online" },
    progress: { summary: { progress: 1 / 3, status_label: "33% complete" }, errors: [] },
  });
  const held = await claim(holdfast);
  await holdfast.job.post(id, {
    results: [...good(held).slice(0, 5), { handle: held.handle, error: "broken" }],
  });
  await markPullWorkersSeen(db, [{ key: "k", worker: "x", pipelines: ["p"], tenants: ["other"] }]);
  const seen = await holdfast.job.get(id);
  expect(seen).toMatchObject({
    shown: "running",
    counts: { succeeded: 5, failed: 5 },
    batches: { ready: 3, leased: 0, done: 1 },
    leases: { deliveries: 1, redeliveries: 0 },
    workersOnline: 1,
    holdup: null,
  });
  expect(seen.throughput).toBeGreaterThan(0);
  expect(seen.eta).toBeGreaterThan(0);
  expect(seen.progress.errors).toEqual(["broken: item-6, item-7, item-8, item-9, item-10"]);
  expect(seen.progress.stages.map(({ key }) => key)).toEqual(["collect", "process", "results"]);
  const { stages } = await holdfast.operation.get(id);
  expect(stages).toEqual([
    { stage: "job", counts: { succeeded: 5, failed: 5 }, done: 10, total: 40 },
  ]);
});

test("twelve lost items are ten names and 'and 2 more'", async () => {
  const { db, holdfast } = await fresh();
  const id = await aJob(db, { items: 12, batchSize: 12 });
  const held = await claim(holdfast);
  await holdfast.job.post(id, { results: [{ handle: held.handle, error: "gone" }] });
  const { progress } = await holdfast.job.get(id);
  expect(progress.errors).toHaveLength(1);
  expect(progress.errors[0]).toMatch(/^gone: (item-\d+, ){9}item-\d+ and 2 more$/);
});

test("a list of jobs costs as many statements as one, asks for no log, and changes nothing", async () => {
  const { db, holdfast } = await fresh();
  for (let n = 0; n < 30; n++) await aJob(db, { items: 3, batchSize: 1 });
  await holdfast.job.cancel((await holdfast.job.list({ limit: 1 })).items[0]!.id);
  const statements: string[] = [];
  const counting: Db = {
    ...db,
    query: (text, values) => {
      statements.push(text);
      return db.query(text, values);
    },
  };
  const { job } = holdfastOver(newContext({ db: counting, actor: "reader" }));
  await job.list({ limit: 1 });
  const ofOne = statements.splice(0).length;
  const before = await snapshotOf(db);
  const all = await job.list({ limit: 200 });
  expect(all.items).toHaveLength(30);
  expect(statements).toHaveLength(ofOne);
  expect(statements.filter((text) => text.includes("holdfast.logs"))).toEqual([]);
  expect(statements.filter((text) => !/^\s*(select|with)/.test(text))).toEqual([]);
  expect(await snapshotOf(db)).toEqual(before);
  const first = await job.list({ limit: 12 });
  const rest = await job.list({ limit: 200, after: first.next! });
  expect([...first.items, ...rest.items].map(({ id }) => id)).toEqual(
    all.items.map(({ id }) => id),
  );
  expect((await job.list({ state: "open", pipeline: "p" })).items).toHaveLength(30);
  expect((await job.list({ pipeline: "q" })).items).toEqual([]);
  for (const [filter, message] of [
    [{ limit: "x" }, /^limit/],
    [{ limit: 0 }, /^limit/],
    [{ limit: 201 }, /^limit/],
    [{ cutoff_hours: 1 }, /cutoff_hours/],
    [{ state: "done" }, /^state/],
    [{ after: "1" }, /^after/],
  ] as const) {
    await expect(job.list(filter as never)).rejects.toThrow(message);
  }
});

test("a post writes at most a line a batch and one a failed item, and its log reads newest first", async () => {
  const { db, holdfast } = await fresh();
  const id = await aJob(db, { items: 40, batchSize: 40 });
  const held = await claim(holdfast);
  for (const result of good(held).slice(0, 5)) await holdfast.job.post(id, { results: [result] });
  const lines = async () => (await holdfast.operation.logs(id)).items;
  expect(await lines()).toEqual([]);
  await holdfast.job.post(id, { results: [{ handle: held.handle, error: "broken" }] });
  const written = await lines();
  expect(written.filter(({ level }) => level === "info")).toHaveLength(1);
  expect(written.length).toBeLessThanOrEqual(36);
  const { stdout, stderr } = await holdfast.job.logText(id);
  expect(stdout.split("\n")[0]).toMatch(/^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] INFO a batch is done/);
  expect(stdout.split("\n")).toHaveLength(written.length);
  expect(stderr.split("\n")).toHaveLength(written.length - 1);
  expect(stderr).toContain("item 6 failed: broken");
  expect(`${stdout}${stderr}`).not.toContain(held.handle);
});

test("the text of a log holds 1,000 lines unless asked for up to 5,000, and nothing else may be asked", async () => {
  const { db, holdfast } = await fresh();
  const id = await aJob(db, { items: 1 });
  await appendLogs(
    db,
    Array.from({ length: 1_500 }, (_, n) => ({
      operationId: id,
      level: "warn" as const,
      message: `line ${n}`,
    })),
  );
  const linesOf = async (limit?: number) =>
    (await holdfast.job.logText(id, limit === undefined ? {} : { limit })).stdout.split("\n");
  expect(await linesOf()).toHaveLength(1_000);
  expect(await linesOf(5_000)).toHaveLength(1_500);
  expect((await linesOf(1))[0]).toMatch(/WARNING line 1499$/);
  for (const limit of [0, -1, 1.5, 5_001, Number.NaN, "x"]) {
    await expect(holdfast.job.logText(id, { limit })).rejects.toThrow(/^limit: /);
  }
});

test("a log that cannot be written fails no post and is counted; told not to, none is written", async () => {
  const { db, holdfast } = await fresh();
  const id = await aJob(db, { items: 20 });
  const before = jobCounters.logWritesFailed;
  await db.query("alter table holdfast.logs rename to logs_gone");
  const held = await claim(holdfast);
  expect(await holdfast.job.post(id, { results: good(held) })).toMatchObject({ accepted: 10 });
  expect(jobCounters.logWritesFailed).toBe(before + 1);
  await db.query("alter table holdfast.logs_gone rename to logs");
  const silent = holdfastOver(
    newContext({ db, actor: "test", config: { jobs: { persistLogs: false } } }),
  );
  const rest = await claim(silent);
  await silent.job.post(id, { results: [{ handle: rest.handle, error: "broken" }] });
  expect((await holdfast.operation.logs(id)).items).toEqual([]);
  expect((await silent.job.get(id)).counts).toEqual({ succeeded: 10, failed: 10 });
});

test("a post is answered while the log is locked, and its lines are written afterwards", async () => {
  const { db, holdfast } = await fresh();
  const id = await aJob(db, { items: 10 });
  const held = await claim(holdfast);
  await db.transaction(async (tx) => {
    await tx.query("lock table holdfast.logs in access exclusive mode");
    expect(await holdfast.job.post(id, { results: good(held) })).toMatchObject({ accepted: 10 });
  });
  await expect.poll(async () => (await holdfast.operation.logs(id)).items.length).toBe(1);
});

test("pipelines tell what may be claimed and who is there, by tenant", async () => {
  const { db, holdfast } = await fresh();
  await aJob(db, { items: 20, tenant: "a" });
  await aJob(db, { items: 10, tenant: "b" });
  await aJob(db, { items: 10, tenant: "b", pipeline: "q" });
  await markPullWorkersSeen(db, [
    { key: "k", worker: "all", pipelines: ["p"] },
    { key: "k", worker: "of b", pipelines: ["p", "q"], tenants: ["b"] },
  ]);
  expect(await holdfast.job.pipelines()).toMatchObject([
    { pipeline: "p", tenant: "a", jobs: 1, ready: 2, workersOnline: 1 },
    { pipeline: "p", tenant: "b", jobs: 1, ready: 1, workersOnline: 2 },
    { pipeline: "q", tenant: "b", jobs: 1, ready: 1, workersOnline: 1 },
  ]);
  const ofA = holdfast.as({ actor: "a", tenants: ["a"] });
  expect(await ofA.job.pipelines()).toHaveLength(1);
  expect((await ofA.job.workers()).map(({ worker }) => worker)).toEqual(["all"]);
  expect(await holdfast.job.workers({ pipeline: "q" })).toMatchObject([
    { worker: "of b", tenants: ["b"], pipelines: ["p", "q"], online: true, held: 0 },
  ]);
});
