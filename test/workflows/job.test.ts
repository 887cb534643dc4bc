import { NativeConnection, Worker } from "@temporalio/worker";
import { WorkflowFailedError, type Client } from "@temporalio/client";
import { ApplicationFailure } from "@temporalio/common";
import { randomUUID } from "node:crypto";
import { expect, inject, onTestFinished, test } from "vitest";
import { WAKE_SIGNAL, type JobLook, type OperationRef } from "../../contracts/messages.ts";
import { CONTROL_QUEUE, JOB_QUEUE } from "../../contracts/task-queues.ts";
import { until } from "../../dev/until.ts";
import { workflowBundle } from "../../dev/workflow-bundle.ts";
import { quietRuntime } from "../../workers/replay.ts";
import { testNamespace } from "../support/namespace.ts";

const ref: OperationRef = {
  kind: "job",
  id: randomUUID(),
  tenant: "default",
  scope: "",
  generation: 1,
  total: 5,
  priority: 3,
};

const waiting: JobLook = { done: 0, complete: false, lanes: 0, waitsFor: "workers" };
const done: JobLook = { done: 0, complete: true, lanes: 0 };

interface World {
  client: Client;
  calls: string[];
}

/** `looks`: what each look answers, the last one again and again. */
async function world(
  looks: readonly JobLook[],
  work: (lane: number) => Promise<unknown> = async () => ({ done: 1, complete: false }),
): Promise<World> {
  quietRuntime();
  const client = await testNamespace();
  const calls: string[] = [];
  const connection = await NativeConnection.connect({ address: inject("temporalAddress") });
  const common = { connection, namespace: client.options.namespace };
  const control = await Worker.create({
    ...common,
    taskQueue: CONTROL_QUEUE,
    workflowBundle: { codePath: await workflowBundle() },
    activities: {
      async beginJob() {
        calls.push("begin");
        return { state: "running", ranges: [{ no: 1, from: 1, to: 1 }], window: 1 };
      },
      async lookAtJob() {
        const nth = calls.filter((call) => call === "look").length;
        calls.push("look");
        const look = looks[Math.min(nth, looks.length - 1)]!;
        return look.nextDueAt === 0 ? { ...look, nextDueAt: Date.now() + 60_000 } : look;
      },
      async finish(_: OperationRef, { outcome, reason }: { outcome: string; reason: string }) {
        calls.push(`finish ${outcome}: ${reason}`);
        const failed = reason.startsWith("refused");
        return outcome === "cancelled" || failed
          ? { state: failed ? "failed" : "cancelled", reason, counts: {} }
          : { state: "completed", counts: { succeeded: 5 } };
      },
    },
  });
  const working = await Worker.create({
    ...common,
    taskQueue: JOB_QUEUE,
    activities: {
      async workJob(_: OperationRef, lane: number) {
        calls.push(`work ${lane}`);
        return work(lane);
      },
    },
  });
  const running = Promise.all([control.run(), working.run()]);
  onTestFinished(async () => {
    control.shutdown();
    working.shutdown();
    await running;
    await connection.close();
  });
  return { client, calls };
}

const start = (client: Client) =>
  client.workflow.start("runJob", {
    taskQueue: CONTROL_QUEUE,
    workflowId: `job/${randomUUID()}`,
    args: [ref],
  });

test("a job rests until it is woken, looks, and is finished once", async () => {
  const { client, calls } = await world([{ ...waiting, nextDueAt: 0 }, done]);
  const handle = await start(client);
  await until(
    async () => (await handle.fetchHistory()).events!.some((e) => e.timerStartedEventAttributes),
    20_000,
    () => "it does not rest",
  );
  await handle.signal(WAKE_SIGNAL);
  expect(await handle.result()).toMatchObject({ state: "completed" });
  expect(calls).toEqual(["begin", "look", "look", expect.stringContaining("finish failed")]);
});

test("the lanes that a look saw work for are worked side by side, and looked after at once", async () => {
  let together = () => {};
  const all = new Promise<void>((resolve) => (together = resolve));
  let at = 0;
  const { client, calls } = await world([{ ...waiting, lanes: 3 }, done], async (lane) => {
    if (++at === 3) together();
    await all;
    return lane === 1
      ? { done: 2, complete: false }
      : { done: 0, complete: false, nextDueAt: 9e15 };
  });
  await (await start(client)).result();
  expect(calls.slice(2, 5).toSorted()).toEqual(["work 1", "work 2", "work 3"]);
  expect(calls[5]).toBe("look");
});

test("what a plug-in refused for good fails the job with its words", async () => {
  const { client, calls } = await world([{ ...waiting, lanes: 1 }], async () => {
    throw ApplicationFailure.nonRetryable("refused by collector: no such thing", "Refused");
  });
  const failure = await (await start(client)).result().catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(WorkflowFailedError);
  expect(calls.at(-1)).toBe("finish failed: refused by collector: no such thing");
});

test("a cancel ends the rest, and the job in the same finish", async () => {
  const { client, calls } = await world([{ ...waiting, nextDueAt: 0 }]);
  const handle = await start(client);
  await until(
    async () => calls.includes("look"),
    20_000,
    () => "it does not look",
  );
  await handle.cancel();
  await handle.result().catch(() => undefined);
  expect((await handle.describe()).status.name).toBe("CANCELLED");
  expect(calls.at(-1)).toBe("finish cancelled: cancelled on request");
});
