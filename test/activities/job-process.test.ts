import { setTimeout as sleep } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import { defineProcessor, type JobsConfig } from "../../contracts/config.ts";
import { Deferred, Refused } from "../../contracts/errors.ts";
import type { ClaimedItem } from "../../contracts/job.ts";
import type {
  ProcessedItem,
  Processor,
  ResultsTx,
  SettledResult,
} from "../../contracts/plugins.ts";
import { expireDueLeases } from "../../db/job-leases.ts";
import { JobLane } from "../../activities/job-process.ts";
import { Solitude } from "../../activities/solitude.ts";
import { findJob } from "../../db/jobs.ts";
import type { Db } from "../../db/pool.ts";
import { fault, watched, type Hook } from "../support/failing.ts";
import { jobbing, jobWorker, numbered } from "../support/jobbing.ts";

const doubled = (items: readonly ClaimedItem[]): ProcessedItem[] =>
  items.map(({ item, payload }) => ({
    item,
    result: { twice: numberOf(payload) * 2 },
    counts: { seen: 1 },
  }));
const numberOf = (payload: unknown) => (payload as { n: number }).n;

/** A world with a processor for the pipeline `double`. */
function processing(process: Processor["process"], jobs: JobsConfig = {}) {
  return jobbing({ jobs: { ...jobs, processors: { double: defineProcessor({ process }) } } });
}

async function outcomes(db: Db, id: string) {
  const { rows } = await db.query<{ no: number; outcome: string; reason: string | null }>(
    `select item_no as no, outcome, reason from holdfast.outcomes
      where operation_id = $1 order by item_no`,
    [id],
  );
  return rows;
}

test("a processor's results are those of the job, each item once", async () => {
  const { submit, finished, holdfast } = await processing(doubled);
  const ref = await submit({ pipeline: "double", items: numbered(60), options: { batchSize: 7 } });
  expect(await finished(ref)).toEqual({ state: "completed", counts: { succeeded: 60 } });
  const results = [];
  for await (const result of holdfast.job.eachResult(ref.id)) results.push(result);
  expect(results.map(({ item, result }) => [item, result])).toEqual(
    Array.from({ length: 60 }, (_, index) => [index + 1, { twice: (index + 1) * 2 }]),
  );
  const view = await holdfast.job.get(ref.id);
  expect(view.leases).toMatchObject({ deliveries: 9, redeliveries: 0, expiries: 0 });
  expect(view.progress.stages.at(-1)!.params).toMatchObject([{ key: "seen", value: 60 }]);
});

test("only batches of its own job are worked in a job's lane", async () => {
  const { submit, working, holdfast } = await processing(doubled);
  const first = await submit({ pipeline: "double", items: numbered(4) });
  const second = await submit({ pipeline: "double", items: numbered(4) });
  await working.begin(first);
  await working.begin(second);
  await working.work(second);
  expect((await holdfast.job.get(first.id)).counts).toEqual({});
  expect((await holdfast.job.get(second.id)).counts).toEqual({ succeeded: 4 });
});

test("each item ends as the processor says: a result, an error, or a clear refusal of the answer", async () => {
  const { submit, finished, db } = await processing((items) => {
    const circle: Record<string, unknown> = {};
    circle["itself"] = circle;
    const answers: Record<number, Omit<ProcessedItem, "item">> = {
      1: { result: null },
      2: { reference: "s3://bucket/2" },
      3: { error: "no such host" },
      4: { result: "x".repeat(20_000) },
      5: { result: 1, error: "both" },
      6: { result: 1, counts: { Bad: 1 } },
      7: { result: circle as never },
      8: { result: "a\u0000b" },
    };
    return items
      .filter(({ item }) => item in answers)
      .map(({ item }) => ({ item, ...answers[item]! }));
  });
  const options = { batchSize: 10, maxFailedShare: 1 };
  const ref = await submit({ pipeline: "double", items: numbered(9), options });
  expect(await finished(ref)).toMatchObject({ counts: { succeeded: 2, failed: 7 } });
  const said = await outcomes(db, ref.id);
  expect(said.map(({ reason }) => reason)).toEqual([
    null,
    null,
    "no such host",
    expect.stringMatching(/answer is refused: result: must be at most 16384 bytes.*a reference/),
    expect.stringMatching(/answer is refused: result: send one of/),
    expect.stringMatching(/answer is refused: counts/),
    expect.stringMatching(/answer is refused/),
    expect.stringMatching(/answer is refused: result: .*NUL/),
    "the processor did not answer of this item",
  ]);
});

