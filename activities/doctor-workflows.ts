import type { Client } from "@temporalio/client";
import {
  drainWorkflowId,
  operationWorkflowId,
  parseOperationWorkflowId,
} from "../contracts/ids.ts";
import { CONTROL_QUEUE, JOB_QUEUE, WORK_QUEUE } from "../contracts/task-queues.ts";
import type { Check, Found } from "../db/doctor.ts";
import { MOST_SUBJECTS } from "../db/doctor/check.ts";
import {
  countRestart,
  failLost,
  findRunning,
  hasOpenWork,
  listDrains,
  logAdoption,
  MAX_RESTARTS,
  statesOf,
  type RunningRow,
  uncountRestart,
} from "../db/doctor/workflow-rows.ts";
import type { Db } from "../db/pool.ts";
import { boundedCall } from "./bounded-call.ts";
import { describeWorkflow, failureOf, type WorkflowSight } from "./describe-workflow.ts";
import type { Sights } from "./doctor-sights.ts";
import { startOperationWorkflow, WORKFLOW_TYPES } from "./start-operation.ts";
import { installationOf } from "../db/installation.ts";
import { assertOwned } from "./namespace-owner.ts";

/** Invariants between rows and workflows. Workflows are described by id; lists are only hints. */

export interface TemporalDeps {
  db: Db;
  client: Client;
  sights: Sights;
}
export type TemporalCheck = Check<TemporalDeps>;

const operationSubject = (id: string) => `operation ${id}`;

const workflowLost: TemporalCheck = {
  name: "workflow-lost",
  explanation: "a running operation has an open workflow",
  async find({ db, client, sights }) {
    const found: Found[] = [];
    for (const { row, workflowId, sight } of await sights.running()) {
      if (sight.status === "open" || found.length === MOST_SUBJECTS) continue;
      // A workflow closes after its row is terminal, so a row that still runs now has lost it.
      if (!(await findRunning(db, row.id, row.generation))) continue;
      const why = await whyLost(client, workflowId, sight);
      found.push({
        subject: operationSubject(row.id),
        tenant: row.tenant,
        operationId: row.id,
        message: `${row.kind} of ${row.tenant} is running, but its workflow ${workflowId} is ${why}`,
        repair:
          row.restarts < MAX_RESTARTS
            ? `start generation ${row.generation} again (restart ${row.restarts + 1} of ${MAX_RESTARTS})`
            : "fail it: its workflow was lost too often",
      });
    }
    return found;
  },
  async repair({ db, client }, { operationId }) {
    const before = await findRunning(db, operationId!);
    if (!before) return undefined;
    const workflowId = operationWorkflowId(before);
    const sight = await describeWorkflow(client, workflowId);
    const row = await findRunning(db, before.id, before.generation);
    if (sight.status === "open" || !row) return undefined;
    // What we described is what it was before somebody else adopted it.
    if (row.restarts !== before.restarts) return undefined;
    return adopt(db, client, row, await whyLost(client, workflowId, sight));
  },
};

async function adopt(
  db: Db,
  client: Client,
  row: RunningRow,
  why: string,
): Promise<string | undefined> {
  if (row.restarts >= MAX_RESTARTS) {
    return (await failLost(db, row, why)) ? "failed it" : undefined;
  }
  // Counted first, so that one that kills whoever starts it is given up in the end.
  if (!(await countRestart(db, row))) return undefined;
  if ((await startOperationWorkflow(client, row)) === "already") {
    await uncountRestart(db, row);
    return undefined;
  }
  await logAdoption(db, row, `its workflow is ${why}`);
  return `started generation ${row.generation} again`;
}

async function whyLost(client: Client, workflowId: string, sight: WorkflowSight): Promise<string> {
  if (sight.how !== "failed") return sight.how;
  return `failed: ${await failureOf(client, workflowId)}`;
}

const workflowWithoutRow: TemporalCheck = {
  name: "workflow-without-row",
  explanation: "an open operation workflow has a row that needs it",
  // A workflow closes a moment after its row.
  confirmAfterMs: 3_000,
  async find({ db, client, sights }) {
    await assertOwned(client, await installationOf(db));
    const suspects = await unneeded(db, await listOpenOperations(client));
    const seen = await sights.ofSome([...suspects.keys()].slice(0, MOST_SUBJECTS));
    const open = seen.filter(({ sight }) => sight.status === "open").map(({ id }) => id);
    return [...(await unneeded(db, open))].map(([workflowId, why]) => ({
      subject: `workflow ${workflowId}`,
      message: `workflow ${workflowId} is open, and ${why}`,
      tenant: parseOperationWorkflowId(workflowId)!.tenant,
      operationId: parseOperationWorkflowId(workflowId)!.id,
      repair: "terminate it",
    }));
  },
  async repair({ db, client }, { subject }) {
    const workflowId = subject.slice("workflow ".length);
    const why = (await unneeded(db, [workflowId])).get(workflowId);
    if (!why || (await describeWorkflow(client, workflowId)).status !== "open") return undefined;
    await boundedCall(client, 5_000, () =>
      client.workflow.getHandle(workflowId).terminate(`doctor: ${why}`),
    );
    return "terminated it";
  },
};

