import { setMaxListeners } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { expect, onTestFinished, test, vi } from "vitest";
import { claimPollerOf } from "../../client/claim-poller.ts";
import { newContext } from "../../client/context.ts";
import { holdfastOver, type Holdfast } from "../../client/index.ts";
import { livenessOf } from "../../client/job-liveness.ts";
import type { ClaimRequest } from "../../contracts/job.ts";
import { listPullWorkers, workersAtWork } from "../../db/job-workers.ts";
import type { Db } from "../../db/pool.ts";
import { fresh } from "../support/fresh.ts";
import { aJob, begin, passLease } from "../support/jobs.ts";

const ask = (asked: Partial<ClaimRequest> = {}): ClaimRequest => ({
  pipelines: ["p"],
  worker: "w",
  ...asked,
});

/** The same pool for another client, which remembers its statements. */
function counted(db: Db): { holdfast: Holdfast; statements: string[]; db: Db } {
  const statements: string[] = [];
  const counting: Db = {
    ...db,
    query: (text, values) => {
      statements.push(text);
      return db.query(text, values);
    },
  };
  return {
    holdfast: holdfastOver(newContext({ db: counting, actor: "counted" })),
    statements,
    db: counting,
  };
}

const claimsOf = (statements: readonly string[]) =>
  statements.filter((text) => text.includes("claim_job_batches")).length;

async function until(met: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (const end = Date.now() + 10_000; !(await met());) {
    if (Date.now() > end) throw new Error(`not in 10 s: ${what}`);
    await pause(5);
  }
}

test("three open jobs: a claim takes one batch and says that three wait, a limit of ten takes three", async () => {
  const { db, holdfast } = await fresh({ jobs: { heldBatches: 100 } });
  const jobs = [];
  for (let n = 0; n < 3; n++) jobs.push(await aJob(db, { items: 10 }));
  const one = await holdfast.job.claim(ask());
  expect(one.batches).toHaveLength(1);
  expect(one.waiting).toBe(3);
  await holdfast.job.release({ handles: one.batches.map(({ handle }) => handle) });
  const ten = await holdfast.job.claim(ask({ limit: 10 }));
  expect(new Set(ten.batches.map(({ job }) => job))).toEqual(new Set(jobs));
  expect(ten.batches).toHaveLength(3);
});

test("a claim that asks for what cannot be is told which field is wrong", async () => {
  const { holdfast } = await fresh();
  const cases: [Partial<ClaimRequest>, RegExp][] = [
    [{ limit: 0 }, /^limit: /],
    [{ limit: 101 }, /^limit: /],
    [{ limit: 1.5 }, /^limit: /],
    [{ pipelines: [] }, /^pipelines: must name a pipeline/],
    [{ pipelines: ["a b"] }, /^pipelines\[0\]: must be 1 to 100/],
    [{ waitSeconds: 61 }, /^waitSeconds: /],
    [{ waitSeconds: -1 }, /^waitSeconds: /],
    [{ worker: "" }, /^worker: must be 1 to 100 printable/],
    [{ page_size: 1 } as object, /page_size/],
  ];
  for (const [asked, message] of cases) {
    await expect(holdfast.job.claim(ask(asked))).rejects.toThrow(message);
  }
});

test("only what may be handed out is offered: nothing ended, cancelled, paused, braked or leased", async () => {
  const { db, holdfast } = await fresh({ jobs: { heldBatches: 100 } });
  const cancelled = await aJob(db, { items: 10 });
  await holdfast.job.cancel(cancelled);
  const paused = await aJob(db, { items: 10 });
  await holdfast.operation.pause(paused);
  const accepted = await aJob(db, { items: 10, accepted: true });
  const leased = await aJob(db, { items: 10 });
  expect((await holdfast.job.claim(ask({ limit: 10 }))).batches.map(({ job }) => job)).toEqual([
    leased,
  ]);
  expect(await holdfast.job.claim(ask({ worker: "v" }))).toEqual({ waiting: 0, batches: [] });
  await holdfast.operation.resume(paused);
  await begin(db, accepted, 1);
  const { batches } = await holdfast.job.claim(ask({ limit: 10 }));
  expect(new Set(batches.map(({ job }) => job))).toEqual(new Set([paused, accepted]));
});

