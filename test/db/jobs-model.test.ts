import fc from "fast-check";
import { expect, test } from "vitest";
import { RUN_AGAIN } from "../../contracts/job.ts";
import type { Outcome } from "../../contracts/operation.ts";
import { finishOperation } from "../../db/finish.ts";
import { listItems } from "../../db/items.ts";
import { collectPage } from "../../db/job-collect.ts";
import { closeExpired, expireLeases, extendLeases, releaseLeases } from "../../db/job-leases.ts";
import { listResults } from "../../db/job-results.ts";
import { setRunAgain } from "../../db/jobs.ts";
import { findOperation, markAcceptedAgain } from "../../db/operations.ts";
import { countOutcomes } from "../../db/outcomes.ts";
import type { Db } from "../../db/pool.ts";
import { uncountRerun } from "../../db/progress.ts";
import { jobVerdict } from "../../domain/job.ts";
import { freshDb as fresh } from "../support/fresh-db.ts";
import { aJob, begin, claimed, countsOf, passLease, post, type Held } from "../support/jobs.ts";

/** What a job should be, kept by hand beside the database. */
interface Model {
  generation: number;
  running: boolean;
  /** Since when outcomes stand. */
  base: number;
  deliveries: number;
  /** Outcomes of each item by generation, in order of generations. */
  settled: Map<number, Map<number, Outcome>>;
  batches: Map<number, Batch>;
  /** Generations in which each item has a result. */
  results: Map<number, Set<number>>;
  leases: Held[];
  late: Set<string>;
  keyed: { key: string; step: Extract<Step, { do: "post" }>; answer: unknown }[];
}

interface Batch {
  items: number[];
  place: number;
  state: string;
  delivery: number;
  lease: number;
}

type Step =
  | { do: "claim" | "expire" | "cancel" | "repeat" }
  | { do: "again"; items: (typeof RUN_AGAIN)[number] }
  | { do: "extend" | "release" | "pass"; lease: number }
  | { do: "post"; lease: number; items: number[]; fails: boolean };

const RUNS = Number(process.env["HOLDFAST_PROPERTY_RUNS"] ?? 40);
const ITEMS = 11;
const BATCH = 3;
const RERUN: readonly Outcome[] = ["failed", "lost", "cancelled"];

const lease = fc.nat(30);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.constant<Step>({ do: "claim" }) },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("post" as const),
      lease,
      items: fc.array(fc.nat(BATCH - 1), { minLength: 1, maxLength: 4 }),
      fails: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.constant<Step>({ do: "repeat" }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("extend" as const), lease }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("release" as const), lease }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("pass" as const), lease }) },
  { weight: 3, arbitrary: fc.constant<Step>({ do: "expire" }) },
  { weight: 1, arbitrary: fc.constant<Step>({ do: "cancel" }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("again" as const),
      items: fc.constantFrom(...RUN_AGAIN),
    }),
  },
);

/** A job comes with its items, or they are collected in pages of these sizes, each told so often. */
const collection = fc.option(
  fc.array(fc.record({ size: fc.nat(4), told: fc.integer({ min: 1, max: 3 }) }), { maxLength: 6 }),
);

test(
  "whatever is collected, claimed, extended, posted, repeated, expired, split, released, cancelled and run again, counts are those of a ledger kept by hand",
  async () => {
    const { db } = await fresh();
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 5, maxLength: 30 }),
        fc.integer({ min: 1, max: 3 }),
        collection,
        async (steps, deliveries, pages) => {
          const pipeline = `p${++runs}`;
          const id = await aJob(db, {
            items: pages ? 0 : ITEMS,
            batchSize: BATCH,
            deliveries,
            pipeline,
            ...(pages ? { collector: "c" } : {}),
          });
          if (pages) await collectAll(db, id, pages);
          const model = newModel(deliveries);
          for (const one of steps) {
            await take(db, id, pipeline, model, one);
            await agrees(db, id, model);
          }
          await take(db, id, pipeline, model, { do: "cancel" });
          await agrees(db, id, model);
        },
      ),
      { numRuns: RUNS, endOnFailure: true },
    );
  },
  60_000 + RUNS * 3_000,
);

