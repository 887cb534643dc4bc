import { expect, test } from "vitest";
import { setBrake } from "../../db/brakes.ts";
import { finishOperation } from "../../db/finish.ts";
import { collectPage } from "../../db/job-collect.ts";
import { expireDueLeases } from "../../db/job-leases.ts";
import { endStuckJob, readStalls, repairBatches } from "../../db/job-stall.ts";
import { markPullWorkersSeen } from "../../db/job-workers.ts";
import { findOperation, markCancelRequested } from "../../db/operations.ts";
import type { Db } from "../../db/pool.ts";
import { holdupOf, stallStep } from "../../domain/job-stall.ts";
import { freshDb as fresh } from "../support/fresh-db.ts";
import { aJob, claimed, countsOf, passLease, post, results } from "../support/jobs.ts";

async function look(db: Db, id: string) {
  const facts = (await readStalls(db, [id])).get(id)!;
  const now = facts.now.getTime();
  return { facts, kind: holdupOf(facts, now)?.kind ?? null, step: stallStep(facts, now) };
}

const repair = (db: Db, id: string, generation = 1) =>
  db.transaction((tx) => repairBatches(tx, id, generation));

const end = (db: Db, id: string) =>
  db.transaction((tx) => endStuckJob(tx, { id, generation: 1, by: "test" }));

/** Everything that is known of a job's past happened so long before. */
const ages = (db: Db, minutes: number) =>
  Promise.all(
    [
      "update holdfast.operations set started_at = started_at - $1::interval where started_at is not null",
      "update holdfast.jobs set page_at = page_at - $1::interval, repaired_at = repaired_at - $1::interval",
      "update holdfast.job_turns set served_at = served_at - $1::interval",
      "update holdfast.progress_deltas set at = at - $1::interval",
      "update holdfast.job_workers set seen_at = seen_at - $1::interval",
    ].map((sql) => db.query(sql, [`${minutes} minutes`])),
  );

const online = (db: Db, pipelines = ["p"], tenants?: string[]) =>
  markPullWorkersSeen(db, [{ key: "key", worker: "w", pipelines, tenants }]);

test("what holds a job up is read from rows: nobody online, idle, at work, told to stop, done", async () => {
  const { db } = await fresh();
  const id = await aJob(db, { items: 20 });
  expect(await look(db, id)).toMatchObject({
    kind: "no workers online",
    facts: { open: 20, ready: 2, leased: 0, workersOnline: 0, claimedAt: null, resultAt: null },
  });
  // Of another pipeline or tenant.
  await online(db, ["q"]);
  expect((await look(db, id)).kind).toBe("no workers online");
  await online(db, ["p"], ["other"]);
  expect((await look(db, id)).kind).toBe("no workers online");
  await online(db);
  expect((await look(db, id)).kind).toBeNull();
  await ages(db, 3);
  await online(db);
  expect((await look(db, id)).kind).toBe("workers idle");

  const [lease] = await claimed(db, "w");
  expect(await look(db, id)).toMatchObject({ kind: null, facts: { ready: 1, leased: 1 } });
  expect((await look(db, id)).facts.claimedAt).toBeInstanceOf(Date);
  await post(db, id, results(lease!));
  expect(await look(db, id)).toMatchObject({
    kind: null,
    facts: { open: 10, ready: 1, leased: 0 },
  });
  expect((await look(db, id)).facts.resultAt).toBeInstanceOf(Date);
  await ages(db, 3);
  expect((await look(db, id)).kind).toBe("no workers online");

  await db.query("update holdfast.operations set paused_at = now()");
  expect((await look(db, id)).kind).toBeNull();
  await db.query("update holdfast.operations set paused_at = null");
  await db.transaction((tx) =>
    setBrake(tx, { appliesTo: "kind", name: "job", reason: "stop", by: "me" }),
  );
  expect((await look(db, id)).kind).toBeNull();
  await db.query("delete from holdfast.brakes");

  const [last] = await claimed(db, "w");
  await post(db, id, results(last!));
  expect((await look(db, id)).kind).toBe("result backlog");
  await db.transaction((tx) => markCancelRequested(tx, id, "me"));
  expect((await look(db, id)).kind).toBeNull();
});

test("a job that never began, one that collects and one that nobody works are never ended, however old", async () => {
  const { db } = await fresh();
  const accepted = await aJob(db, { items: 5, accepted: true });
  const collects = await aJob(db, { items: 0, collector: "c" });
  await db.transaction((tx) =>
    collectPage(tx, {
      operationId: collects,
      generation: 1,
      after: undefined,
      items: [{ key: "a" }],
      next: "on",
      done: false,
    }),
  );
  const alone = await aJob(db, { items: 5 });
  await ages(db, 60 * 24 * 30);
  expect(await look(db, accepted)).toMatchObject({ kind: null, step: "wait" });
  expect(await look(db, collects)).toMatchObject({
    kind: "collecting",
    step: "wait",
    facts: { collecting: { collected: 1 } },
  });
  expect(await look(db, alone)).toMatchObject({ kind: "no workers online", step: "wait" });
  for (const id of [accepted, collects, alone]) {
    expect(await repair(db, id)).toBe(0);
    await ages(db, 60);
    expect(await end(db, id)).toBeUndefined();
    expect((await findOperation(db, id))!.finished_at).toBeNull();
  }
});

