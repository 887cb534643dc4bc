import { expect, test } from "vitest";
import { examine } from "../../activities/doctor.ts";
import { JOB_CHECKS } from "../../db/doctor/jobs.ts";
import { finishOperation } from "../../db/finish.ts";
import { collectPage } from "../../db/job-collect.ts";
import { expireDueLeases } from "../../db/job-leases.ts";
import { listResults } from "../../db/job-results.ts";
import { findOperation } from "../../db/operations.ts";
import type { Db } from "../../db/pool.ts";
import { freshDb } from "../support/fresh-db.ts";
import { aJob, claimed, countsOf, passLease, post, results } from "../support/jobs.ts";

const NAMES = new Set([
  ...JOB_CHECKS.map(({ name }) => name),
  "missing-children",
  "progress-drift",
]);

async function look(db: Db, repair = false) {
  const { findings, checks } = await examine({ db, repair });
  expect(checks.filter(({ notDone }) => notDone && !/no Temporal/.test(notDone))).toEqual([]);
  return findings.filter(({ check }) => NAMES.has(check));
}

const found = async (db: Db) =>
  (await look(db)).map(({ check, subject }) => `${check}: ${subject}`);

const mended = async (db: Db) => (await look(db, true)).map(({ did }) => did);

/** Jobs in every state that is in order: at work, cut into items, collecting, ended, waiting. */
async function healthy() {
  const { db } = await freshDb();
  const ended = await aJob(db, { items: 20, pipeline: "ended" });
  const [first] = await claimed(db, "w", { pipelines: ["ended"] });
  await post(db, ended, results(first!));
  await db.transaction((tx) =>
    finishOperation(tx, { id: ended, generation: 1, outcome: "lost", reason: "x", by: "test" }),
  );
  const collects = await aJob(db, { items: 0, collector: "c", pipeline: "collects" });
  await db.transaction((tx) =>
    collectPage(tx, {
      operationId: collects,
      generation: 1,
      after: undefined,
      items: [{ key: "a" }, { key: "b", error: "no url" }],
      next: "on",
      done: false,
    }),
  );
  await aJob(db, { items: 5, accepted: true, pipeline: "waits" });
  const split = await aJob(db, { items: 20, pipeline: "split" });
  const [cut] = await claimed(db, "w", { pipelines: ["split"] });
  await passLease(db, cut);
  await expireDueLeases(db);
  const id = await aJob(db, { items: 30 });
  const [done, partly] = await claimed(db, "w", { limit: 2 });
  await post(db, id, results(done!));
  await post(db, id, results(partly!, [11, 12]));
  expect(await found(db)).toEqual([]);
  return { db, id, ended, split, partly: partly! };
}

test("an open item that is in no batch is found, and gets one", async () => {
  const { db, id, split } = await healthy();
  await db.query(
    "update holdfast.job_batches set state = 'done' where operation_id = $1 and no = 3",
    [id],
  );
  await db.query("delete from holdfast.job_batches where operation_id = $1 and no = -4", [split]);
  expect(await found(db)).toEqual([
    `job-item-not-handed-out: operation ${split}`,
    `job-item-not-handed-out: operation ${id}`,
  ]);
  expect(await mended(db)).toEqual(["made 1 batch", "made 1 batch"]);
  expect(await found(db)).toEqual([]);
});

test("a job at work without a turn is found, and gets one", async () => {
  const { db, id } = await healthy();
  await db.query("delete from holdfast.job_turns where operation_id = $1", [id]);
  expect(await found(db)).toEqual([`job-item-not-handed-out: operation ${id}`]);
  expect(await mended(db)).toEqual(["gave it a turn"]);
  expect(await found(db)).toEqual([]);
});