test("claims at the same time get different batches, and different jobs while several have work", async () => {
  const { db, holdfast } = await fresh();
  for (let n = 0; n < 4; n++) await aJob(db, { items: 20, batchSize: 1 });
  const claims = await Promise.all(
    Array.from({ length: 8 }, (_, n) => holdfast.job.claim(ask({ worker: `w${n}`, limit: 2 }))),
  );
  const batches = claims.flatMap((claim) => claim.batches);
  expect(batches).toHaveLength(16);
  expect(new Set(batches.map(({ job, batch }) => `${job}/${batch}`)).size).toBe(16);
  const first = claims.flatMap((claim) => claim.batches[0]!.job);
  expect(new Set(first).size).toBe(4);
});

test("every job has its first batch within as many claims as there are jobs", async () => {
  const { db, holdfast } = await fresh({ jobs: { heldBatches: 1_000 } });
  const jobs = [];
  for (const items of [10, 10, 100, 100, 500, 500]) {
    jobs.push(await aJob(db, { items, batchSize: 2 }));
  }
  const served = [];
  for (let n = 0; n < jobs.length; n++) {
    served.push((await holdfast.job.claim(ask())).batches[0]!.job);
  }
  expect(new Set(served)).toEqual(new Set(jobs));
});

test("a worker that holds as many batches as it may is told so at once, and another is not", async () => {
  const { db, holdfast } = await fresh();
  await aJob(db, { items: 100 });
  expect((await holdfast.job.claim(ask({ limit: 5 }))).batches).toHaveLength(2);
  const began = Date.now();
  const full = await holdfast.job.claim(ask({ waitSeconds: 20 }));
  expect(full).toEqual({ waiting: 1, batches: [], held: { batches: 2, most: 2 } });
  expect(Date.now() - began).toBeLessThan(5_000);
  expect((await holdfast.job.claim(ask({ worker: "other" }))).batches).toHaveLength(1);
  const { job: more } = holdfastOver(
    newContext({ db, actor: "test", config: { jobs: { heldBatches: 3 } } }),
  );
  expect((await more.claim(ask({ limit: 5 }))).batches).toHaveLength(1);
});

test("whoever waits has a batch of a new job within a second", async () => {
  const { db, holdfast } = await fresh();
  const waiting = holdfast.job.claim(ask({ waitSeconds: 30 }));
  await pause(600);
  const id = await aJob(db, { items: 10 });
  const began = Date.now();
  expect((await waiting).batches.map(({ job }) => job)).toEqual([id]);
  expect(Date.now() - began).toBeLessThan(1_000);
});

test("a wait that nothing comes of ends empty after its time, and leaves nobody looking", async () => {
  const { db } = await fresh();
  const { holdfast, statements } = counted(db);
  const began = Date.now();
  expect(await holdfast.job.claim(ask({ waitSeconds: 0.6 }))).toEqual({ waiting: 0, batches: [] });
  expect(Date.now() - began).toBeGreaterThanOrEqual(590);
  await pause(100);
  const before = statements.length;
  await pause(700);
  expect(statements.length).toBe(before);
});

test("who came first is served first, and nobody who waits is passed over", async () => {
  const { db } = await fresh();
  const { holdfast, db: counting } = counted(db);
  const served: number[] = [];
  const waiting = [];
  for (let n = 0; n < 12; n++) {
    waiting.push(
      holdfast.job.claim(ask({ worker: `w${n}`, waitSeconds: 30 })).then(({ batches }) => {
        served.push(n);
        return batches;
      }),
    );
    await until(() => claimPollerOf(counting).waiting === n + 1, "it waits");
  }
  await aJob(db, { items: 4, batchSize: 1 });
  await until(() => served.length === 4, "four are served");
  expect(served.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3]);
  await aJob(db, { items: 8, batchSize: 1 });
  const all = (await Promise.all(waiting)).flat();
  expect(new Set(all.map(({ job, batch }) => `${job}/${batch}`)).size).toBe(12);
});