test.each([
  ["nothing", undefined, /answered nothing: return a list/],
  ["an item of another batch", [{ item: 99, result: 1 }], /of item 99, which is not of its batch/],
  ["an item twice", [1, 1].map((item) => ({ item, result: 1 })), /of item 1 twice/],
])("an answer of %s is not believed, and says why", async (_, answer, why) => {
  const { submit, finished, db } = await processing(() => answer as never);
  const ref = await submit({ pipeline: "double", items: numbered(1) });
  expect(await finished(ref)).toMatchObject({ state: "failed" });
  expect((await outcomes(db, ref.id))[0]!.reason).toMatch(why);
});

test("a throw spends a delivery, and the item that throws fails alone with its message", async () => {
  const calls: number[][] = [];
  const { submit, finished, db, holdfast } = await processing((items) => {
    calls.push(items.map(({ item }) => item));
    if (items.some(({ item }) => item === 4)) throw new Error("cannot work 4");
    return doubled(items);
  });
  const options = { batchSize: 6 };
  const ref = await submit({ pipeline: "double", items: numbered(12), options });
  expect(await finished(ref)).toMatchObject({
    state: "completed",
    reason: "completed with 1 error",
    counts: { succeeded: 11, failed: 1 },
  });
  expect((await outcomes(db, ref.id))[3]).toMatchObject({
    outcome: "failed",
    reason: "cannot work 4",
  });
  expect(calls.filter((items) => items.includes(4))).toEqual([[1, 2, 3, 4, 5, 6], [4]]);
  expect((await holdfast.job.get(ref.id)).leases.expiries).toBe(1);
});

test("an infrastructure fault costs no delivery, however often it comes", async () => {
  let faults = 0;
  const { submit, finished, holdfast } = await processing((items) => {
    if (faults++ < 5) throw fault("ECONNREFUSED");
    return doubled(items);
  });
  const ref = await submit({ pipeline: "double", items: numbered(3) });
  expect(await finished(ref)).toEqual({ state: "completed", counts: { succeeded: 3 } });
  expect((await holdfast.job.get(ref.id)).leases).toMatchObject({ releases: 5, expiries: 0 });
});

// Each statement of a lane's call in turn: as it is lost, and as only its answer is.
test("a lane that loses Postgres at any statement pays no delivery", async () => {
  const working = async (before: Hook, after: Hook = () => undefined) => {
    const { submit, db, holdfast, context } = await processing(doubled);
    const { config } = context;
    const ref = await submit({ pipeline: "double", items: numbered(3) });
    await jobWorker(db, config).begin(ref);
    const seen: string[] = [];
    const faulty = watched(
      db,
      (statement, text) => (seen.push(text), before(statement, text)),
      after,
    );
    await jobWorker(faulty, config)
      .work(ref)
      .catch(() => undefined);
    await jobWorker(db, config).work(ref);
    const { leases, counts } = await holdfast.job.get(ref.id);
    await db.close();
    return { leases, counts, seen };
  };
  const { seen } = await working(() => undefined);
  const first = seen.findIndex((text) => text.includes("claim_job_batches")) + 1;
  expect(first).toBeGreaterThan(0);
  for (let at = first; at <= seen.length; at++) {
    let failed = false;
    const once: Hook = (statement) => {
      if (statement !== at || failed) return;
      failed = true;
      throw fault("08006");
    };
    for (const hooks of [[once], [() => undefined, once]]) {
      failed = false;
      const { leases, counts } = await working(hooks[0]!, hooks[1]);
      expect({ at, ...leases, counts }).toMatchObject({
        at,
        expiries: 0,
        counts: { succeeded: 3 },
      });
    }
  }
}, 60_000);

test("what is deferred waits until then, and costs no delivery", async () => {
  const until = new Date(Date.now() + 5_000);
  let deferred = 0;
  const { submit, working, finished } = await processing((items) => {
    if (deferred++ < 3) throw new Deferred(until, "the model is loading");
    return doubled(items);
  });
  const ref = await submit({ pipeline: "double", items: numbered(3) });
  await working.begin(ref);
  const report = await working.work(ref);
  expect(report).toMatchObject({ nextDueAt: until.getTime(), complete: false });
  expect(report.waitsFor).toBe("double: the model is loading");
  expect(await finished(ref)).toMatchObject({ state: "completed" });
});

test("what is refused fails at once, all of its batch", async () => {
  const process = vi.fn(() => {
    throw new Refused("not for us");
  });
  const { submit, finished, db } = await processing(process);
  const ref = await submit({ pipeline: "double", items: numbered(3) });
  expect(await finished(ref)).toMatchObject({ state: "failed", counts: { failed: 3 } });
  expect(process).toHaveBeenCalledTimes(1);
  expect((await outcomes(db, ref.id)).map(({ reason }) => reason)).toEqual(
    Array(3).fill("not for us"),
  );
});

