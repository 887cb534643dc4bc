import { WorkflowFailedError, WorkflowNotFoundError, type Client } from "@temporalio/client";
import { boundedCall } from "./bounded-call.ts";

/** One workflow as the doctor sees it: by id, never from a list, which lags behind. */
export interface WorkflowSight {
  /** `missing`: Temporal knows no execution of this id. */
  status: "open" | "closed" | "missing";
  /** In words, for findings: `terminated`, `failed: out of memory`. */
  how: string;
  /** Attempts at the pending workflow task; 0 when none is pending. */
  taskAttempts: number;
  /** Ids of children that are open. */
  children: string[];
}

const ANSWER_MS = 5_000;

/** @throws when Temporal cannot be reached */
export async function describeWorkflow(client: Client, workflowId: string): Promise<WorkflowSight> {
  const handle = client.workflow.getHandle(workflowId);
  try {
    const described = await boundedCall(client, ANSWER_MS, () => handle.describe());
    const { pendingWorkflowTask, pendingChildren } = described.raw;
    return {
      status: described.status.name === "RUNNING" ? "open" : "closed",
      how: described.status.name.toLowerCase().replaceAll("_", " "),
      taskAttempts: pendingWorkflowTask?.attempt ?? 0,
      children: (pendingChildren ?? []).map((child) => child.workflowId ?? ""),
    };
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) {
      return { status: "missing", how: "not known to Temporal", taskAttempts: 0, children: [] };
    }
    throw error;
  }
}

/** What a failed workflow failed with. */
export async function failureOf(client: Client, workflowId: string): Promise<string> {
  try {
    await boundedCall(client, ANSWER_MS, () => client.workflow.getHandle(workflowId).result());
    return "no failure";
  } catch (error) {
    if (!(error instanceof WorkflowFailedError)) return "its failure cannot be read";
    let cause: Error = error;
    while (cause.cause instanceof Error) cause = cause.cause;
    return cause.message;
  }
}