test("whoever waits for another pipeline or tenant is not woken by work that is not theirs", async () => {
  const { db, holdfast } = await fresh();
  const mine = holdfast.as({ actor: "a", tenants: ["mine"] });
  const others = [
    holdfast.job.claim(ask({ pipelines: ["q"], waitSeconds: 1.5 })),
    mine.job.claim(ask({ worker: "m", waitSeconds: 1.5 })),
  ];
  await aJob(db, { items: 10 });
  expect(await Promise.all(others)).toEqual([
    { waiting: 0, batches: [] },
    { waiting: 0, batches: [] },
  ]);
});

test("who stops waiting holds nothing, whenever they stop", async () => {
  const { db, holdfast } = await fresh();
  const stop = new AbortController();
  const waiting = holdfast.job.claim(ask({ waitSeconds: 30 }), { signal: stop.signal });
  await pause(50);
  stop.abort();
  await expect(waiting).rejects.toThrow(/abort/i);
  await expect(holdfast.job.claim(ask(), { signal: stop.signal })).rejects.toThrow(/abort/i);
  await aJob(db, { items: 4, batchSize: 1 });
  for (const waitSeconds of [0, 30]) {
    const late = new AbortController();
    // Its batches are found, and it has gone before it could be told.
    const leaving: Db = {
      ...db,
      query: async <R>(text: string, values?: unknown[]) => {
        const answer = await db.query<R>(text, values);
        if (text.includes("claim_job_batches")) late.abort();
        return answer;
      },
    };
    const { job } = holdfastOver(newContext({ db: leaving, actor: "test" }));
    await expect(job.claim(ask({ waitSeconds }), { signal: late.signal })).rejects.toThrow(
      /abort/i,
    );
  }
  const { rows } = await db.query("select from holdfast.job_batches where state = 'leased'");
  expect(rows).toEqual([]);
  const { rows: spent } = await db.query("select from holdfast.job_batches where delivery > 0");
  expect(spent).toEqual([]);
});

test("a thousand who wait cost one statement a look, and write no row of a job", async () => {
  const { db } = await fresh();
  const { holdfast, statements, db: counting } = counted(db);
  await aJob(db, { items: 10, pipeline: "elsewhere" });
  const before = await jobRows(db);
  const stop = new AbortController();
  setMaxListeners(0, stop.signal);
  const waiting = Array.from({ length: 1_000 }, (_, n) =>
    holdfast.job.claim(ask({ worker: `w${n}`, waitSeconds: 60 }), { signal: stop.signal }),
  );
  const ended = Promise.allSettled(waiting);
  await until(() => claimPollerOf(counting).waiting === 1_000, "all wait");
  await livenessOf(counting).written();
  await pause(300);
  const from = statements.length;
  await pause(2_000);
  const looks = statements.slice(from);
  expect(looks.length).toBeGreaterThan(2);
  expect(looks.length).toBeLessThan(12);
  expect(new Set(looks).size).toBe(1);
  expect(looks[0]).toMatch(/^select/);
  expect(await jobRows(db)).toEqual(before);
  stop.abort();
  await ended;
});

test("who comes to wait where others do asks nothing alone, and is told when it may hold no more", async () => {
  const { db } = await fresh();
  const { holdfast, statements, db: counting } = counted(db);
  await aJob(db, { items: 20, batchSize: 10 });
  expect((await holdfast.job.claim(ask({ worker: "full", limit: 2 }))).batches).toHaveLength(2);
  const stop = new AbortController();
  const ended = expect(
    holdfast.job.claim(ask({ worker: "a", waitSeconds: 60 }), { signal: stop.signal }),
  ).rejects.toThrow(/abort/i);
  const poller = claimPollerOf(counting);
  await until(() => poller.knowsNothingFor({ pipelines: ["p"] }), "it has looked");
  const before = claimsOf(statements);
  const { signal } = stop;
  holdfast.job.claim(ask({ worker: "b", waitSeconds: 60 }), { signal }).catch(() => undefined);
  expect(await holdfast.job.claim(ask({ worker: "full", waitSeconds: 60 }))).toEqual({
    waiting: 0,
    batches: [],
    held: { batches: 2, most: 2 },
  });
  expect(claimsOf(statements)).toBe(before);
  expect(poller.waiting).toBe(2);
  stop.abort();
  await ended;
});