async function collectAll(db: Db, id: string, pages: readonly { size: number; told: number }[]) {
  let collected = 0;
  let after: string | undefined;
  const tell = async (
    page: readonly { key: string }[],
    at: string | undefined,
    no: number,
    last: boolean,
  ) =>
    db.transaction((tx) =>
      collectPage(tx, {
        operationId: id,
        generation: 1,
        after: at,
        items: page,
        next: last ? undefined : `page-${no}`,
        done: last,
      }),
    );
  for (const [no, { size, told }] of [...pages, { size: ITEMS, told: 2 }].entries()) {
    const last = no === pages.length;
    const items = Array.from({ length: Math.min(size, ITEMS - collected) }, (_, n) => ({
      key: `item-${collected + n + 1}`,
    }));
    const answers = await Promise.all(
      Array.from({ length: told }, () => tell(items, after, no, last)),
    );
    collected += items.length;
    const written = answers.filter(({ status }) => status === "written");
    expect(written).toHaveLength(1);
    for (const answer of answers) expect(answer).toMatchObject({ collected, done: last });
    after = `page-${no}`;
  }
  const { items } = await listItems(db, id, { limit: 50 });
  expect(items.map(({ no, key }) => [no, key])).toEqual(
    range(1, ITEMS).map((no) => [no, `item-${no}`]),
  );
  expect(await findOperation(db, id)).toMatchObject({
    total: ITEMS,
    batches: Math.ceil(ITEMS / BATCH),
  });
}

function newModel(deliveries: number): Model {
  const model: Model = {
    generation: 1,
    base: 1,
    deliveries,
    running: true,
    settled: new Map(range(1, ITEMS).map((item) => [item, new Map()])),
    batches: new Map(),
    results: new Map(range(1, ITEMS).map((item) => [item, new Set()])),
    leases: [],
    late: new Set(),
    keyed: [],
  };
  cutBatches(model);
  return model;
}

function cutBatches(model: Model): void {
  model.batches.clear();
  for (let no = 1; (no - 1) * BATCH < ITEMS; no++) {
    const items = range((no - 1) * BATCH + 1, Math.min(ITEMS, no * BATCH));
    if (items.some((item) => isOpen(model, item))) {
      model.batches.set(no, { items, place: no, state: "ready", delivery: 0, lease: 0 });
    }
  }
}

function isOpen({ settled, generation, base }: Model, item: number): boolean {
  const outcomes = settled.get(item)!;
  return (
    !outcomes.has(generation) &&
    ![...outcomes].some(([at, outcome]) => at >= base && !RERUN.includes(outcome))
  );
}

const openOf = (model: Model, items: readonly number[]) =>
  items.filter((item) => isOpen(model, item));

async function take(db: Db, id: string, pipeline: string, model: Model, one: Step) {
  const held = "lease" in one ? model.leases[one.lease % (model.leases.length || 1)] : undefined;
  switch (one.do) {
    case "claim":
      return claim(db, pipeline, model);
    case "post":
      return held && postAndCompare(db, id, model, held, one);
    case "repeat":
      for (const { key, step: first, answer } of model.keyed.slice(-1)) {
        const same = model.leases[first.lease]!;
        expect(await post(db, id, bodyOf(same, first), { repeatKey: key })).toEqual(answer);
      }
      return;
    case "extend": {
      if (!held) return;
      const [answer] = await extendLeases(db, [held.handle], "key");
      const status = holds(model, held) ? "extended" : "ended";
      const cancelled = !model.running || held.generation !== model.generation;
      expect(answer).toMatchObject({ status, cancelled });
      return;
    }
    case "release": {
      if (!held) return;
      const had = holds(model, held);
      const [answer] = await releaseLeases(db, [held.handle], "key");
      expect(answer).toMatchObject({ status: had ? "released" : "ended" });
      if (!had) return;
      const batch = model.batches.get(held.batch)!;
      batch.state = "ready";
      batch.delivery--;
      return;
    }
    case "pass":
      if (held && holds(model, held)) await passLease(db, held);
      await expire(db, model);
      return;
    case "expire":
      await expire(db, model);
      return;
    case "cancel":
      return cancel(db, id, model);
    case "again":
      return again(db, id, model, one.items);
  }
}

function holds(model: Model, { generation, batch, lease: no }: Held): boolean {
  const known = model.batches.get(batch);
  return generation === model.generation && known?.state === "leased" && known.lease === no;
}

