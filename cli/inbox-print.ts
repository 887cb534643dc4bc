import type {
  EntityView,
  InboxStatus,
  RejectView,
  RequestDetail,
  RequestView,
} from "../contracts/inbox.ts";
import type { StreamStatus } from "../contracts/stream.ts";
import { moment, printFields, text } from "./output.ts";

/** How the inbox is shown. */

export function printRequest(seen: RequestDetail): void {
  printFields({
    request: seen.request,
    tenant: seen.tenant,
    source: seen.source,
    "message id": seen.messageId,
    by: seen.by,
    scope: seen.scope,
    branch: seen.branch,
    missing: seen.missing,
    at: moment(seen.at),
    received: seen.received,
    accepted: seen.accepted,
    "said already": seen.copies || null,
    rejected: seen.rejected || null,
    states: statesIn(seen.states),
    settled: seen.settled ? "yes" : "no",
  });
}

function statesIn(states: RequestDetail["states"]): string {
  return Object.entries(states)
    .map(([state, n]) => `${n} ${state.replaceAll("_", " ")}`)
    .join(", ");
}

export const REQUESTS = {
  head: ["REQUEST", "TENANT", "SOURCE", "AT", "ACCEPTED", "COPIES", "REJECTED", "SCOPE"],
  row: (one: RequestView) => [
    one.request,
    one.tenant,
    one.source,
    moment(one.at),
    one.accepted,
    one.copies,
    one.rejected,
    one.scope,
  ],
  none: "nothing was taken in",
};

export const ENTITIES = {
  head: ["ENTITY", "TENANT", "BRANCH", "TYPE", "STATE", "ACCEPTED", "WHAT"],
  row: (one: EntityView) => [
    one.id,
    one.tenant,
    one.branch ?? "(not known)",
    one.type,
    one.state.replaceAll("_", " "),
    moment(one.acceptedAt),
    (one.error?.["message"] as string | undefined) ?? one.title,
  ],
  none: "no entities",
};

export const STATUS = {
  head: ["TENANT", "BRANCH", "TARGET", "MODE", "LAG", "HELD", "STATES"],
  row: (one: InboxStatus) => [
    one.tenant,
    one.branch ?? "(not known)",
    one.target,
    one.mode,
    `${Math.round(one.lagSeconds)} s`,
    one.held ? one.held.because : "",
    statesIn(one.states),
  ],
  none: "nothing is to come, and nothing waits for a decision",
};

export const STREAMS = {
  head: ["STREAM", "GROUP", "TENANT", "NOT READ", "NOT TAKEN", "CONSUMERS", "WHY NOT"],
  row: (one: StreamStatus) => [
    one.stream,
    one.group,
    one.tenant,
    one.lag ?? "",
    one.pending ?? "",
    one.consumers.length,
    one.error ?? "",
  ],
  none: "the configuration names no stream",
};

export const REJECTS = {
  head: ["NO", "CODE", "WHY", "RAW"],
  row: (one: RejectView) => [
    one.no,
    one.code,
    one.issues.map(({ path, message }) => `${path}: ${message}`).join("; "),
    text(one.raw).slice(0, 200),
  ],
  none: "nothing of it was rejected",
};
