import { sleep } from "@temporalio/workflow";

/** Two versions of a workflow: what the first did, the second would do otherwise. */
export async function nap(): Promise<string> {
  await sleep(10);
  return "rested";
}
