import type { Client } from "@temporalio/client";
import pLimit from "p-limit";
import { operationWorkflowId } from "../contracts/ids.ts";
import { someRunning, type RunningRow } from "../db/doctor/workflow-rows.ts";
import type { Db } from "../db/pool.ts";
import { describeWorkflow, type WorkflowSight } from "./describe-workflow.ts";

/** Workflows described in one look; a look at more sees a part of them, another one each time. */
const MOST_DESCRIBED = 1_000;
const CONCURRENCY = 8;

/** What the checks of one look see of Temporal: each workflow is described once, and at most so many. */
export class Sights {
  readonly db: Db;
  readonly client: Client;
  readonly #limit = pLimit(CONCURRENCY);
  readonly #seen = new Map<string, Promise<WorkflowSight>>();
  #running: Promise<RunningRow[]> | undefined;

  constructor(db: Db, client: Client) {
    this.db = db;
    this.client = client;
  }

  /** Running operations, each with its workflow. */
  async running(): Promise<{ row: RunningRow; workflowId: string; sight: WorkflowSight }[]> {
    this.#running ??= someRunning(this.db, MOST_DESCRIBED);
    const rows = await this.#running;
    return Promise.all(
      rows.map(async (row) => {
        const workflowId = operationWorkflowId(row);
        return { row, workflowId, sight: await this.of(workflowId) };
      }),
    );
  }

  of(workflowId: string): Promise<WorkflowSight> {
    const seen =
      this.#seen.get(workflowId) ?? this.#limit(() => describeWorkflow(this.client, workflowId));
    this.#seen.set(workflowId, seen);
    return seen;
  }

  /** The first of some workflows, as many as this look may still describe. */
  async ofSome(workflowIds: readonly string[]): Promise<{ id: string; sight: WorkflowSight }[]> {
    const some = workflowIds.slice(0, Math.max(0, MOST_DESCRIBED - this.#seen.size));
    return Promise.all(some.map(async (id) => ({ id, sight: await this.of(id) })));
  }
}
