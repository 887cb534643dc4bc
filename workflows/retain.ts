import { executeChild, proxyActivities, workflowInfo } from "@temporalio/workflow";
import type { retainActivities } from "../activities/retain.ts";
import { rangeWorkflowId } from "../contracts/ids.ts";
import type { BatchRange, OperationRef, WorkReport } from "../contracts/messages.ts";
import { operation } from "./operation.ts";
import { pagedWork } from "./policies.ts";

const { retainWhole, retainPages } =
  proxyActivities<ReturnType<typeof retainActivities>>(pagedWork);

/** A batch of documents into a bank: small ones in one activity, others by a child per range. */
export const retainBatch = operation({
  smallest: { items: 500, run: (ref) => retainWhole(ref) },
  range: (ref, range) =>
    executeChild(retainRange, {
      workflowId: rangeWorkflowId(workflowInfo().workflowId, range.no),
      args: [ref, range],
      staticSummary: `sub-batches ${range.from} to ${range.to}`,
    }),
});

/** One range of sub-batches, until nothing in it is due. */
export async function retainRange(ref: OperationRef, range: BatchRange): Promise<WorkReport> {
  let done = 0;
  for (;;) {
    const report = await retainPages(ref, range);
    done += report.done;
    const goesOn = !report.complete && !report.stop && (report.nextDueAt ?? 0) <= Date.now();
    // A long history goes back to the parent, which hands out what is left as a new run.
    if (!goesOn || workflowInfo().continueAsNewSuggested) return { ...report, done };
  }
}