/** Rows of jobs with what Postgres writes down when it writes one. */
async function jobRows(db: Db) {
  const { rows } = await db.query(
    `select 'operation' as what, xmin::text, ctid::text, id from holdfast.operations
      union all select 'job', xmin::text, ctid::text, operation_id from holdfast.jobs
      union all select 'turn', xmin::text, ctid::text, operation_id from holdfast.job_turns
      union all select 'batch', xmin::text, ctid::text, operation_id from holdfast.job_batches
      order by 1, 3`,
  );
  return rows;
}

test("without Postgres whoever waits is told, and not left waiting", async () => {
  const { db, holdfast } = await fresh();
  const failing: Db = { ...db };
  const { job } = holdfastOver(newContext({ db: failing, actor: "x" }));
  const waiting = job.claim(ask({ waitSeconds: 30 }));
  const told = expect(waiting).rejects.toMatchObject({ code: "postgres-unavailable", status: 503 });
  await pause(100);
  failing.query = () => Promise.reject(Object.assign(new Error("gone"), { code: "57P01" }));
  await told;
  expect(await holdfast.job.claim(ask())).toEqual({ waiting: 0, batches: [] });
});

test("a worker is written down at most once in 30 s, whatever it does, and only itself", async () => {
  const { db } = await fresh();
  const { holdfast, statements, db: counting } = counted(db);
  const written = () => statements.filter((text) => text.includes("into holdfast.job_workers"));
  const id = await aJob(db, { items: 20, batchSize: 1 });
  const { batches } = await holdfast.job.claim(ask({ pipelines: ["q", "p"], limit: 2 }));
  for (let n = 0; n < 5; n++) await holdfast.job.claim(ask({ pipelines: ["p", "q"] }));
  const handles = batches.map(({ handle }) => handle);
  await holdfast.job.extend({ handles });
  await holdfast.job.post(id, { results: [{ handle: handles[0]!, item: 1, result: 1 }] });
  await holdfast.job.release({ handles });
  await livenessOf(counting).written();
  expect(written()).toHaveLength(1);
  await holdfast.as({ actor: "peer" }).job.extend({ handles });
  await livenessOf(counting).written();
  expect((await listPullWorkers(db)).map(({ key, worker }) => [key, worker])).toEqual([
    ["counted", "w"],
  ]);
});

test("a post marks its worker as seen where another process gave it its batch", async () => {
  const { db, holdfast } = await fresh();
  const id = await aJob(db, { items: 20, batchSize: 1 });
  const { batches } = await holdfast.job.claim(ask());
  await livenessOf(db).written();
  await db.query("update holdfast.job_workers set seen_at = now() - interval '1 hour'");
  const elsewhere: Db = { ...db };
  const { job } = holdfastOver(newContext({ db: elsewhere, actor: "test" }));
  await job.post(id, { results: [{ handle: batches[0]!.handle, item: 1, result: 1 }] });
  await until(async () => (await listPullWorkers(db))[0]!.online, "it is seen");
  expect((await listPullWorkers(db))[0]!.pipelines).toEqual(["p"]);
});

test("a worker that cannot be written down is served all the same", async () => {
  const { db, holdfast } = await fresh();
  await aJob(db, { items: 20, batchSize: 1 });
  await db.query("alter table holdfast.job_workers rename to job_workers_gone");
  expect((await holdfast.job.claim(ask())).batches).toHaveLength(1);
  await livenessOf(db).written();
  await passLease(db);
});

