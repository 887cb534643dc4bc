import { NativeConnection, Worker } from "@temporalio/worker";
import { pino } from "pino";
import { inject, onTestFinished } from "vitest";
import { reconcileActivities } from "../../activities/reconcile.ts";
import type { HoldfastConfig } from "../../contracts/config.ts";
import type { Entity, Fields } from "../../contracts/inventory.ts";
import { CONTROL_QUEUE, WORK_QUEUE } from "../../contracts/task-queues.ts";
import { ingest } from "../../db/inbox.ts";
import { registryOf } from "../../db/inventory-settings.ts";
import type { Db } from "../../db/pool.ts";
import { until } from "../../dev/until.ts";
import { workflowBundle } from "../../dev/workflow-bundle.ts";
import { startRelay } from "../../workers/relay.ts";
import { quietRuntime } from "../../workers/replay.ts";
import { fresh, type Fresh } from "./fresh.ts";
import { testNamespace } from "./namespace.ts";

const LIMITS = { batch: 50, maxRunning: 200, maxRunningPerScope: 4 };

/** One inventory of boxes. */
export const BOXES: HoldfastConfig = {
  inventory: {
    registry: "boxes",
    registries: {
      boxes: {
        name: "boxes",
        types: {
          box: {
            match: [["name"]],
            need: ["name"],
            fields: { name: "s", size: "i", inside: "@box" },
          },
        },
      },
    },
  },
};

export const box = (name: string, fields: Fields = {}): Entity => ({
  type: "box",
  fields: { name, ...fields },
  warnings: [],
});

export interface Reconciling extends Fresh {
  config: HoldfastConfig;
  take(tenant: string, entities: readonly Entity[]): Promise<void>;
  /** Another worker and relay, until the test ends. */
  worker(): Promise<void>;
  /** Waits until this holds of a tenant's entities: counts by state number. */
  states(tenant: string, wanted: (counts: Record<number, number>) => boolean): Promise<void>;
}

export async function reconciling(config: HoldfastConfig = BOXES): Promise<Reconciling> {
  quietRuntime();
  const made = await fresh(config);
  const { db } = made;
  const client = await testNamespace();
  const registry = registryOf(config, config.inventory!.registry!);
  return {
    ...made,
    config,
    take: async (tenant, entities) => {
      const given = { tenant, branch: "main", source: "test", entities };
      await db.transaction((tx) => ingest(tx, registry, given));
    },
    worker: async () => {
      await runWorkers(client.options.namespace, db, config);
      const relay = startRelay({ db, client, log: pino({ level: "silent" }), limits: LIMITS });
      onTestFinished(() => relay.stop());
    },
    states: async (tenant, wanted) => {
      let counts: Record<number, number> = {};
      await until(
        async () => wanted((counts = await countStates(db, tenant))),
        40_000,
        () => `the states of ${tenant} stay ${JSON.stringify(counts)}`,
      );
    },
  };
}

async function countStates(db: Db, tenant: string): Promise<Record<number, number>> {
  const { rows } = await db.query<{ state: number; n: number }>(
    "select state, count(*)::int as n from holdfast.entities where tenant = $1 group by 1",
    [tenant],
  );
  return Object.fromEntries(rows.map(({ state, n }) => [state, n]));
}

async function runWorkers(namespace: string, db: Db, config: HoldfastConfig): Promise<void> {
  const connection = await NativeConnection.connect({ address: inject("temporalAddress") });
  const common = { connection, namespace, shutdownGraceTime: 0 };
  const workers = [
    await Worker.create({
      ...common,
      taskQueue: CONTROL_QUEUE,
      workflowBundle: { codePath: await workflowBundle() },
    }),
    await Worker.create({
      ...common,
      taskQueue: WORK_QUEUE,
      activities: reconcileActivities({ db, config }),
    }),
  ];
  const running = Promise.all(workers.map((one) => one.run()));
  onTestFinished(async () => {
    for (const one of workers) one.shutdown();
    await running;
    await connection.close();
  });
}
