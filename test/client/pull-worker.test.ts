import { setTimeout as pause } from "node:timers/promises";
import { expect, test } from "vitest";
import type { Holdfast } from "../../client/index.ts";
import type { PullJobs } from "../../client/jobs-over-http.ts";
import { runPullWorker, type PullWorkerOptions } from "../../client/pull-worker.ts";
import { Deferred, HoldfastError, Refused } from "../../contracts/errors.ts";
import type { ClaimedBatch } from "../../contracts/job.ts";
import type { ProcessedItem } from "../../contracts/plugins.ts";
import { expireLeases } from "../../db/job-leases.ts";
import type { Db } from "../../db/pool.ts";
import { fresh } from "../support/fresh.ts";
import { aJob, passLease } from "../support/jobs.ts";

async function until(met: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (const end = Date.now() + 15_000; !(await met());) {
    if (Date.now() > end) throw new Error(`not in 15 s: ${what}`);
    await pause(10);
  }
}

const good = ({ items }: ClaimedBatch): ProcessedItem[] =>
  items.map(({ item }) => ({ item, result: { item }, counts: { seen: 1 } }));

function options(jobs: PullJobs, more: Partial<PullWorkerOptions> = {}) {
  const stop = new AbortController();
  const told: string[] = [];
  return {
    stop,
    told,
    run: () =>
      runPullWorker({
        jobs,
        pipelines: ["p"],
        worker: "w",
        process: good,
        waitSeconds: 1,
        onError: (error, what) => told.push(`${what}: ${(error as Error | undefined)?.message}`),
        ...more,
        signal: stop.signal,
      }),
  };
}

const settled = async ({ job }: Holdfast, id: string) =>
  Object.values((await job.get(id)).counts).reduce((sum, n) => sum + n, 0);

async function delivered(db: Db, id: string) {
  const { rows } = await db.query<{ n: number; again: number }>(
    `select count(*)::int as n, count(*) filter (where delivery > 1)::int as again
       from holdfast.job_leases where operation_id = $1`,
    [id],
  );
  return rows[0];
}

test("two workers work a job to its end, each item once", async () => {
  const { db, holdfast } = await fresh();
  const id = await aJob(db, { items: 95, batchSize: 10 });
  const one = options(holdfast.job);
  const two = options(holdfast.job, { worker: "v", batches: 2, prefetch: 0 });
  const running = [one.run(), two.run()];
  await until(async () => (await settled(holdfast, id)) === 95, "all is settled");
  one.stop.abort();
  two.stop.abort();
  const reports = await Promise.all(running);
  expect(reports[0]!.accepted + reports[1]!.accepted).toBe(95);
  expect(reports[0]!.batches + reports[1]!.batches).toBe(10);
  expect(await delivered(db, id)).toEqual({ n: 10, again: 0 });
  expect((await holdfast.job.get(id)).progress.stages[2]!.params).toMatchObject([
    { key: "seen", value: 95 },
  ]);
  expect([...one.told, ...two.told]).toEqual([]);
});

test("an item that throws fails alone, with its message; one without an answer fails as well", async () => {
  const { db, holdfast } = await fresh();
  const id = await aJob(db, { items: 10 });
  const { stop, run } = options(holdfast.job, {
    process: (batch) => {
      if (batch.items.some(({ item }) => item === 3)) throw new Error("item 3 \0 is poison \ud83d");
      return good(batch)
        .filter(({ item }) => item !== 5)
        .map((answer) => (answer.item === 7 ? { item: 7, result: "x".repeat(20_000) } : answer));
    },
  });
  const running = run();
  await until(async () => (await settled(holdfast, id)) === 10, "all is settled");
  stop.abort();
  expect(await running).toMatchObject({ accepted: 10, failed: 3 });
  const { items } = await holdfast.job.results(id, { errors: true });
  expect(items.map(({ item, error }) => [item, error])).toEqual([
    [3, "item 3  is poison \ufffd"],
    [5, "the worker gave no answer for this item"],
    [7, expect.stringMatching(/^its answer cannot be posted: result must be at most 16384 bytes/)],
  ]);
});

test("what is refused has failed, and what is deferred is given back and costs no delivery", async () => {
  const { db, holdfast } = await fresh();
  const refused = await aJob(db, { items: 4 });
  const deferred = await aJob(db, { items: 4, pipeline: "q" });
  let tries = 0;
  const { stop, run } = options(holdfast.job, {
    pipelines: ["p", "q"],
    process: (batch) => {
      if (batch.pipeline === "p") throw new Refused("not in this house");
      if (++tries === 1) throw new Deferred(new Date(Date.now() + 300));
      return good(batch);
    },
  });
  const running = run();
  await until(async () => (await settled(holdfast, deferred)) === 4, "it is settled");
  await until(async () => (await settled(holdfast, refused)) === 4, "it is refused");
  stop.abort();
  expect(await running).toMatchObject({ released: 1, failed: 4 });
  expect((await holdfast.job.get(refused)).counts).toEqual({ failed: 4 });
  expect((await holdfast.job.get(deferred)).leases).toMatchObject({ releases: 1, redeliveries: 0 });
});