test("the payloads of a claim are bounded, and what would not fit is given back at no delivery", async () => {
  const { db, holdfast } = await fresh({ jobs: { heldBatches: 100 } });
  const id = await aJob(db, { items: 2_000, batchSize: 500 });
  const words = JSON.stringify("x".repeat(16_000));
  await db.query("update holdfast.payloads set content = $2 where operation_id = $1", [id, words]);
  const { batches } = await holdfast.job.claim(ask({ limit: 4 }));
  expect(batches.map(({ batch, items }) => [batch, items.length])).toEqual([
    [1, 500],
    [2, 500],
  ]);
  const { rows } = await db.query(
    "select no, state, delivery from holdfast.job_batches where operation_id = $1 order by no",
    [id],
  );
  expect(rows).toEqual([
    { no: 1, state: "leased", delivery: 1 },
    { no: 2, state: "leased", delivery: 1 },
    { no: 3, state: "ready", delivery: 0 },
    { no: 4, state: "ready", delivery: 0 },
  ]);
  // One batch is handed out whole, however large it is.
  await aJob(db, { items: 2_000, batchSize: 1_000, pipeline: "large" });
  const json = JSON.stringify("x".repeat(20_000));
  await db.query("update holdfast.payloads set content = $2 where operation_id <> $1", [id, json]);
  const whole = await holdfast.job.claim(ask({ pipelines: ["large"], worker: "v", limit: 2 }));
  expect(whole.batches.map(({ items }) => items.length)).toEqual([1_000]);
});

test("what a worker asked for last is what it pulls, however many names it has used", async () => {
  const { db, holdfast } = await fresh();
  for (let round = 0; round < 5; round++) {
    const pipelines = Array.from({ length: 100 }, (_, n) => `some-${round}-${n}`);
    await holdfast.job.claim(ask({ pipelines }));
    await livenessOf(db).written();
  }
  const first = (await listPullWorkers(db))[0]!.pipelines;
  expect(first).toHaveLength(100);
  // New names are no way to have oneself written down with every request.
  expect(first.every((name) => name.startsWith("some-0-"))).toBe(true);
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 31_000 });
  onTestFinished(() => void vi.useRealTimers());
  await holdfast.job.claim(ask({ pipelines: ["p"] }));
  await livenessOf(db).written();
  const second = (await listPullWorkers(db))[0]!.pipelines;
  expect(second).toHaveLength(100);
  expect(second).toContain("p");
  expect(second.some((name) => name.startsWith("some-0-"))).toBe(false);
  vi.setSystemTime(Date.now() + 61_000);
  await holdfast.job.claim(ask({ pipelines: ["p"] }));
  await livenessOf(db).written();
  expect((await listPullWorkers(db))[0]!.pipelines).toEqual(["p"]);
});

test("a key has at most 1,000 workers at work, so that new names are no way to hold more", async () => {
  const { db, holdfast } = await fresh();
  await db.query(
    `insert into holdfast.job_workers (key, worker, pipelines)
     select 'test', 'w' || n, '{p}' from generate_series(1, 999) as n`,
  );
  const other = holdfast.as({ actor: "other" });
  await aJob(db, { items: 20, batchSize: 1 });
  expect((await holdfast.job.claim(ask({ worker: "new" }))).batches).toHaveLength(1);
  const refused = { code: "limit-exceeded", status: 429 };
  await expect(holdfast.job.claim(ask({ worker: "newer" }))).rejects.toMatchObject(refused);
  expect((await holdfast.job.claim(ask({ worker: "w7" }))).batches).toHaveLength(1);
  expect((await other.job.claim(ask({ worker: "newer" }))).batches).toHaveLength(1);
  // Of those seen last a while ago, who holds batches counts still.
  await livenessOf(db).written();
  await db.query("update holdfast.job_workers set seen_at = now() - interval '2 minutes'");
  expect((await workersAtWork(db, "test", 1_000)).toSorted()).toEqual(["new", "w7"]);
});
