import type { Client } from "@temporalio/client";
import { NativeConnection, Worker } from "@temporalio/worker";
import { pino } from "pino";
import { inject, onTestFinished } from "vitest";
import { searchActivities, type SearchDeps } from "../../activities/search.ts";
import { CONTROL_QUEUE, WORK_QUEUE } from "../../contracts/task-queues.ts";
import { workflowBundle } from "../../dev/workflow-bundle.ts";
import { startRelay } from "../../workers/relay.ts";
import { testNamespace } from "./namespace.ts";

const LIMITS = { batch: 50, maxRunning: 200, maxRunningPerScope: 4 };

export interface DrainWorkers {
  /** Starts and signals of workflows, so far. */
  wakes(): number;
}

/** Workers that drain the index, in a namespace of the test's own, with the relay that wakes them. */
export async function drainWorkers(
  deps: SearchDeps,
  { relay = true }: { relay?: boolean } = {},
): Promise<DrainWorkers> {
  const client = await testNamespace();
  const connection = await NativeConnection.connect({ address: inject("temporalAddress") });
  const common = { connection, namespace: client.options.namespace, shutdownGraceTime: 0 };
  const workers = [
    await Worker.create({
      ...common,
      taskQueue: CONTROL_QUEUE,
      workflowBundle: { codePath: await workflowBundle() },
    }),
    await Worker.create({ ...common, taskQueue: WORK_QUEUE, activities: searchActivities(deps) }),
  ];
  const running = Promise.all(workers.map((one) => one.run()));
  onTestFinished(async () => {
    for (const one of workers) one.shutdown();
    await running;
    await connection.close();
  });
  let wakes = 0;
  if (relay) {
    const counted = counting(client, () => wakes++);
    const log = pino({ level: "silent" });
    const loop = startRelay({ db: deps.db, client: counted, log, limits: LIMITS });
    onTestFinished(() => loop.stop());
  }
  return { wakes: () => wakes };
}

function counting(client: Client, onWake: () => void): Client {
  const { workflow } = client;
  const signalWithStart: typeof workflow.signalWithStart = (...given) => {
    onWake();
    return workflow.signalWithStart(...given);
  };
  const counted: unknown = Object.create(workflow, { signalWithStart: { value: signalWithStart } });
  return Object.create(client, { workflow: { value: counted } }) as Client;
}