test("it holds no more than it works and prefetches, and works as many as it is told to", async () => {
  const { db, holdfast } = await fresh({ jobs: { heldBatches: 50 } });
  const id = await aJob(db, { items: 30, batchSize: 1 });
  let working = 0;
  let most = 0;
  let mostHeld = 0;
  const { stop, run } = options(holdfast.job, {
    batches: 3,
    prefetch: 2,
    process: async (batch) => {
      most = Math.max(most, ++working);
      const { rows } = await db.query("select from holdfast.job_batches where state = 'leased'");
      mostHeld = Math.max(mostHeld, rows.length);
      working--;
      return good(batch);
    },
  });
  const running = run();
  await until(async () => (await settled(holdfast, id)) === 30, "all is settled");
  stop.abort();
  await running;
  expect(most).toBe(3);
  expect(mostHeld).toBeGreaterThan(3);
  expect(mostHeld).toBeLessThanOrEqual(5);
});

test("a batch that takes longer than its lease is kept by heartbeats, the one that waits as well", async () => {
  const { db, holdfast } = await fresh();
  const id = await aJob(db, { items: 4, batchSize: 2, leaseSeconds: 2, heartbeatSeconds: 1 });
  const { stop, run } = options(holdfast.job, {
    process: async (batch) => {
      await pause(2_500);
      return good(batch);
    },
  });
  const running = run();
  const expiring = new AbortController();
  const upkeep = (async () => {
    while (!expiring.signal.aborted) {
      await db.transaction((tx) => expireLeases(tx));
      await pause(50);
    }
  })();
  await until(async () => (await settled(holdfast, id)) === 4, "all is settled");
  expiring.abort();
  await upkeep;
  stop.abort();
  expect(await running).toMatchObject({ accepted: 4, batches: 2 });
  expect((await holdfast.job.get(id)).leases).toMatchObject({ deliveries: 2, expiries: 0 });
});

test("a cancel reaches a batch at work with the next heartbeat, and aborts it", async () => {
  const { db, holdfast } = await fresh();
  const id = await aJob(db, { items: 4, heartbeatSeconds: 1 });
  let why: unknown;
  const { stop, run } = options(holdfast.job, {
    process: (_, { signal }) =>
      new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject((why = signal.reason)));
      }),
  });
  const running = run();
  await until(async () => (await holdfast.job.get(id)).batches.leased === 1, "it is claimed");
  await holdfast.job.cancel(id);
  await until(() => why !== undefined, "it is aborted");
  stop.abort();
  expect(await running).toMatchObject({ batches: 0, released: 0, dropped: 0 });
  expect((why as Error).message).toMatch(/cancelled/);
});

test("a lease that is lost aborts the work; what it answers all the same is posted and told late", async () => {
  const { db, holdfast } = await fresh();
  const id = await aJob(db, { items: 2, heartbeatSeconds: 1, deliveries: 1 });
  const { stop, run } = options(holdfast.job, {
    process: async (batch, { signal }) => {
      await passLease(db);
      await db.transaction((tx) => expireLeases(tx));
      await until(() => signal.aborted, "it is aborted");
      return good(batch);
    },
  });
  const running = run();
  await until(async () => (await holdfast.job.lateResults(id)).items.length === 2, "both are late");
  stop.abort();
  expect(await running).toMatchObject({ late: 2, accepted: 0 });
  expect((await holdfast.job.get(id)).counts).toEqual({ lost: 2 });
});

/** A server that is away, or answers that and does what it was asked. */
function failing(jobs: PullJobs, fails: (what: keyof PullJobs) => "before" | "after" | undefined) {
  const wrapped = {} as Record<keyof PullJobs, (...asked: unknown[]) => Promise<unknown>>;
  for (const what of ["claim", "extend", "release", "post"] as const) {
    wrapped[what] = async (...asked) => {
      const how = fails(what);
      const gone = new HoldfastError("server-unreachable", 503, "gone");
      if (how === "before") throw gone;
      const answer = await (jobs[what] as (...asked: unknown[]) => Promise<unknown>)(...asked);
      if (how === "after") throw gone;
      return answer;
    };
  }
  return wrapped as unknown as PullJobs;
}

test("posts are repeated with their key until they are answered, and count once", async () => {
  const { db, holdfast } = await fresh();
  const id = await aJob(db, { items: 40, batchSize: 10 });
  let calls = 0;
  const jobs = failing(holdfast.job, (what) => {
    if (what !== "post") return undefined;
    return ([undefined, "before", "after", "before"] as const)[calls++ % 4];
  });
  const { stop, run, told } = options(jobs);
  const running = run();
  await until(async () => (await settled(holdfast, id)) === 40, "all is settled");
  stop.abort();
  expect(await running).toMatchObject({ accepted: 40, duplicate: 0, dropped: 0 });
  expect((await holdfast.job.get(id)).leases).toMatchObject({ duplicates: 0, redeliveries: 0 });
  expect(told.length).toBeGreaterThan(2);
});

