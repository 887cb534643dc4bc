import { Client, Connection } from "@temporalio/client";
import { INDEX_QUEUE } from "../db/index-marks.ts";
import type { Stack } from "../dev/stack.ts";

/** What Temporal was asked to do for the drain of search, as its histories tell. */
export interface Wakes {
  /** Starts and signals. */
  wakes: number;
  activities: number;
}

export async function wakesOf(stack: Stack): Promise<Wakes> {
  const connection = await Connection.connect({ address: stack.temporalAddress });
  try {
    const { workflow } = new Client({ connection, namespace: stack.namespace });
    const wakes: Wakes = { wakes: 0, activities: 0 };
    for await (const run of workflow.list({ query: `WorkflowType = '${INDEX_QUEUE}'` })) {
      const { events } = await workflow.getHandle(run.workflowId, run.runId).fetchHistory();
      for (const event of events ?? []) {
        if (event.workflowExecutionStartedEventAttributes) wakes.wakes++;
        else if (event.workflowExecutionSignaledEventAttributes) wakes.wakes++;
        else if (event.activityTaskScheduledEventAttributes) wakes.activities++;
      }
    }
    return wakes;
  } finally {
    await connection.close();
  }
}
