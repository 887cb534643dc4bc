import type { ActivityOptions } from "@temporalio/workflow";
import { CONTROL_QUEUE, JOB_QUEUE, WORK_QUEUE } from "../contracts/task-queues.ts";

/**
 * Retry classes, by what a repeat may do. Infrastructure faults are retried without limit, at most
 * 30 s apart; domain faults never reach Temporal's retries, they are counted on the item.
 */
const untilItWorks = {
  initialInterval: 200,
  backoffCoefficient: 2,
  maximumInterval: 30_000,
} as const;

/** A small transaction that finds its own work done when it is repeated. */
export const repeatableWrites: ActivityOptions = {
  taskQueue: CONTROL_QUEUE,
  startToCloseTimeout: 60_000,
  // A worker that dies in it costs this, and then the wait for its sticky queue.
  heartbeatTimeout: 5_000,
  retry: untilItWorks,
};

/** The same where its statements may go over all items, each for minutes (`OVER_ALL_ITEMS`). */
export const repeatableLongWrites: ActivityOptions = {
  ...repeatableWrites,
  startToCloseTimeout: 1_800_000,
};

/**
 * Long work in pages, each settled in a transaction of its own; a dead worker is noticed by its
 * missing heartbeat. The bound on one call is far above the slice it works.
 */
export const pagedWork: ActivityOptions = {
  taskQueue: WORK_QUEUE,
  startToCloseTimeout: 3_600_000,
  heartbeatTimeout: 6_000,
  retry: untilItWorks,
};

/** The same, for work that must stay prompt while ranges keep the work queue busy. */
export const pagedControl: ActivityOptions = { ...pagedWork, taskQueue: CONTROL_QUEUE };

/**
 * The same, for work whose one step may take as long as a plug-in is allowed: a day and its slice. On
 * a queue of its own, for steps that long would leave no slot to pages.
 */
export const pagedLongWork: ActivityOptions = {
  ...pagedWork,
  taskQueue: JOB_QUEUE,
  startToCloseTimeout: 90_000_000,
};