test("a lease that is long over is found, and ended", async () => {
  const { db, id } = await healthy();
  const age = (seconds: number) =>
    db.query(
      `update holdfast.job_batches set leased_until = clock_timestamp() - $1 * interval '1 second'
        where state = 'leased'`,
      [seconds],
    );
  // Upkeep has its turn first.
  await age(60);
  expect(await found(db)).toEqual([]);
  await age(150);
  expect(await found(db)).toEqual([`overdue-lease: operation ${id}`]);
  expect(await mended(db)).toEqual(["ended 1 lease"]);
  expect(await found(db)).toEqual([]);
  expect((await claimed(db, "v", { limit: 9 })).flatMap(({ items }) => items)).toHaveLength(18);
});

test("a job that has ended and is still handed out is found, and taken out of turn", async () => {
  for (const plant of [
    `insert into holdfast.job_turns (operation_id, tenant, pipeline, served, started)
     values ($1, 'default', 'p', 0, 0)`,
    "update holdfast.jobs set open_generation = 1 where operation_id = $1",
    "update holdfast.job_batches set state = 'ready' where operation_id = $1 and no = 2",
    "insert into holdfast.job_debts (operation_id, served) values ($1, 1)",
  ]) {
    const { db, ended } = await healthy();
    await db.query(plant, [ended]);
    expect(await found(db)).toEqual([`turn-of-terminal: operation ${ended}`]);
    expect(await mended(db)).toEqual(["took it out of turn"]);
    expect(await found(db)).toEqual([]);
  }
});

test("counts and sums that differ from the ledger are found at work and after, and mended", async () => {
  const { db, id, ended } = await healthy();
  const plant = (job: string, stage: string, outcome: string) =>
    db.query(
      `insert into holdfast.progress_deltas (operation_id, source, stage, outcome, n)
       values ($1, 'planted', $2, $3, 3)`,
      [job, stage, outcome],
    );
  await plant(id, "job", "succeeded");
  await plant(ended, "sums", "seen");
  expect(await found(db)).toEqual([
    `job-counts-differ: operation ${ended}`,
    `job-counts-differ: operation ${id}`,
  ]);
  expect((await look(db))[1]!.message).toMatch(/missing: job succeeded -3$/);
  expect(await mended(db)).toEqual(["added the difference", "added the difference"]);
  expect(await countsOf(db, id)).toMatchObject({ "job/succeeded": 12, "sums/seen": 24 });
  expect(await countsOf(db, ended)).toMatchObject({ "sums/seen": 20 });
  expect(await found(db)).toEqual([]);
  // One that has ended is looked at as every operation is.
  await db.query("delete from holdfast.progress_deltas where operation_id = $1 and stage = 'job'", [
    ended,
  ]);
  expect(await found(db)).toEqual([`progress-drift: operation ${ended}`]);
});

test("a result without an outcome is found, and kept where it counts for nothing", async () => {
  const { db, id } = await healthy();
  await db.query("delete from holdfast.outcomes where operation_id = $1 and item_no = 11", [id]);
  await db.query(
    `insert into holdfast.progress_deltas (operation_id, source, stage, outcome, n, place)
     values ($1, 'planted', 'job', 'succeeded', -1, 0), ($1, 'planted', 'sums', 'seen', -2, 1)`,
    [id],
  );
  expect(await found(db)).toEqual([`result-without-outcome: operation ${id}`]);
  expect(await mended(db)).toEqual(["kept 1 result as late"]);
  expect(await found(db)).toEqual([]);
  expect((await listResults(db, id, { limit: 50 })).items).toHaveLength(11);
  const { rows } = await db.query("select why from holdfast.late_results where operation_id = $1", [
    id,
  ]);
  expect(rows).toEqual([{ why: "without outcome" }]);
});

test("a collection that lost items it had is found once it is over", async () => {
  const { db, ended } = await healthy();
  await db.query("delete from holdfast.items where operation_id = $1 and no = 20", [ended]);
  await db.query("delete from holdfast.outcomes where operation_id = $1 and item_no = 20", [ended]);
  await db.query(
    `insert into holdfast.progress_deltas (operation_id, source, stage, outcome, n)
     values ($1, 'planted', 'job', 'lost', -1)`,
    [ended],
  );
  expect(await found(db)).toEqual([`missing-children: operation ${ended}`]);
  expect((await findOperation(db, ended))!.total).toBe(20);
});
