import { ApplicationFailure } from "@temporalio/workflow";

export async function nap(): Promise<string> {
  throw ApplicationFailure.nonRetryable("no rest for this version");
}
