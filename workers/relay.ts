import { WorkflowNotFoundError, type Client } from "@temporalio/client";
import type { Logger } from "pino";
import { startOperationWorkflow } from "../activities/start-operation.ts";
import { drainWorkflowId, drainWorkflowType, operationWorkflowId } from "../contracts/ids.ts";
import { WAKE_SIGNAL, type DrainRef } from "../contracts/messages.ts";
import { CONTROL_QUEUE } from "../contracts/task-queues.ts";
import type { Db } from "../db/pool.ts";
import {
  claimDrainsToWake,
  claimForRelay,
  clearWakes,
  FIRST_TURN,
  hasSomethingToTell,
  type Claimed,
  type RelayLimits,
  type Turn,
} from "../db/relay.ts";
import { loop, type Loop } from "./loop.ts";

export interface RelayOptions {
  db: Db;
  client: Client;
  log: Logger;
  limits: RelayLimits;
}

const BUSY_MS = 250;
const IDLE_MS = 1_000;
/** Calls to Temporal at once. */
const CONCURRENCY = 16;

/**
 * The only bridge from rows to workflows: start, wake, cancel. A claim is committed before the call;
 * what the call did not reach is claimed again after its back-off.
 */
export function startRelay({ db, client, log, limits }: RelayOptions): Loop {
  let turn = FIRST_TURN;
  return loop("relay", log, async () => {
    if (!(await hasSomethingToTell(db))) return IDLE_MS;
    let claimed = await claimForRelay(db, limits, turn);
    if (turn !== FIRST_TURN && !claimed.some(isStart)) {
      claimed = [...claimed, ...(await claimForRelay(db, limits))];
    }
    turn = lastServed(claimed);
    const drains = await claimDrainsToWake(db);
    const heard: Claimed[] = [];
    const calls = [
      ...claimed.map((row) => async () => {
        if ((await tell(client, row)) && row.verb === "wake") heard.push(row);
      }),
      ...drains.map((drain) => () => wakeDrain(client, drain)),
    ];
    const failures = await inLanes(calls);
    if (heard.length > 0) await clearWakes(db, heard);
    if (failures.length > 0) throw failures[0];
    return calls.length > 0 ? BUSY_MS : IDLE_MS;
  });
}

function isStart(row: Claimed): boolean {
  return row.verb === "start";
}

// The next round goes on after the last scope of this one; with nothing to start, from the first.
function lastServed(claimed: readonly Claimed[]): Turn {
  return claimed
    .filter(isStart)
    .reduce<Turn>((last, row) => (isAfter(row, last) ? row : last), FIRST_TURN);
}

function isAfter(a: Turn, b: Turn): boolean {
  return a.tenant === b.tenant ? a.scope > b.scope : a.tenant > b.tenant;
}

/** True when Temporal has taken it: from then on it is the workflow's, whoever dies. */
async function tell(client: Client, row: Claimed): Promise<boolean> {
  const workflowId = operationWorkflowId(row);
  switch (row.verb) {
    case "start":
      await startOperationWorkflow(client, row);
      return true;
    case "wake":
      return forgivingClosed(client.workflow.getHandle(workflowId).signal(WAKE_SIGNAL));
    case "cancel":
      return forgivingClosed(client.workflow.getHandle(workflowId).cancel());
  }
}

// A closed or lost workflow is the doctor's business; the row keeps asking until it is terminal.
async function forgivingClosed(call: Promise<unknown>): Promise<boolean> {
  try {
    await call;
    return true;
  } catch (error) {
    if (!(error instanceof WorkflowNotFoundError)) throw error;
    return false;
  }
}

async function wakeDrain(client: Client, drain: DrainRef): Promise<void> {
  await client.workflow.signalWithStart(drainWorkflowType(drain.queue), {
    workflowId: drainWorkflowId(drain.queue, drain.lane),
    taskQueue: CONTROL_QUEUE,
    args: [{ queue: drain.queue, lane: drain.lane }],
    signal: WAKE_SIGNAL,
    signalArgs: [],
    staticSummary: `drain of ${drain.queue}, lane ${drain.lane}`,
  });
}

/** Runs calls a few at a time; one that fails does not stop the others. */
async function inLanes(calls: readonly (() => Promise<void>)[]): Promise<unknown[]> {
  const failures: unknown[] = [];
  let next = 0;
  const lane = async () => {
    while (next < calls.length) {
      await calls[next++]!().catch((error: unknown) => failures.push(error));
    }
  };
  await Promise.all(Array.from({ length: Math.min(CONCURRENCY, calls.length) }, lane));
  return failures;
}
