import type { Client } from "@temporalio/client";
import { WorkflowNotFoundError } from "@temporalio/client";
import { operationWorkflowId } from "../../contracts/ids.ts";
import type { Db, Queryable } from "../../db/pool.ts";
import { until } from "../../dev/until.ts";
import { jobVerdict } from "../../domain/job.ts";
import { verdictOf } from "../../domain/verdict.ts";
import { RULES, TERMINAL } from "./invariant-rules.ts";
import { factsDiffer } from "./re-extraction.ts";

/**
 * What must be true of the database whatever was killed, written apart from the product's own doctor:
 * plain SQL over all rows, no limits, no repair.
 */

export interface CheckOptions {
  /** Asked whether running operations have an open workflow; absent: not looked at. */
  client?: Client;
  /** True when no operation may be open any more. Default true. */
  settled?: boolean;
  /** Facts are compared with what the default extractor finds. Default true. */
  reExtract?: boolean;
}

/** Each violated invariant in one line; empty when all hold. */
export async function checkInvariants(db: Db, options: CheckOptions = {}): Promise<string[]> {
  const { client, settled = true, reExtract = true } = options;
  const violations = await db.transaction(
    async (tx) => {
      const found: string[] = [];
      for (const [name, sql] of Object.entries(RULES)) {
        const { rows } = await tx.query<{ what: string }>(sql);
        found.push(...rows.map(({ what }) => `${name}: ${what}`));
      }
      if (settled) found.push(...(await stillOpen(tx)));
      found.push(...(await verdictsDiffer(tx)));
      if (reExtract) found.push(...(await factsDiffer(tx)));
      return found;
    },
    { readOnly: true, repeatableRead: true, statementTimeoutMs: 120_000 },
  );
  if (client) violations.push(...(await workflowsLost(db, client)));
  return violations;
}

async function stillOpen(tx: Queryable): Promise<string[]> {
  const { rows } = await tx.query<{ id: string; state: string }>(
    "select id, state from holdfast.operations where state in ('accepted', 'running')",
  );
  return rows.map(({ id, state }) => `every operation has ended: ${id} is ${state}`);
}

async function verdictsDiffer(tx: Queryable): Promise<string[]> {
  const { rows } = await tx.query<{
    id: string;
    state: string;
    result: Record<string, number>;
    asked: boolean;
    total: number;
    most: number | null;
  }>(
    `select id, state, result, total, cancel_requested_at is not null as asked,
            j.max_failed_share as most
       from holdfast.operations op
       left join holdfast.jobs j on j.operation_id = op.id
      where ${TERMINAL} and (j.collector is null or j.collected_at is not null)`,
  );
  return rows.flatMap(({ id, state, result, asked, total, most }) => {
    const settled = Object.values(result).reduce((sum, n) => sum + n, 0);
    if (settled !== total) return [`outcomes add up: ${id} has ${settled} of ${total}`];
    const cancelled = asked || state === "cancelled";
    const verdict =
      most === null ? verdictOf(result, cancelled) : jobVerdict(result, most, cancelled);
    return verdict.state === state
      ? []
      : [`the state follows from the ledger: ${id} is ${state}, the ledger says ${verdict.state}`];
  });
}

/** Longest a workflow may take to open after its row says running, or the row to end after it. */
const AGREE_WITHIN_MS = 10_000;

async function workflowsLost(db: Db, client: Client): Promise<string[]> {
  const lost = async () => {
    const { rows } = await db.query<{
      id: string;
      kind: string;
      tenant: string;
      generation: number;
    }>("select id, kind, tenant, generation from holdfast.operations where state = 'running'");
    const open = await Promise.all(
      rows.map((row) => isWorkflowOpen(client, operationWorkflowId(row))),
    );
    return rows
      .filter((_, index) => !open[index])
      .map(
        (row) => `a running operation has an open workflow: ${operationWorkflowId(row)} has not`,
      );
  };
  let found: string[] = [];
  const agreed = async () => (found = await lost()).length === 0;
  await until(agreed, AGREE_WITHIN_MS, () => "rows and workflows disagree", 250).catch(() => {});
  return found;
}

async function isWorkflowOpen(client: Client, workflowId: string): Promise<boolean> {
  try {
    const { status } = await client.workflow.getHandle(workflowId).describe();
    return status.name === "RUNNING";
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false;
    throw error;
  }
}
