import { createHash } from "node:crypto";
import {
  ServiceError,
  WorkflowExecutionAlreadyStartedError,
  type Client,
  type Connection,
} from "@temporalio/client";
import {
  defineSearchAttributeKey,
  SearchAttributeType,
  TypedSearchAttributes,
  type SearchAttributePair,
} from "@temporalio/common";
import { operationWorkflowId } from "../contracts/ids.ts";
import type { OperationRef } from "../contracts/messages.ts";
import { CONTROL_QUEUE } from "../contracts/task-queues.ts";
import { boundedCall } from "./bounded-call.ts";

/**
 * The one way an operation's workflow is started: by the relay for an accepted row, by the doctor for
 * a running row that lost its workflow.
 */

/** What of an operation row a start needs. */
export interface Startable {
  kind: string;
  id: string;
  tenant: string;
  scope: string;
  generation: number;
  /** Items in the whole operation. */
  total: number;
  /** 1 (first) to 5. */
  priority: number;
  trace: string | null;
}

/** The workflow type that keeps operations of a kind. */
export const WORKFLOW_TYPES: Record<string, string> = {
  retain: "retainBatch",
  plan: "planApply",
  review: "reviewMany",
  reindex: "reindex",
  job: "runJob",
  count: "countBacklog",
  clear: "clearBacklog",
};

/**
 * Starts the workflow of a row's generation, unless it is open: a repeat is harmless. A closed one of
 * the same id does not stand in the way, because `begin` decides by the row.
 * Answers within about 7 s.
 * @throws what Temporal answers, or that it does not; the caller comes again.
 */
export async function startOperationWorkflow(
  client: Client,
  row: Startable,
): Promise<"started" | "already"> {
  const attributes = await searchAttributesOf(client, row);
  try {
    return await boundedCall(client, 5_000, () => start(client, row, attributes));
  } catch (error) {
    if (attributes.length === 0 || !refusesAttributes(error)) throw error;
    // Somebody removed an attribute from the namespace since it was asked for.
    known.delete(client);
    return boundedCall(client, 5_000, () => start(client, row, []));
  }
}

async function start(
  client: Client,
  row: Startable,
  attributes: SearchAttributePair[],
): Promise<"started" | "already"> {
  const workflowType = WORKFLOW_TYPES[row.kind];
  if (!workflowType) throw new Error(`no workflow keeps operations of kind "${row.kind}"`);
  const { trace, kind, id, tenant, scope, generation, total, priority } = row;
  const ref: OperationRef = {
    kind,
    id,
    tenant,
    scope,
    generation,
    total,
    priority,
    ...(trace === null ? {} : { trace }),
  };
  try {
    await client.workflow.start(workflowType, {
      taskQueue: CONTROL_QUEUE,
      workflowId: operationWorkflowId(row),
      workflowIdReusePolicy: "ALLOW_DUPLICATE",
      // An open one is left as it is. "Use existing" would do the same, but the client could not
      // tell its caller which of the two it was.
      workflowIdConflictPolicy: "FAIL",
      args: [ref],
      staticSummary: summaryOf(row),
      priority: { priorityKey: priority, fairnessKey: fairnessKey(tenant, scope) },
      ...(attributes.length > 0 && {
        typedSearchAttributes: new TypedSearchAttributes(attributes),
      }),
    });
    return "started";
  } catch (error) {
    if (error instanceof WorkflowExecutionAlreadyStartedError) return "already";
    throw error;
  }
}

function summaryOf({ kind, total, scope }: Startable): string {
  // A job is alone in its scope, which is its id.
  const place = kind === "retain" ? `into bank ${scope}` : kind !== "job" && scope && `in ${scope}`;
  const items = `${total.toLocaleString("en-US")} ${total === 1 ? "item" : "items"}`;
  return [kind, items, place].filter(Boolean).join(" ").slice(0, 200);
}

/** Temporal takes at most 64 bytes: a longer key keeps its beginning and a digest of the whole. */
export function fairnessKey(tenant: string, scope: string): string {
  const key = `${tenant}/${scope}`;
  if (Buffer.byteLength(key) <= 64) return key;
  return `${tenant.slice(0, 31)}#${createHash("sha256").update(key).digest("hex").slice(0, 32)}`;
}

// Searching by these is a convenience of the Temporal UI; nothing of ours depends on it.
const ATTRIBUTES = (["HoldfastTenant", "HoldfastKind", "HoldfastScope"] as const).map((name) =>
  defineSearchAttributeKey(name, SearchAttributeType.KEYWORD),
);
const known = new WeakMap<Client, Promise<ReadonlySet<string>>>();

/** The attributes of a row that its namespace has; asked once per client, none when that fails. */
async function searchAttributesOf(client: Client, row: Startable): Promise<SearchAttributePair[]> {
  let asked = known.get(client);
  if (!asked) {
    asked = registeredAttributes(client);
    known.set(client, asked);
    asked.catch(() => known.delete(client));
  }
  const registered = await asked.catch(() => new Set<string>());
  const [tenant, kind, scope] = [row.tenant, row.kind, row.scope];
  // Temporal on SQL stores keyword attributes in 255 characters.
  const values = [tenant, kind, [...scope].slice(0, 255).join("")];
  return ATTRIBUTES.map((key, index) => ({ key, value: values[index]! })).filter(
    ({ key, value }) => value !== "" && registered.has(key.name),
  );
}

async function registeredAttributes(client: Client): Promise<ReadonlySet<string>> {
  const connection = client.connection as Partial<Connection>;
  if (!connection.operatorService) return new Set();
  const { operatorService } = connection;
  const { customAttributes } = await boundedCall(client, 2_000, () =>
    operatorService.listSearchAttributes({ namespace: client.options.namespace }),
  );
  return new Set(Object.keys(customAttributes));
}

function refusesAttributes(error: unknown): boolean {
  const cause = error instanceof ServiceError ? error.cause : error;
  return cause instanceof Error && /search attribute/i.test(cause.message);
}