async function claim(db: Db, pipeline: string, model: Model): Promise<void> {
  const [got] = await claimed(db, "w", { pipelines: [pipeline] });
  for (const [no, batch] of model.running ? inTurn(model) : []) {
    if (batch.state !== "ready") continue;
    batch.lease++;
    if (openOf(model, batch.items).length === 0) {
      batch.delivery++;
      batch.state = "done";
      continue;
    }
    batch.delivery++;
    batch.state = "leased";
    expect(got).toMatchObject({
      batch: no,
      generation: model.generation,
      delivery: batch.delivery,
      lease: batch.lease,
      items: openOf(model, batch.items),
    });
    model.leases.push(got!);
    return;
  }
  expect(got).toBeUndefined();
}

function inTurn({ batches }: Model): [number, Batch][] {
  return [...batches].toSorted(([, a], [, b]) => a.place - b.place || a.items[0]! - b.items[0]!);
}

const itemsOf = ({ batch }: Held) =>
  batch < 0 ? [-batch] : range((batch - 1) * BATCH + 1, Math.min(ITEMS, batch * BATCH));

function bodyOf(held: Held, { items, fails }: Extract<Step, { do: "post" }>) {
  const all = itemsOf(held);
  return items.map((at) => ({
    handle: held.handle,
    item: all[at % all.length]!,
    ...(fails ? { error: "bad" } : { result: at, counts: { seen: 1 } }),
  }));
}

async function postAndCompare(
  db: Db,
  id: string,
  model: Model,
  held: Held,
  one: Extract<Step, { do: "post" }>,
): Promise<void> {
  const body = bodyOf(held, one);
  const expected = body.map(({ item }) => {
    const outcomes = model.settled.get(item)!;
    const current = model.running && held.generation === model.generation;
    if (current && isOpen(model, item)) {
      outcomes.set(model.generation, one.fails ? "failed" : "succeeded");
      model.results.get(item)!.add(model.generation);
      return { item, status: "accepted" };
    }
    const had = outcomes.get(held.generation);
    if (had === "succeeded" || had === "failed") return { item, status: "duplicate" };
    model.late.add(`${item}/${held.generation}/${held.lease}`);
    return { item, status: "late" };
  });
  const key = `key-${model.keyed.length}`;
  const answer = await post(db, id, body, { repeatKey: key });
  expect(answer.results).toEqual(expected);
  model.keyed.push({ key, step: { ...one, lease: model.leases.indexOf(held) }, answer });
  for (const { item, status } of expected) {
    if (status !== "accepted") continue;
    for (const no of [held.batch, -item]) {
      const batch = model.batches.get(no);
      if (batch && openOf(model, batch.items).length === 0) batch.state = "done";
    }
  }
}

async function expire(db: Db, model: Model): Promise<void> {
  const expired = await db.transaction((tx) => expireLeases(tx));
  await closeExpired(db, expired);
  for (const { batch: no, state, lost, items } of expired) {
    const batch = model.batches.get(no)!;
    expect(batch.state).toBe("leased");
    const open = openOf(model, batch.items);
    const { delivery, place } = batch;
    const spent = delivery >= model.deliveries;
    const splits = !spent && delivery === model.deliveries - 1 && open.length > 1;
    expect({ state, lost, items }).toEqual({
      state: open.length === 0 || spent ? "done" : splits ? "split" : "ready",
      lost: spent ? open.length : 0,
      items: splits ? open : [],
    });
    batch.state = state === "ready" ? "ready" : "done";
    for (const item of items) {
      model.batches.set(-item, { items: [item], place, state: "ready", delivery, lease: 0 });
    }
    if (spent) for (const item of open) model.settled.get(item)!.set(model.generation, "lost");
  }
}

async function cancel(db: Db, id: string, model: Model): Promise<void> {
  const { generation } = model;
  const finished = await db.transaction((tx) =>
    finishOperation(tx, { id, generation, outcome: "cancelled", reason: "asked", by: "test" }),
  );
  if (model.running) {
    for (const item of openOf(model, range(1, ITEMS))) {
      model.settled.get(item)!.set(generation, "cancelled");
    }
    for (const batch of model.batches.values()) batch.state = "done";
    model.running = false;
  }
  // A repeat answers what is stored.
  expect(finished.state).toBe(jobVerdict(newest(model), 0.5, true).state);
}