test("a lease is extended as long as its batch is worked, and expires for nobody", async () => {
  const { submit, finished, holdfast, db } = await processing(async (items) => {
    await sleep(2_500);
    await expireDueLeases(db);
    return doubled(items);
  });
  const options = { leaseSeconds: 1, heartbeatSeconds: 1 };
  const ref = await submit({ pipeline: "double", items: numbered(2), options });
  expect(await finished(ref)).toEqual({ state: "completed", counts: { succeeded: 2 } });
  expect((await holdfast.job.get(ref.id)).leases).toMatchObject({ deliveries: 1, expiries: 0 });
});

test("a batch that takes longer than it may spends a delivery", async () => {
  const processor = defineProcessor({
    batchTimeoutMs: 50,
    process: (_, { signal }) =>
      new Promise((_resolve, reject) =>
        signal.addEventListener("abort", () => reject(signal.reason as Error)),
      ),
  });
  const { submit, finished, db } = await jobbing({ jobs: { processors: { double: processor } } });
  const ref = await submit({ pipeline: "double", items: numbered(1) });
  expect(await finished(ref)).toMatchObject({ state: "failed" });
  expect((await outcomes(db, ref.id))[0]!.reason).toMatch(/did not answer within 50 ms/);
});

test("a cancel stops the processor, while Temporal cannot say so", async () => {
  let stopped: unknown;
  let began = () => {};
  const atWork = new Promise<void>((resolve) => (began = resolve));
  const { submit, working, holdfast } = await processing((_, { signal }) => {
    began();
    return new Promise((_resolve, reject) =>
      signal.addEventListener("abort", () => {
        stopped = signal.reason;
        reject(signal.reason as Error);
      }),
    );
  });
  const options = { leaseSeconds: 1, heartbeatSeconds: 1 };
  const ref = await submit({ pipeline: "double", items: numbered(2), options });
  await working.begin(ref);
  const work = working.work(ref);
  await atWork;
  await holdfast.job.cancel(ref.id);
  expect(await work).toMatchObject({ stop: "cancelled" });
  expect(stopped).toMatchObject({ message: "the job was cancelled" });
  expect(await working.finish(ref, "cancelled")).toMatchObject({
    state: "cancelled",
    counts: { cancelled: 2 },
  });
});

test("a worker that stops gives its batch back, which costs no delivery", async () => {
  const stopping = new AbortController();
  let began = () => {};
  const atWork = new Promise<void>((resolve) => (began = resolve));
  const { submit, working, finished, db, holdfast } = await processing(
    async (items, { signal }) => {
      if (stopping.signal.aborted) return doubled(items);
      began();
      await sleep(60_000, undefined, { signal });
      return doubled(items);
    },
  );
  const ref = await submit({ pipeline: "double", items: numbered(2), options: { deliveries: 1 } });
  await working.begin(ref);
  const work = working.work(ref, 1, stopping.signal);
  await atWork;
  stopping.abort();
  await expect(work).rejects.toThrow("CANCELLED");
  const { rows } = await db.query("select state, delivery from holdfast.job_batches");
  expect(rows).toEqual([{ state: "ready", delivery: 0 }]);
  expect(await finished(ref)).toMatchObject({ state: "completed" });
  expect((await holdfast.job.get(ref.id)).leases).toMatchObject({ releases: 1, expiries: 0 });
});

test("what a lane held when its worker died is handed out again at once, and has cost a delivery", async () => {
  const { submit, working, db, finished, holdfast } = await processing(doubled);
  const ref = await submit({ pipeline: "double", items: numbered(5) });
  await working.begin(ref);
  await db.query(
    `update holdfast.job_batches
        set state = 'leased', holder = 'in-process/dead/1', lease = 1, delivery = 1,
            leased_until = clock_timestamp() + interval '1 hour'`,
  );
  expect(await working.work(ref, 2)).toMatchObject({ done: 0 });
  expect(await working.work(ref, 1)).toMatchObject({ done: 5 });
  expect(await finished(ref)).toMatchObject({ state: "completed" });
  expect((await holdfast.job.get(ref.id)).leases).toMatchObject({ expiries: 1 });
});

