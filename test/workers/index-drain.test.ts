import { NativeConnection, Worker } from "@temporalio/worker";
import { pino } from "pino";
import { expect, inject, onTestFinished, test } from "vitest";
import { searchActivities } from "../../activities/search.ts";
import { drainWorkflowId } from "../../contracts/ids.ts";
import { CONTROL_QUEUE, WORK_QUEUE } from "../../contracts/task-queues.ts";
import { ALL_LANES, readIndexLanes, waitedOf, waitedQuantile } from "../../db/index-lanes.ts";
import { appendIndexMarks } from "../../db/index-marks.ts";
import { until } from "../../dev/until.ts";
import { workflowBundle } from "../../dev/workflow-bundle.ts";
import { startRelay } from "../../workers/relay.ts";
import { quietRuntime } from "../../workers/replay.ts";
import { indexed, indexing, marksLeft, rebuilt } from "../support/indexing.ts";
import { testNamespace } from "../support/namespace.ts";

const LIMITS = { batch: 50, maxRunning: 200, maxRunningPerScope: 4 };
const COMMITS = 2_000;

quietRuntime();

test("thousands of commits of one row wake the drains a few times, and are found soon after", async () => {
  const made = await indexing();
  const { db, config } = made;
  const client = await testNamespace();
  await worker(client.options.namespace, searchActivities({ db, config }));
  const relay = startRelay({ db, client, log: pino({ level: "silent" }), limits: LIMITS });
  onTestFinished(() => relay.stop());

  const writer = async (first: number) => {
    for (let id = first; id <= COMMITS; id += 4) {
      await db.transaction(async (tx) => {
        await tx.query("insert into main.cities (id, name) values ($1::int, 'City ' || $1::int)", [
          id,
        ]);
        await appendIndexMarks(tx, "main", "city", [String(id)]);
      });
    }
  };
  await Promise.all([1, 2, 3, 4].map(writer));
  await until(
    async () => (await marksLeft(db)) === 0,
    20_000,
    () => "marks are left",
  );
  expect(await indexed(db)).toEqual(await rebuilt(db, config));

  const lanes = await readIndexLanes(db);
  expect(lanes.reduce((sum, lane) => sum + lane.applied, 0)).toBeGreaterThanOrEqual(COMMITS);
  expect(waitedQuantile(waitedOf(lanes), 0.5)).toBeLessThan(5);

  let wakes = 0;
  for (const lane of ALL_LANES) {
    const handle = client.workflow.getHandle(drainWorkflowId("index", lane));
    const { events } = await handle.fetchHistory();
    wakes += events!.filter((event) => event.workflowExecutionSignaledEventAttributes).length;
  }
  expect(wakes).toBeGreaterThan(0);
  expect(wakes).toBeLessThanOrEqual(20);
}, 60_000);

test("a commit just as its drain goes to rest is found all the same", async () => {
  const made = await indexing();
  const { db, config } = made;
  const client = await testNamespace();
  await worker(client.options.namespace, searchActivities({ db, config, lingerMs: 0 }));
  const relay = startRelay({ db, client, log: pino({ level: "silent" }), limits: LIMITS });
  onTestFinished(() => relay.stop());
  for (let id = 1; id <= 10; id++) {
    await db.transaction(async (tx) => {
      await tx.query("insert into main.cities (id, name) values ($1::int, 'City ' || $1::int)", [
        id,
      ]);
      await appendIndexMarks(tx, "main", "city", [String(id)]);
    });
    // The next one comes as soon as this one is gone: its drain is about to rest.
    await until(
      async () => (await marksLeft(db)) === 0,
      20_000,
      () => `the mark of ${id} is left`,
      2,
    );
  }
  expect(await indexed(db)).toEqual(await rebuilt(db, config));
}, 90_000);

async function worker(namespace: string, work: object): Promise<void> {
  const connection = await NativeConnection.connect({ address: inject("temporalAddress") });
  const common = { connection, namespace, shutdownGraceTime: 0 };
  const workers = [
    await Worker.create({
      ...common,
      taskQueue: CONTROL_QUEUE,
      workflowBundle: { codePath: await workflowBundle() },
    }),
    await Worker.create({ ...common, taskQueue: WORK_QUEUE, activities: work }),
  ];
  const running = Promise.all(workers.map((one) => one.run()));
  onTestFinished(async () => {
    for (const one of workers) one.shutdown();
    await running;
    await connection.close();
  });
}
