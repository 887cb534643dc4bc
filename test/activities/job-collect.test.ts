import { expect, test, vi } from "vitest";
import { defineCollector } from "../../contracts/config.ts";
import { Deferred, Refused } from "../../contracts/errors.ts";
import type { CollectContext, CollectedPage, Collector } from "../../contracts/plugins.ts";
import { statementsOf } from "../support/failing.ts";
import { jobbing, jobWorker, type Jobbing } from "../support/jobbing.ts";

/** A collector of `total` items, `page` at a time, that begins where it is told to. */
function numbers(total: number, page = 10) {
  return (_input: unknown, after: string | undefined): CollectedPage => {
    const from = Number(after ?? "0");
    const to = Math.min(total, from + page);
    const items = Array.from({ length: to - from }, (_, index) => ({
      key: `n-${from + index + 1}`,
      payload: from + index + 1,
    }));
    return { items, ...(to < total && { next: String(to) }) };
  };
}

interface Collecting extends Jobbing {
  collect: ReturnType<typeof vi.fn<Collector["collect"]>>;
}

async function collecting(
  how: Collector["collect"],
  settings: Omit<Collector, "collect"> = {},
): Promise<Collecting> {
  const collect = vi.fn(how);
  const collectors = { numbers: defineCollector({ ...settings, collect }) };
  return { ...(await jobbing({ jobs: { collectors } })), collect };
}

const job = { pipeline: "p", collector: "numbers" } as const;

test("what a collector finds, page by page, is handed out when the last page is there", async () => {
  const { submit, working, holdfast, collect } = await collecting(numbers(25));
  const ref = await submit({ ...job, collect: { of: "everything" }, options: { batchSize: 4 } });
  expect(await working.begin(ref)).toMatchObject({ state: "running" });
  expect(await working.look(ref)).toMatchObject({ lanes: 1, complete: false });
  expect((await holdfast.job.claim({ pipelines: ["p"], worker: "w" })).batches).toEqual([]);
  expect(await working.work(ref)).toEqual({ done: 25, complete: false });

  expect(collect.mock.calls.map(([input, after]) => [input, after])).toEqual([
    [{ of: "everything" }, undefined],
    [{ of: "everything" }, "10"],
    [{ of: "everything" }, "20"],
  ]);
  const { batches } = await holdfast.job.claim({ pipelines: ["p"], worker: "w" });
  expect(batches[0]!.items.map(({ payload }) => payload)).toEqual([1, 2, 3, 4]);
  expect(await holdfast.job.get(ref.id)).toMatchObject({ total: 25, batches: { ready: 6 } });
  expect(await working.look(ref)).toMatchObject({ lanes: 0, complete: false });
});

test("a collector is told where it is, and what is of use", async () => {
  const seen: Omit<CollectContext, "signal">[] = [];
  const { submit, working } = await collecting(
    (input, after, { signal: _signal, ...context }) => {
      seen.push(context);
      return numbers(100, 5)(input, after);
    },
    { pageItems: 5 },
  );
  const ref = await submit({ ...job, options: { limit: 8 } });
  await working.begin(ref);
  await working.work(ref);
  const always = { tenant: "default", operationId: ref.id, pipeline: "p" };
  expect(seen).toEqual([
    { ...always, collected: 0, limit: 5 },
    { ...always, collected: 5, limit: 3 },
  ]);
});

test("a collector that finds nothing completes the job at once", async () => {
  const { submit, finished } = await collecting(numbers(0));
  expect(await finished(await submit(job))).toEqual({ state: "completed", counts: {} });
});

test("a page that was written when its worker died is not written twice, and the next one follows", async () => {
  const { submit, working, db, collect, holdfast } = await collecting(numbers(30));
  const ref = await submit(job);
  await working.begin(ref);
  let pages = 0;
  const dying = { collect: numbers(30) } satisfies Collector;
  const other = jobWorker(db, {
    jobs: {
      collectors: {
        numbers: {
          collect(input, after) {
            if (pages++ === 2) throw new Refused("as if it died");
            return dying.collect(input, after);
          },
        },
      },
    },
  });
  await expect(other.work(ref)).rejects.toThrow("as if it died");
  expect(await working.work(ref)).toMatchObject({ done: 10 });
  expect(collect.mock.calls.map(([, after]) => after)).toEqual(["20"]);
  expect(
    (await holdfast.operation.items(ref.id, { limit: 200 })).items.map(({ key }) => key),
  ).toEqual(Array.from({ length: 30 }, (_, index) => `n-${index + 1}`));
});

test("two workers that collect at once write each item once", async () => {
  const { submit, working, db, holdfast } = await collecting(numbers(200));
  const ref = await submit(job);
  await working.begin(ref);
  const other = jobWorker(db, holdfast.config, { identity: "other" });
  await Promise.all([working.work(ref), other.work(ref)]);
  const { rows } = await db.query("select key from holdfast.items order by no");
  expect(rows).toEqual(Array.from({ length: 200 }, (_, index) => ({ key: `n-${index + 1}` })));
  expect((await holdfast.job.get(ref.id)).total).toBe(200);
});

test("a collector that refuses ends the job with its reason", async () => {
  const { submit, finished, holdfast } = await collecting((input, after) => {
    if (after === "10") throw new Refused("no such collection");
    return numbers(30)(input, after);
  });
  const ref = await submit(job);
  expect(await finished(ref)).toMatchObject({ state: "failed" });
  expect((await holdfast.job.get(ref.id)).reason).toBe(
    'refused by collector "numbers": no such collection',
  );
});

