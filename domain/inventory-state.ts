import type { EntityState } from "../contracts/inventory.ts";

/** What may happen to an accepted entity. */
export type EntityAct =
  /** Taken up by a worker: to be planned, or to be planned and applied. */
  | "claim-plan"
  | "claim-apply"
  /** Its worker is gone: whoever claims next takes it. */
  | "release"
  /** How planning or applying ended. */
  | "await-review"
  | "find-unchanged"
  | "apply"
  | "fail"
  | "give-up"
  | "retry-later"
  /** Decisions. An approval is recorded on the row; the row stays open until it is applied. */
  | "approve"
  | "reject"
  | "ignore"
  | "reopen"
  | "rediff"
  | "requeue"
  /** A newer version makes this one needless. */
  | "supersede";

/** From which states an act may be done, and where it leads. */
const ACTS: Record<EntityAct, { from: readonly EntityState[]; to: EntityState }> = {
  "claim-plan": { from: ["queued", "pending_retry"], to: "planning" },
  "claim-apply": { from: ["queued", "pending_retry", "open"], to: "applying" },
  release: { from: ["planning", "applying"], to: "queued" },
  // A plan that is made and applied in one transaction is never seen in between.
  "await-review": { from: ["queued", "pending_retry", "planning", "applying", "open"], to: "open" },
  "find-unchanged": {
    from: ["queued", "pending_retry", "planning", "applying", "open"],
    to: "no_changes",
  },
  apply: { from: ["queued", "pending_retry", "applying", "open"], to: "applied" },
  fail: { from: ["queued", "pending_retry", "planning", "applying", "open"], to: "failed" },
  "give-up": { from: ["queued", "pending_retry", "planning", "applying"], to: "errored" },
  "retry-later": { from: ["queued", "pending_retry", "planning", "applying"], to: "pending_retry" },
  approve: { from: ["open"], to: "open" },
  reject: { from: ["open"], to: "ignored" },
  ignore: { from: ["open", "failed", "errored", "pending_retry"], to: "ignored" },
  // Open without a plan would be a dead end: what is reopened is planned again.
  reopen: { from: ["ignored"], to: "queued" },
  rediff: { from: ["open", "applied", "no_changes", "failed", "errored"], to: "queued" },
  requeue: { from: ["failed", "errored", "pending_retry"], to: "queued" },
  supersede: { from: ["queued", "pending_retry", "open"], to: "superseded" },
};

/** The state after an act; undefined when it may not be done from here. */
export function stateAfter(state: EntityState, act: EntityAct): EntityState | undefined {
  const { from, to } = ACTS[act];
  return from.includes(state) ? to : undefined;
}

/** The states that an act may leave: what a guarded change names in its `where`. */
export function statesBefore(act: EntityAct): readonly EntityState[] {
  return ACTS[act].from;
}

/** Nothing happens to these by itself. */
export function isSettled(state: EntityState): boolean {
  return ["applied", "failed", "no_changes", "ignored", "errored", "superseded"].includes(state);
}

/**
 * What comes of an entity that says what the newest version of its identity says. While that one is
 * still to come, or ignored, it is counted; when it has ended, the entity is a new version and is
 * planned again, so that drift in the target is found and failed data gets another chance. Older
 * versions do not count: A, B, A ends as A.
 */
export function ofDuplicate(newest: EntityState): "count" | "new-version" {
  switch (newest) {
    case "queued":
    case "planning":
    case "open":
    case "applying":
    case "pending_retry":
    case "ignored":
      return "count";
    default:
      return "new-version";
  }
}
