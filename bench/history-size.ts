import { Client, Connection } from "@temporalio/client";
import { operationWorkflowId } from "../contracts/ids.ts";
import { DEFAULT_TENANT } from "../contracts/operation.ts";
import type { Stack } from "../dev/stack.ts";

export interface HistorySize {
  /** Of the operation's workflow and its children. */
  events: number;
  largestPayload: number;
}

/** The real histories of a retain operation, as Temporal holds them. */
export function historyOf(stack: Stack, operationId: string): Promise<HistorySize> {
  return historyOfRun(stack, "retain", operationId);
}

/** The same of the first generation of an operation of any kind. */
export async function historyOfRun(
  stack: Stack,
  kind: string,
  operationId: string,
): Promise<HistorySize> {
  const connection = await Connection.connect({ address: stack.temporalAddress });
  try {
    const client = new Client({ connection, namespace: stack.namespace });
    const parent = await eventsOf(client, workflowIdOf(kind, operationId));
    const children = parent.flatMap(
      (event) => event.startChildWorkflowExecutionInitiatedEventAttributes?.workflowId ?? [],
    );
    const events = [...parent];
    for (const child of children) events.push(...(await eventsOf(client, child)));
    return { events: events.length, largestPayload: Math.max(...events.flatMap(payloadSizes)) };
  } finally {
    await connection.close();
  }
}

function workflowIdOf(kind: string, id: string): string {
  return operationWorkflowId({ kind, tenant: DEFAULT_TENANT, id, generation: 1 });
}

async function eventsOf(client: Client, workflowId: string) {
  const { events } = await client.workflow.getHandle(workflowId).fetchHistory();
  if (events?.[0]?.workflowExecutionStartedEventAttributes?.continuedExecutionRunId) {
    throw new Error(`${workflowId} went on in another run: earlier events are not in this history`);
  }
  return events ?? [];
}

/** Payloads wherever they stand in an event: arguments, results, details, failures. */
function payloadSizes(value: unknown): number[] {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return [];
  const { data, metadata } = value as { data?: unknown; metadata?: unknown };
  if (data instanceof Uint8Array && metadata) return [data.length];
  return Object.values(value).flatMap(payloadSizes);
}