test("a collector that defers is asked again then, and the job says what it waits for", async () => {
  const until = new Date(Date.now() + 60_000);
  const { submit, working } = await collecting(() => {
    throw new Deferred(until, "the export is being made");
  });
  const ref = await submit(job);
  await working.begin(ref);
  expect(await working.work(ref)).toEqual({
    done: 0,
    complete: false,
    nextDueAt: until.getTime(),
    waitsFor: "the export is being made",
  });
});

test("a page that fails is tried again, later each time, and what failed is to be seen", async () => {
  const { submit, working, collect, holdfast } = await collecting(() => {
    throw new Error("502 from the source");
  });
  const ref = await submit(job);
  await working.begin(ref);
  const report = await working.work(ref);
  expect(report.waitsFor).toBe('collector "numbers": 502 from the source');
  expect(report.nextDueAt).toBeGreaterThan(Date.now() + 20_000);
  expect(collect).toHaveBeenCalledTimes(3);
  const { items } = await holdfast.operation.logs(ref.id);
  expect(items.filter(({ level }) => level === "warn")).toMatchObject([
    { message: 'collector "numbers" failed after 0 items: 502 from the source' },
  ]);
});

test.each<[string, Collector["collect"], Omit<Collector, "collect">, RegExp]>([
  [
    "too many items",
    () => ({ items: Array.from({ length: 6 }, () => ({})) }),
    { pageItems: 5 },
    /6 items is over its limit of 5/,
  ],
  [
    "too many bytes",
    () => ({ items: Array.from({ length: 1_000 }, () => ({ payload: "x".repeat(16_900) })) }),
    {},
    /bytes is over the limit of 16777216/,
  ],
  [
    "a cursor that stands still",
    (_, after) => ({ items: [], next: after ?? "a" }),
    {},
    /would never end/,
  ],
  ["a cursor that is no text", () => ({ items: [], next: 7 as never }), {}, /`next` must be text/],
  ["no items", () => ({}) as never, {}, /must have `items`/],
  ["no answer in time", () => new Promise<never>(() => {}), { pageTimeoutMs: 20 }, /within 20 ms/],
])("a page with %s is refused as a whole, and says why", async (_, collect, settings, why) => {
  const { submit, working } = await collecting(collect, settings);
  const ref = await submit(job);
  await working.begin(ref);
  expect((await working.work(ref)).waitsFor).toMatch(why);
});

test("an item that is none fails, and nothing else with it", async () => {
  const items = [
    { key: "good", payload: 1 },
    { key: "bad", size: 3 },
    { key: "gone", error: "no URL" },
  ];
  const { submit, working, holdfast } = await collecting(() => ({
    items: [...items, { key: "big", payload: 1n }] as never,
  }));
  const ref = await submit(job);
  await working.begin(ref);
  await working.work(ref);
  const listed = (await holdfast.operation.items(ref.id)).items;
  expect(listed.map(({ key, outcome }) => [key, outcome])).toEqual([
    ["good", null],
    ["bad", "failed"],
    ["gone", "failed"],
    ["", "failed"],
  ]);
  expect(listed[2]!.reason).toBe("could not be queued: no URL");
});

test("a cancel while pages are collected ends the job with what was found cancelled", async () => {
  const made = await collecting(numbers(100));
  const { submit, working, holdfast, collect } = made;
  const ref = await submit(job);
  await working.begin(ref);
  collect.mockImplementation(async (input, after) => {
    if (after === "30") await holdfast.job.cancel(ref.id);
    return numbers(100)(input, after);
  });
  expect(await working.work(ref)).toMatchObject({ complete: false });
  expect(await working.look(ref)).toMatchObject({ stop: "cancelled" });
  expect(await working.finish(ref, "cancelled", "cancelled on request")).toMatchObject({
    state: "cancelled",
    counts: { cancelled: 30 },
  });
  const view = await holdfast.job.get(ref.id);
  expect(view.total).toBe(30);

  // Run again, it goes on where it was.
  collect.mockImplementation(numbers(100));
  await holdfast.job.retry(ref.id);
  const again = await made.refOf(ref.id);
  await working.begin(again);
  expect(await working.work(again)).toMatchObject({ done: 70 });
  expect(await holdfast.job.get(ref.id)).toMatchObject({ total: 100, state: "running" });
});

test("a paused job asks for no further page", async () => {
  const { submit, working, holdfast, collect } = await collecting(numbers(100));
  const ref = await submit(job);
  await working.begin(ref);
  await holdfast.operation.pause(ref.id);
  expect(await working.work(ref)).toMatchObject({ stop: "paused" });
  expect(collect).not.toHaveBeenCalled();
});

test("a worker without the collector leaves it to those that have it, and says so", async () => {
  const { submit, working, db } = await collecting(numbers(3));
  const ref = await submit(job);
  await working.begin(ref);
  const report = await jobWorker(db).work(ref);
  expect(report.waitsFor).toBe('collector "numbers", which this worker has not');
  expect(await working.work(ref)).toMatchObject({ done: 3 });
});

test("a page costs a few statements, however many its items are", async () => {
  const statements = async (items: number) => {
    const { submit, working, db, holdfast } = await collecting(numbers(items, items));
    const ref = await submit(job);
    await working.begin(ref);
    return (await statementsOf(db, (watched) => jobWorker(watched, holdfast.config).work(ref)))
      .length;
  };
  expect(await statements(1_000)).toBe(await statements(10));
});