test("batches that are missing are made anew: whole ones where nothing else holds their items, and single ones elsewhere", async () => {
  const { db } = await fresh();
  const id = await aJob(db, { items: 40 });
  const [first, second] = await claimed(db, "w", { limit: 4 });
  await post(db, id, results(first!, [1, 2]));
  // Of the second, what is open is cut into items; two of those are gone.
  await passLease(db, second);
  await expireDueLeases(db);
  await db.query("delete from holdfast.job_batches where no in (-12, -19)");
  await db.query("delete from holdfast.job_batches where no = 3");
  await db.query(
    `update holdfast.job_batches set state = 'done', holder = null, leased_until = null where no = 1`,
  );
  // The fourth is in somebody's hands.
  expect(await repair(db, id)).toBe(4);
  expect(await repair(db, id)).toBe(0);
  const live = await db.query<{ no: number; state: string }>(
    `select no, state from holdfast.job_batches
      where state <> 'done' order by no`,
  );
  expect(live.rows.map(({ no, state }) => `${no} ${state}`)).toEqual([
    ...Array.from({ length: 10 }, (_, n) => `${n - 20} ready`),
    "1 ready",
    "3 ready",
    "4 leased",
  ]);
  const rest = await claimed(db, "v", { limit: 20 });
  expect(rest.flatMap((lease) => lease.items).toSorted((a, b) => a - b)).toEqual(range(3, 30));
  for (const lease of rest) await post(db, id, results(lease));
  expect(await countsOf(db, id)).toMatchObject({ "job/succeeded": 30 });
});

test("a job whose turn or batches are all gone is stuck, and is handed out again after one repair", async () => {
  const { db } = await fresh();
  const id = await aJob(db, { items: 10 });
  await online(db);
  await db.query("delete from holdfast.job_batches");
  await db.query("delete from holdfast.job_turns");
  expect(await look(db, id)).toMatchObject({ kind: "stuck", step: "repair" });
  expect(await repair(db, id)).toBe(1);
  expect(await look(db, id)).toMatchObject({ kind: null, step: "wait" });
  const [lease] = await claimed(db, "w");
  expect(lease!.items).toHaveLength(10);
  // Missing again after that: mended again, for something was done in between.
  await db.query("delete from holdfast.job_batches");
  expect(await look(db, id)).toMatchObject({ kind: "stuck", step: "repair" });
});

test("only a job that is stuck ten minutes after its repair is ended, and what is open is lost", async () => {
  const { db } = await fresh();
  const id = await aJob(db, { items: 20 });
  const [lease] = await claimed(db, "w");
  await post(db, id, results(lease!));
  await ages(db, 60);
  const vanish = () => db.query("update holdfast.job_batches set state = 'done'");
  await vanish();
  expect(await end(db, id)).toBeUndefined();
  expect(await repair(db, id)).toBe(1);
  await ages(db, 9);
  await vanish();
  expect(await look(db, id)).toMatchObject({ kind: "stuck", step: "wait" });
  expect(await end(db, id)).toBeUndefined();
  await ages(db, 2);
  expect((await look(db, id)).step).toBe("end");
  expect(await end(db, id)).toMatchObject({
    state: "completed",
    reason: "completed with 10 errors",
    counts: { succeeded: 10, lost: 10 },
  });
  expect(await end(db, id)).toBeUndefined();
});

test("a job with a live lease is never ended, and a repair takes nothing from who holds it", async () => {
  const { db } = await fresh();
  const id = await aJob(db, { items: 10 });
  const [lease] = await claimed(db, "w");
  await repair(db, id);
  await ages(db, 60 * 24);
  expect(await look(db, id)).toMatchObject({ kind: null, step: "wait", facts: { leased: 1 } });
  expect(await repair(db, id)).toBe(0);
  await ages(db, 60);
  expect(await end(db, id)).toBeUndefined();
  expect(await post(db, id, results(lease!))).toMatchObject({ accepted: 10 });
  expect(await look(db, id)).toMatchObject({ kind: "result backlog" });
});

test("nothing is repaired of a job that has ended, or of another generation", async () => {
  const { db } = await fresh();
  const id = await aJob(db, { items: 10 });
  await db.query("delete from holdfast.job_batches");
  expect(await repair(db, id, 2)).toBe(0);
  await db.transaction((tx) =>
    finishOperation(tx, { id, generation: 1, outcome: "cancelled", reason: "x", by: "me" }),
  );
  expect(await repair(db, id)).toBe(0);
  const { rows } = await db.query("select from holdfast.job_turns");
  expect(rows).toEqual([]);
});

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, n) => from + n);
}