const MOST_LISTED = 2_000;

async function listOpenOperations(client: Client): Promise<string[]> {
  const types = Object.values(WORKFLOW_TYPES).map((type) => `"${type}"`);
  const query = `ExecutionStatus = "Running" and WorkflowType in (${types.join(", ")})`;
  const ids: string[] = [];
  for await (const { workflowId } of client.workflow.list({ query, pageSize: 500 })) {
    if (parseOperationWorkflowId(workflowId)) ids.push(workflowId);
    if (ids.length === MOST_LISTED) break;
  }
  return ids;
}

/** Workflow ids that no row needs, each with the reason. */
async function unneeded(db: Db, workflowIds: readonly string[]): Promise<Map<string, string>> {
  const keys = workflowIds.map((id) => ({ workflowId: id, key: parseOperationWorkflowId(id)! }));
  const states = await statesOf(
    db,
    keys.map(({ key }) => key.id),
  );
  const byId = new Map(states.map((state) => [state.id, state]));
  const reasons = keys.map(({ workflowId, key }): [string, string] | undefined => {
    const row = byId.get(key.id);
    if (!row) return [workflowId, "there is no such operation"];
    if (row.generation !== key.generation) {
      return [workflowId, `its operation is at generation ${row.generation}`];
    }
    return row.long_finished ? [workflowId, `its operation is ${row.state}`] : undefined;
  });
  return new Map(reasons.filter((reason) => reason !== undefined));
}

const workflowTaskFailing: TemporalCheck = {
  name: "workflow-task-failing",
  explanation: "no workflow task fails again and again",
  async find({ db, sights }, { workflowTaskAttempts }) {
    const running = await sights.running();
    const others = [
      ...(await listDrains(db)).map(({ queue, lane }) => drainWorkflowId(queue, lane)),
      ...running.flatMap(({ sight }) => sight.children),
    ];
    const ofOperation = new Map(running.map(({ workflowId, row }) => [workflowId, row]));
    const seen = [
      ...running.map(({ workflowId, sight }) => ({ id: workflowId, sight })),
      ...(await sights.ofSome(others)),
    ];
    return seen
      .filter(({ sight }) => sight.status === "open" && sight.taskAttempts > workflowTaskAttempts)
      .slice(0, MOST_SUBJECTS)
      .map(({ id, sight }): Found => {
        const row = ofOperation.get(id);
        return {
          subject: `workflow ${id}`,
          message:
            `the workflow task of ${id} is at attempt ${sight.taskAttempts}: this version of the ` +
            `code cannot go on with its history. See where with "holdfast replay ${id}", deploy a ` +
            "fixed worker, or terminate the workflow and the doctor starts it again from its rows",
          ...(row && { tenant: row.tenant, operationId: row.id }),
        };
      });
  },
};

// A poller renews its long poll every minute.
const POLLER_BOUND_MS = 90_000;
const WORKFLOW_TASKS = 1;
const ACTIVITY_TASKS = 2;

const queueWithoutPoller: TemporalCheck = {
  name: "queue-without-poller",
  explanation: "a task queue with work has a poller",
  confirmAfterMs: 5_000,
  async find({ db, client }) {
    if (!(await hasOpenWork(db))) return [];
    const queues = [
      { name: CONTROL_QUEUE, type: WORKFLOW_TASKS, tasks: "workflow tasks" },
      { name: CONTROL_QUEUE, type: ACTIVITY_TASKS, tasks: "activities" },
      { name: WORK_QUEUE, type: ACTIVITY_TASKS, tasks: "activities" },
      { name: JOB_QUEUE, type: ACTIVITY_TASKS, tasks: "activities" },
    ];
    const polled = await Promise.all(queues.map(({ name, type }) => hasPoller(client, name, type)));
    return queues
      .filter((_, index) => !polled[index])
      .map(({ name, tasks }) => ({
        subject: `queue ${name}, ${tasks}`,
        message: `operations are running, and no worker asks for the ${tasks} of ${name}: start "holdfast worker"`,
      }));
  },
};

async function hasPoller(client: Client, name: string, taskQueueType: number): Promise<boolean> {
  const { pollers } = await boundedCall(client, 5_000, () =>
    client.workflowService.describeTaskQueue({
      namespace: client.options.namespace,
      taskQueue: { name },
      taskQueueType,
    }),
  );
  return pollers.some(
    ({ lastAccessTime }) => Number(lastAccessTime?.seconds) * 1_000 > Date.now() - POLLER_BOUND_MS,
  );
}

export const TEMPORAL_CHECKS: readonly TemporalCheck[] = [
  workflowLost,
  workflowWithoutRow,
  workflowTaskFailing,
  queueWithoutPoller,
];