test("what is handed out for the last time after a crash is alone in its process", async () => {
  let atOnce = 0;
  const withSuspect: number[] = [];
  const { submit, working, db } = await processing(async (items) => {
    atOnce++;
    await sleep(50);
    if (items.length === 1) withSuspect.push(atOnce);
    atOnce--;
    return doubled(items);
  });
  const ref = await submit({ pipeline: "double", items: numbered(24), options: { batchSize: 4 } });
  await working.begin(ref);
  await db.query(
    `update holdfast.job_batches
        set state = 'leased', holder = 'in-process/dead/1', lease = 1, delivery = 1,
            leased_until = clock_timestamp() + interval '1 hour'
      where no = 1`,
  );
  await Promise.all([1, 2, 3, 4].map((lane) => working.work(ref, lane)));
  expect(withSuspect).toEqual([1, 1, 1, 1]);
});

test("rows that are written with results exist for what counts, and a post that they refuse counts nothing", async () => {
  let refusals = 1;
  const onResults = async (tx: ResultsTx, results: readonly SettledResult[]) => {
    for (const { job, item } of results)
      await tx.query("insert into seen values ($1, $2)", [job, item]);
    if (refusals-- > 0) throw new Error("not now");
  };
  const { submit, finished, db } = await processing(doubled, { onResults });
  await db.query("create table seen (job uuid, item int, primary key (job, item))");
  const ref = await submit({ pipeline: "double", items: numbered(3) });
  expect(await finished(ref)).toEqual({ state: "completed", counts: { succeeded: 3 } });
  const { rows } = await db.query("select item from seen where job = $1 order by item", [ref.id]);
  expect(rows).toEqual([{ item: 1 }, { item: 2 }, { item: 3 }]);
});

test("rows that always refuse lose the items, and the job ends", async () => {
  const onResults = () => Promise.reject(new Error("never"));
  const { submit, finished, db } = await processing(doubled, { onResults });
  const ref = await submit({ pipeline: "double", items: numbered(2) });
  expect(await finished(ref)).toMatchObject({ state: "failed", counts: { lost: 2 } });
  expect((await db.query("select from holdfast.job_results")).rows).toEqual([]);
});

test("without persisted logs a job writes no row of log", async () => {
  const { submit, finished, db } = await processing(doubled, { persistLogs: false });
  const ref = await submit({ pipeline: "double", items: numbered(30) });
  expect(await finished(ref)).toMatchObject({ state: "completed" });
  const { rows } = await db.query("select message from holdfast.logs where operation_id = $1", [
    ref.id,
  ]);
  expect(rows).toEqual([]);
});

test("a worker that has no processor for it leaves a job to those who claim", async () => {
  const { submit, working, db } = await processing(doubled);
  const ref = await submit({ pipeline: "double", items: numbered(2) });
  const other = jobWorker(db, {});
  await working.begin(ref);
  expect(await other.look(ref)).toMatchObject({ lanes: 0, complete: false });
  const before = Date.now();
  const report = await other.work(ref);
  expect(report).toMatchObject({
    done: 0,
    complete: false,
    waitsFor: 'a worker with processor "double", which this one has not',
  });
  // Else look and lane would follow one another without end.
  expect(report.nextDueAt! - before).toBeGreaterThan(20_000);
  expect(await working.look(ref)).toMatchObject({ lanes: 1 });
});

test.each(["drains", "is cancelled"])(
  "a lane that waits behind a suspect begins no batch when its worker %s",
  async (how) => {
    const process = vi.fn((items: readonly ClaimedItem[]) => doubled(items));
    const { submit, working, db } = await processing(process);
    const ref = await submit({ pipeline: "double", items: numbered(4), options: { batchSize: 2 } });
    await working.begin(ref);
    const solitude = new Solitude();
    let free = () => {};
    const long = solitude.enter(false, () => new Promise<void>((resolve) => (free = resolve)));
    const suspect = solitude.enter(true, async () => {});
    const [draining, cancelled] = [new AbortController(), new AbortController()];
    const lane = new JobLane(
      {
        db,
        ref,
        job: (await findJob(db, ref.id))!,
        processor: defineProcessor({ process }),
        onResults: undefined,
        persistLogs: false,
        identity: "w",
        lane: 1,
        solitude,
        signal: cancelled.signal,
        draining: draining.signal,
      },
      () => {},
    );
    const run = lane.run();
    const ended =
      how === "drains"
        ? expect(run).resolves.toEqual({ done: 0, complete: false })
        : expect(run).rejects.toThrow("no more");
    await sleep(100);
    if (how === "drains") draining.abort();
    else cancelled.abort(new Error("no more"));
    await ended;
    free();
    await Promise.all([long, suspect]);
    expect(process).not.toHaveBeenCalled();
  },
);
