import { Worker, NativeConnection } from "@temporalio/worker";
import { pino } from "pino";
import { expect, inject, onTestFinished, test } from "vitest";
import { startOperationWorkflow } from "../../activities/start-operation.ts";
import { operationWorkflowId } from "../../contracts/ids.ts";
import { CONTROL_QUEUE, WORK_QUEUE } from "../../contracts/task-queues.ts";
import { until } from "../../dev/until.ts";
import { workflowBundle } from "../../dev/workflow-bundle.ts";
import { quietRuntime } from "../../workers/replay.ts";
import { startRelay } from "../../workers/relay.ts";
import { fresh } from "../support/fresh.ts";
import { testNamespace } from "../support/namespace.ts";
import { insertOperationRows } from "../support/rows.ts";

const LIMITS = { batch: 50, maxRunning: 200, maxRunningPerScope: 4 };

quietRuntime();

test("a wake during a page is told once, and the workflow looks again when the page is done", async () => {
  const { db } = await fresh();
  const client = await testNamespace();
  const [id] = await insertOperationRows(db, [{ state: "running" }]);
  const row = { kind: "retain", tenant: "default", id: id!, generation: 1 };

  let endPage = () => {};
  const page = new Promise<void>((resolve) => (endPage = resolve));
  let looks = 0;
  await worker(client.options.namespace, {
    async retainWhole() {
      if (++looks > 1) return { finished: { state: "completed", counts: {} } };
      await page;
      // As it stood when the page began: paused, and so not due for minutes.
      return { report: { done: 0, complete: false, stop: "paused" } };
    },
  });
  await startOperationWorkflow(client, {
    ...row,
    scope: "bank",
    total: 1,
    priority: 3,
    trace: null,
  });
  const handle = client.workflow.getHandle(operationWorkflowId(row));
  await until(
    async () => looks === 1,
    10_000,
    () => "the page does not begin",
  );

  await db.query("update holdfast.operations set wake_at = clock_timestamp()");
  const relay = startRelay({ db, client, log: pino({ level: "silent" }), limits: LIMITS });
  onTestFinished(() => relay.stop());
  await until(isTold, 4_000, () => "the relay goes on telling");
  endPage();
  await handle.result();
  expect(looks).toBe(2);
  const { events } = await handle.fetchHistory();
  expect(events!.filter((event) => event.workflowExecutionSignaledEventAttributes)).toHaveLength(1);

  async function isTold(): Promise<boolean> {
    const { rows } = await db.query<{ wake_at: Date | null }>(
      "select wake_at from holdfast.operations",
    );
    return rows[0]!.wake_at === null;
  }
});

/** Runs this version's workflows over activities of the test's own, until it ends. */
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
