import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import type { HoldfastConfig } from "../../contracts/config.ts";
import { defineProcessor } from "../../contracts/config.ts";
import { expireDueLeases } from "../../db/job-leases.ts";
import type { Db } from "../../db/pool.ts";
import { claimForRelay, clearWakes } from "../../db/relay.ts";
import { until } from "../../dev/until.ts";
import { startUpkeep } from "../../workers/upkeep.ts";
import { statementsOf } from "../support/failing.ts";
import { fresh } from "../support/fresh.ts";
import { aJob, claimed, passLease, post, results } from "../support/jobs.ts";

function upkeep(db: Db, config: HoldfastConfig = {}): void {
  const log = pino({ level: "silent" });
  const worker = { id: "01a1ff00-0000-7000-8000-000000000001", identity: "w", version: "0" };
  const loops = startUpkeep({ db, config, log, worker });
  onTestFinished(async () => void (await Promise.all(loops.map((one) => one.stop()))));
}

test("upkeep ends every lease that is over, however many, and what is open is handed out again", async () => {
  const { db } = await fresh();
  await aJob(db, { items: 1_300, batchSize: 1 });
  await claimed(db, "a", { limit: 1_300, held: 2_000 });
  await passLease(db);
  upkeep(db);
  await until(
    async () => {
      const { rows } = await db.query<{ n: number }>(
        "select count(*)::int as n from holdfast.job_batches where state = 'ready'",
      );
      return rows[0]!.n === 1_300;
    },
    15_000,
    () => "leases that are over are held",
  );
  const { rows } = await db.query("select delivery from holdfast.job_batches group by delivery");
  expect(rows).toEqual([{ delivery: 1 }]);
}, 40_000);

test("upkeep wakes a job whose last result came, when nobody else did", async () => {
  const { db } = await fresh();
  const id = await aJob(db, { items: 3 });
  const [lease] = await claimed(db, "a");
  await post(db, id, results(lease!));
  await db.query("update holdfast.operations set wake_at = null");
  upkeep(db);
  await until(
    async () =>
      (await db.query("select from holdfast.operations where wake_at is not null")).rows.length > 0,
    15_000,
    () => "it is not woken",
  );
});

test("a last result that comes while an earlier wake is being told is told as well", async () => {
  const { db } = await fresh();
  const id = await aJob(db, { items: 3 });
  const [lease] = await claimed(db, "a");
  const limits = { batch: 50, maxRunning: 200, maxRunningPerScope: 4 };
  await db.query("update holdfast.operations set wake_at = clock_timestamp()");
  const telling = await claimForRelay(db, limits);
  await post(db, id, results(lease!));
  await clearWakes(db, telling);
  expect(await claimForRelay(db, limits)).toMatchObject([{ verb: "wake", id }]);
});

test("with nothing to do, leases cost two statements a round", async () => {
  const { db } = await fresh();
  await aJob(db, { items: 20 });
  await claimed(db, "a");
  expect(await statementsOf(db, (seen) => expireDueLeases(seen))).toHaveLength(2);
});

test("a worker with processors is online for their pipelines", async () => {
  const { db, holdfast } = await fresh();
  const processor = defineProcessor({ process: () => [] });
  upkeep(db, { jobs: { processors: { hash: processor, size: processor } } });
  await until(
    async () => (await holdfast.job.workers()).length > 0,
    15_000,
    () => "nobody is online",
  );
  expect(await holdfast.job.workers()).toMatchObject([
    { key: "in-process", worker: "w", pipelines: ["hash", "size"], online: true },
  ]);
});
