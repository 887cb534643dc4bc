/**
 * Ids that cross a process boundary, made and taken apart here and nowhere else. Zod-free, so that
 * workflow code may use it.
 */

export interface OperationKey {
  kind: string;
  tenant: string;
  id: string;
  generation: number;
}

/** Temporal on Postgres stores 255 characters of a workflow id; we stay under 200 bytes. */
const MAX_WORKFLOW_ID_BYTES = 200;

/** `kind/tenant/id/generation`, the workflow that keeps the promise of one operation row. */
export function operationWorkflowId({ kind, tenant, id, generation }: OperationKey): string {
  return `${kind}/${shortTenant(tenant)}/${id}/${generation}`;
}

/** A child of an operation workflow that owns one range. */
export function rangeWorkflowId(parent: string, range: number): string {
  return `${parent}/range-${range}`;
}

/** A standing workflow, `drain/queue/lane`. */
export function drainWorkflowId(queue: string, lane: number): string {
  return `drain/${queue}/${lane}`;
}

/** The workflow that empties a queue: targets outside share one, each with a queue of its own. */
export function drainWorkflowType(queue: string): string {
  return queue.startsWith("target-") ? "target" : queue;
}

/** The inverse of `operationWorkflowId`; undefined for any other workflow. */
export function parseOperationWorkflowId(workflowId: string): OperationKey | undefined {
  const match =
    /^([a-z]+)\/([^/]+)\/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\/(\d+)$/.exec(
      workflowId,
    );
  if (!match) return undefined;
  const [, kind, tenant, id, generation] = match;
  return { kind: kind!, tenant: tenant!, id: id!, generation: Number(generation) };
}

// Tenants are up to 100 bytes (contracts/operation.ts) of a safe alphabet, so the id fits as it is.
function shortTenant(tenant: string): string {
  if (tenant.length > MAX_WORKFLOW_ID_BYTES - 80) throw new Error(`tenant too long: ${tenant}`);
  return tenant;
}