const LEFT_OUT = {
  unfinished: [],
  failed: ["cancelled"],
  remaining: ["failed", "lost"],
  all: [],
} as const satisfies Record<(typeof RUN_AGAIN)[number], readonly Outcome[]>;

async function again(db: Db, id: string, model: Model, items: keyof typeof LEFT_OUT) {
  const { failed = 0, lost = 0, cancelled = 0 } = newest(model);
  if (model.running || (items !== "all" && failed + lost + cancelled === 0)) return;
  const before = new Map(
    [...model.settled].map(([item, outcomes]) => [item, [...outcomes.values()].at(-1)]),
  );
  model.generation++;
  model.running = true;
  if (items === "all") model.base = model.generation;
  await db.transaction(async (tx) => {
    await setRunAgain(tx, id, items, model.generation);
    await uncountRerun(tx, id, model.generation, "job");
    await markAcceptedAgain(tx, id);
  });
  await begin(db, id, model.generation);
  const left: readonly (Outcome | undefined)[] = LEFT_OUT[items];
  for (const [item, outcome] of before) {
    if (left.includes(outcome)) model.settled.get(item)!.set(model.generation, outcome!);
  }
  cutBatches(model);
}

/** The current outcome of each item: its newest that stands. */
function newest({ settled, base }: Model): Partial<Record<Outcome, number>> {
  return tally(
    [...settled.values()].flatMap((outcomes) =>
      [...outcomes]
        .filter(([generation]) => generation >= base)
        .slice(-1)
        .map(([, outcome]) => outcome),
    ),
  );
}

/** What progress shows: items that are not open. */
function shown(model: Model): Partial<Record<Outcome, number>> {
  return tally(
    [...model.settled]
      .filter(([item]) => !isOpen(model, item))
      .flatMap(([, outcomes]) => [...outcomes.values()].slice(-1)),
  );
}

function tally(outcomes: readonly Outcome[]): Partial<Record<Outcome, number>> {
  const counts: Partial<Record<Outcome, number>> = {};
  for (const outcome of outcomes) counts[outcome] = (counts[outcome] ?? 0) + 1;
  return counts;
}

async function agrees(db: Db, id: string, model: Model): Promise<void> {
  expect(await countOutcomes(db, id)).toEqual(newest(model));
  const counts = await countsOf(db, id);
  const job = Object.entries(counts).filter(([name]) => name.startsWith("job/"));
  expect(Object.fromEntries(job.map(([name, n]) => [name.slice(4), n]))).toEqual(shown(model));
  expect(counts["sums/seen"] ?? 0).toBe(shown(model).succeeded ?? 0);
  const { rows } = await db.query<{ no: number; state: string; results: number; late: number }>(
    `select no, state,
            (select count(*)::int from holdfast.job_results where operation_id = $1) as results,
            (select count(*)::int from holdfast.late_results where operation_id = $1) as late
       from holdfast.job_batches where operation_id = $1 and generation = $2 order by no`,
    [id, model.generation],
  );
  expect(rows.map(({ no, state }) => [no, state])).toEqual(
    [...model.batches].map(([no, { state }]) => [no, state]).toSorted(([a], [b]) => +a! - +b!),
  );
  const results = [...model.results.values()].reduce(
    (sum, generations) => sum + generations.size,
    0,
  );
  if (rows[0]) expect(rows[0]).toMatchObject({ results, late: model.late.size });
  const { items } = await listResults(db, id, { limit: 50 });
  expect(items.map(({ item, generation }) => [item, generation])).toEqual(
    [...model.results].flatMap(([item, generations]) => {
      const last = [...generations].findLast((generation) => generation >= model.base);
      return last === undefined ? [] : [[item, last]];
    }),
  );
  // Nothing waits that nobody would hand out, and nothing is handed out that is not open.
  const live = [...model.batches.values()].filter(({ state }) => state !== "done");
  const open = model.running ? openOf(model, range(1, ITEMS)) : [];
  expect(new Set(live.flatMap((batch) => openOf(model, batch.items)))).toEqual(new Set(open));
  expect(live.every((batch) => openOf(model, batch.items).length > 0)).toBe(true);
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, n) => from + n);
}
