import { Worker, type WorkerOptions } from "@temporalio/worker";
import type { Logger } from "pino";
import { DefaultBranch } from "../activities/target-branch.ts";
import { targetActivities } from "../activities/target.ts";
import { openTargets } from "../activities/targets.ts";
import type { HoldfastConfig } from "../contracts/config.ts";
import { targetTaskQueue } from "../contracts/task-queues.ts";
import type { Db } from "../db/pool.ts";
import { ensureTarget } from "../db/targets.ts";

export interface TargetWorkers {
  workers: Worker[];
  stop(): Promise<void>;
}

/** For each target of the configuration a task queue of its own, and somebody who knows its branch. */
export async function targetWorkers(
  {
    db,
    config,
    log,
    draining,
  }: { db: Db; config: HoldfastConfig; log: Logger; draining: AbortSignal },
  common: Omit<WorkerOptions, "taskQueue">,
): Promise<TargetWorkers> {
  const targets = openTargets(config);
  const branches: DefaultBranch[] = [];
  const workers: Worker[] = [];
  for (const [name, target] of targets) {
    const { concurrency } = target.settings;
    await db.transaction((tx) => ensureTarget(tx, name, concurrency));
    const branch = new DefaultBranch({ db, name, target, log });
    branch.start();
    branches.push(branch);
    const { ratePerSecond } = target.settings;
    workers.push(
      await Worker.create({
        ...common,
        taskQueue: targetTaskQueue(`target-${name}`),
        activities: targetActivities({ db, config, name, target, log, draining }),
        maxConcurrentActivityTaskExecutions: concurrency,
        ...(ratePerSecond > 0 && { maxTaskQueueActivitiesPerSecond: ratePerSecond }),
      }),
    );
  }
  return {
    workers,
    async stop() {
      await Promise.all(branches.map((branch) => branch.stop()));
      await Promise.all([...targets.values()].map((target) => target.close()));
    },
  };
}
