import { ApplicationFailure, condition, patched } from "@temporalio/workflow";
import type { OperationRef } from "../../contracts/messages.ts";

/** Stands in for real operations: stays open, or breaks as its scope says. */
export async function retainBatch({ scope }: OperationRef): Promise<void> {
  patched("any-workflow-needs-a-first-command");
  if (scope === "throws") throw new Error("this version cannot go on");
  if (scope === "fails") throw ApplicationFailure.nonRetryable("out of luck");
  await condition(() => false);
}

export { examineNow } from "../../workflows/doctor.ts";
