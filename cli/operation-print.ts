import type { BatchView, ItemView, OperationView } from "../contracts/operation.ts";
import { moment, printFields, say, type Cell } from "./output.ts";
import type { AuditView, EventView } from "./row-views.ts";

/** How operations and what belongs to them look as text. */

interface Look<T> {
  head: string[];
  row: (item: T) => Cell[];
  none: string;
}

export const OPERATIONS: Look<OperationView> = {
  head: ["ID", "KIND", "STATE", "DONE", "TENANT", "SCOPE", "ACCEPTED", "REASON"],
  row: (view) => [
    view.id,
    view.kind,
    view.shown,
    doneOf(view),
    view.tenant,
    view.scope,
    moment(view.acceptedAt),
    view.reason,
  ],
  none: 'no operation found: "holdfast retain submit" makes one',
};

export const ITEMS: Look<ItemView> = {
  head: ["NO", "KEY", "SIZE", "OUTCOME", "TRIES", "SETTLED", "REASON"],
  row: (item) => [
    item.no,
    item.key,
    item.size,
    item.outcome ?? (item.nextRetryAt ? `again at ${moment(item.nextRetryAt)}` : "open"),
    item.attempts,
    moment(item.settledAt),
    item.reason ?? item.lastError,
  ],
  none: "no such item",
};

export const BATCHES: Look<BatchView> = {
  head: ["BATCH", "ITEMS", "FROM", "TO", "SIZE", "SETTLED", "FAILED"],
  row: (batch) => [
    `${batch.no} of ${batch.of}`,
    batch.items,
    batch.firstItem,
    batch.lastItem,
    batch.size,
    batch.settled,
    batch.failed,
  ],
  none: "it has no sub-batches",
};

export const EVENTS: Look<EventView> = {
  head: ["AT", "TYPE", "ID", "BODY"],
  row: (event) => [moment(event.at), event.type, event.id, JSON.stringify(event.body)],
  none: "nothing was told yet",
};

export const AUDIT: Look<AuditView> = {
  head: ["AT", "WHO", "DID", "BEFORE", "AFTER"],
  row: ({ at, actor, action, before, after }) => [
    moment(at),
    actor,
    action,
    before === null ? "" : JSON.stringify(before),
    after === null ? "" : JSON.stringify(after),
  ],
  none: "nobody has done anything to it by hand",
};

export function printOperation(view: OperationView): void {
  printFields({
    id: view.id,
    kind: view.kind,
    state: view.shown === view.state ? view.state : `${view.shown} (stored: ${view.state})`,
    reason: view.reason,
    tenant: view.tenant,
    scope: view.scope,
    key: view.key,
    priority: view.priority,
    items: `${view.total} in ${view.batches} ${view.batches === 1 ? "sub-batch" : "sub-batches"}`,
    generation: view.generation,
    "adopted again": view.restarts > 0 ? view.restarts : undefined,
    "submitted by": view.submittedBy,
    accepted: moment(view.acceptedAt),
    "start after": view.startAfter && moment(view.startAfter),
    started: view.startedAt && moment(view.startedAt),
    finished: view.finishedAt && moment(view.finishedAt),
    "cancel asked": view.cancelRequestedAt && moment(view.cancelRequestedAt),
    paused: view.pausedAt && `${moment(view.pausedAt)} by ${view.pausedBy}: ${view.pauseReason}`,
    "next try": view.nextRetryAt && moment(view.nextRetryAt),
    result: view.result && JSON.stringify(view.result),
    workflow: view.workflowId,
  });
  for (const stage of view.stages) {
    const counts = Object.entries(stage.counts).map(([outcome, n]) => `${n} ${outcome}`);
    say(`stage ${stage.stage}: ${stage.done} of ${stage.total}${listed(counts)}`);
  }
  if (view.state === "failed") {
    say();
    say(`see what failed   holdfast operation items ${view.id} --outcome failed`);
    say(`run it again      holdfast operation retry ${view.id}`);
  }
}

function listed(counts: string[]): string {
  return counts.length > 0 ? ` (${counts.join(", ")})` : "";
}

/** `12/400`, of the stage that is its own work. */
export function doneOf(view: OperationView): string {
  const own = view.stages.find((stage) => stage.stage === view.kind);
  return `${own?.done ?? 0}/${view.total}`;
}
