import { proxyActivities } from "@temporalio/workflow";
import type { jobActivities } from "../activities/job.ts";
import type { jobControlActivities } from "../activities/job-look.ts";
import type { OperationRef, WorkReport } from "../contracts/messages.ts";
import { operation } from "./operation.ts";
import { pagedLongWork, repeatableLongWrites } from "./policies.ts";

const { beginJob, lookAtJob } =
  proxyActivities<ReturnType<typeof jobControlActivities>>(repeatableLongWrites);
const { workJob } = proxyActivities<ReturnType<typeof jobActivities>>(pagedLongWork);

/**
 * A job: its items are worked by whoever claims them, so this mostly waits. The relay wakes it at the
 * last result; it looks now and then for what nobody would tell it. What our own workers have to do
 * for it, collecting and processing, is done in lanes after a look that saw something to do.
 */
export const runJob = operation({ begin: beginJob, range: lookAndWork });

async function lookAndWork(ref: OperationRef): Promise<WorkReport> {
  const { lanes, ...look } = await lookAtJob(ref);
  if (look.complete || look.stop || lanes === 0) return look;
  const reports = await Promise.all(
    Array.from({ length: lanes }, (_, index) => workJob(ref, index + 1)),
  );
  const done = reports.reduce((sum, report) => sum + report.done, 0);
  const stop = reports.map((report) => report.stop).find(Boolean);
  const waiting = reports.filter((report) => report.nextDueAt !== undefined);
  // A lane that was handed back, or came to an end of what there was, is followed by a look at once.
  const nextDueAt =
    waiting.length === reports.length && Math.min(...waiting.map((report) => report.nextDueAt!));
  const waitsFor = waiting.map((report) => report.waitsFor).find(Boolean);
  return {
    done,
    complete: false,
    ...(stop && { stop }),
    ...(nextDueAt && { nextDueAt }),
    ...(waitsFor && { waitsFor }),
  };
}
