import { proxyActivities } from "@temporalio/workflow";
import type { targetActivities } from "../activities/target.ts";
import type { DrainRef } from "../contracts/messages.ts";
import { targetTaskQueue } from "../contracts/task-queues.ts";
import { drain } from "./drain.ts";
import { pagedWork } from "./policies.ts";

/** Plans and applies what is due for one target outside, lane by lane, on the target's own task queue. */
export async function target(ref: DrainRef): Promise<void> {
  const { drainTarget } = proxyActivities<ReturnType<typeof targetActivities>>({
    ...pagedWork,
    taskQueue: targetTaskQueue(ref.queue),
  });
  return drain((ref) => drainTarget(ref))(ref);
}