test("it goes on when claims and heartbeats fail for a while", async () => {
  const { db, holdfast } = await fresh();
  const id = await aJob(db, { items: 40, batchSize: 10, heartbeatSeconds: 1 });
  let calls = 0;
  const jobs = failing(holdfast.job, (what) =>
    what === "post" || calls++ % 2 === 1 ? undefined : "before",
  );
  const { stop, run } = options(jobs);
  const running = run();
  await until(async () => (await settled(holdfast, id)) === 40, "all is settled");
  stop.abort();
  expect(await running).toMatchObject({ accepted: 40, dropped: 0 });
});

test("results that are refused for good are told, and never dropped in silence", async () => {
  const { db, holdfast } = await fresh();
  await aJob(db, { items: 5 });
  const jobs: PullJobs = {
    ...holdfast.job,
    post: () => Promise.reject(new HoldfastError("forbidden", 403, "not you")),
  };
  const { stop, run, told } = options(jobs);
  const running = run();
  await until(() => told.length > 0, "it is told");
  stop.abort();
  expect(await running).toMatchObject({ accepted: 0, dropped: 5 });
  expect(told.join("\n")).toMatch(/dropping 5 results of job .* never taken: not you/);
});

test("a result that is refused ends as the error of its item, and takes no other with it", async () => {
  const { db, holdfast } = await fresh();
  const id = await aJob(db, { items: 9, batchSize: 9 });
  const ofItsOwn = (item: number) =>
    Object.fromEntries(Array.from({ length: 16 }, (_, n) => [`seen_${item}_${n}`, 1]));
  const one = options(holdfast.job, {
    process: ({ items }) =>
      items.map(({ item }) => ({ item, result: item, counts: ofItsOwn(item) })),
  });
  const running = one.run();
  await until(async () => (await settled(holdfast, id)) === 9, "all is settled");
  one.stop.abort();
  // A job sums at most a hundred names: six of these have room.
  expect(await running).toMatchObject({ accepted: 9, failed: 3, dropped: 0 });
  const { items } = await holdfast.job.results(id, { errors: true });
  expect(items.map(({ error }) => error)).toMatchObject(
    Array.from({ length: 3 }, () => expect.stringMatching(/^its result was refused: .*counts/)),
  );
});

test("a claim that is refused ends the worker with what it was told", async () => {
  const { holdfast } = await fresh();
  const { run } = options(holdfast.job, { pipelines: ["not a pipeline"] });
  await expect(run()).rejects.toThrow(/pipelines\[0\]: must be 1 to 100/);
  await expect(options(holdfast.job, { batches: 0 }).run()).rejects.toThrow(/^batches: must be/);
});

test("told to stop, it finishes what it works and gives back what it has not begun", async () => {
  const { db, holdfast } = await fresh();
  const id = await aJob(db, { items: 6, batchSize: 2 });
  let begun = 0;
  const finish = new AbortController();
  const { stop, run } = options(holdfast.job, {
    process: async (batch) => {
      begun++;
      await until(() => finish.signal.aborted, "it may finish");
      return good(batch);
    },
  });
  const running = run();
  await until(async () => (await holdfast.job.get(id)).batches.leased === 2, "two are held");
  stop.abort();
  await until(async () => (await holdfast.job.get(id)).batches.leased === 1, "one is given back");
  finish.abort();
  expect(await running).toMatchObject({ batches: 1, accepted: 2, released: 1 });
  expect(begun).toBe(1);
  const { batches, leases } = await holdfast.job.get(id);
  expect(batches).toEqual({ ready: 2, leased: 0, done: 1 });
  expect(leases.redeliveries).toBe(0);
});

test("what does not end within the grace is aborted and given back, even if it never ends", async () => {
  const { db, holdfast } = await fresh();
  const id = await aJob(db, { items: 4, batchSize: 2 });
  let aborted = 0;
  const { stop, run } = options(holdfast.job, {
    batches: 2,
    prefetch: 0,
    graceMs: 200,
    process: ({ batch }, { signal }) =>
      new Promise((_, reject) => {
        signal.addEventListener("abort", () => {
          aborted++;
          // The other one does not care.
          if (batch === 1) reject(signal.reason);
        });
      }),
  });
  const running = run();
  await until(async () => (await holdfast.job.get(id)).batches.leased === 2, "two are held");
  stop.abort();
  expect(await running).toMatchObject({ batches: 0, released: 2 });
  expect(aborted).toBe(2);
  expect((await holdfast.job.get(id)).batches).toEqual({ ready: 2, leased: 0, done: 0 });
});

test("a worker told to stop while it waits for work stops at once", async () => {
  const { holdfast } = await fresh();
  const { stop, run } = options(holdfast.job, { waitSeconds: 60 });
  const running = run();
  await pause(200);
  const began = Date.now();
  stop.abort();
  expect(await running).toMatchObject({ batches: 0 });
  expect(Date.now() - began).toBeLessThan(1_000);
});
