import type { PlannedBatch } from "../domain/plan-batch.ts";
import type { JournalEntry } from "./inventory-write.ts";
import type { ClaimedEntity } from "./plan-claim.ts";
import type { Decided, Decider } from "./plan-decide.ts";
import type { NewChangeSet, Settlement } from "./plan-settle.ts";

/** What a planned batch comes to, entity by entity, before anything of it is written. */

/** Of entities that wait for what they refer to. The wait doubles from one attempt to the next. */
export interface RetryPolicy {
  /** After so many attempts an entity is given up. 0: at once. */
  attempts: number;
  firstSeconds: number;
  mostSeconds: number;
}

export const DEFAULT_RETRY: RetryPolicy = { attempts: 12, firstSeconds: 5, mostSeconds: 600 };

export interface PlanApplyBatch {
  /** Somebody else is at work in this branch; nothing was done. */
  busy: boolean;
  /** The branch is held until somebody has looked. */
  heldBecause?: string | undefined;
  claimed: number;
  applied: number;
  unchanged: number;
  open: number;
  ignored: number;
  failed: number;
  /** Wait for what they refer to. */
  waiting: number;
  /** A newer version said all that they say. */
  superseded: number;
  /** Came after one that waits, or after the branch was held: still to come. */
  heldBack: number;
  /** Objects created, changed or removed. */
  objects: number;
  /** There may be more that is due. */
  more: boolean;
}

export const nothing = (): PlanApplyBatch => ({
  busy: false,
  claimed: 0,
  applied: 0,
  unchanged: 0,
  open: 0,
  ignored: 0,
  failed: 0,
  waiting: 0,
  superseded: 0,
  heldBack: 0,
  objects: 0,
  more: false,
});

const COUNTS = [
  "claimed",
  "applied",
  "unchanged",
  "open",
  "ignored",
  "failed",
  "waiting",
  "superseded",
  "heldBack",
  "objects",
] as const;

/** Counts add up; the rest is as the later one says. */
export function add(done: PlanApplyBatch, part: PlanApplyBatch): void {
  for (const name of COUNTS) done[name] += part[name];
  const { busy, more, heldBecause } = part;
  Object.assign(done, { busy, more, heldBecause });
}

export function tally(
  settled: readonly Settlement[],
  batch: Pick<PlanApplyBatch, "claimed" | "objects" | "more" | "heldBecause">,
): PlanApplyBatch {
  const count = (...states: Settlement["state"][]) =>
    settled.filter(({ state }) => states.includes(state)).length;
  return {
    ...nothing(),
    ...batch,
    applied: count("applied"),
    unchanged: count("no_changes"),
    open: count("open"),
    ignored: count("ignored"),
    failed: count("failed", "errored"),
    waiting: count("pending_retry"),
    superseded: count("superseded"),
    heldBack: batch.claimed - settled.length,
  };
}

const STATES = { apply: "applied", review: "open", ignore: "ignored" } as const;

/** What is open again says so. */
export const WHY_LOOK = {
  changed: {
    fault: "changed-since-approval",
    message: "the plan is another than the one that was approved: look again",
  },
  overtaken: {
    fault: "overtaken",
    message:
      "a newer version has been applied, and this one would undo a part of it: approve it only if that is meant",
  },
} as const;

export function settlementOf(
  { id, attempt }: ClaimedEntity,
  planned: PlannedBatch["entities"][number],
  decided: Decided | undefined,
  retry: RetryPolicy,
): Settlement {
  if (planned.outcome === "unchanged") return { id, state: "no_changes", attempt };
  if (planned.outcome === "superseded") return { id, state: "superseded", attempt };
  if (planned.outcome === "failed") {
    const { waitsFor, ...fault } = planned.error;
    const error = { ...fault, title: planned.title };
    if (fault.fault !== "missing-reference") return { id, state: "failed", error, attempt };
    return waitOrGiveUp({ id, attempt, error, waitsFor }, retry);
  }
  const planHash = planned.changeSet.hash;
  if (decided?.by === "changed" || decided?.by === "overtaken") {
    return { id, state: "open", planHash, error: WHY_LOOK[decided.by], attempt };
  }
  const rule = decided && "rule" in decided ? decided.rule : undefined;
  const { changes } = planned.changeSet;
  return { id, state: STATES[planned.decision], planHash, rule, attempt, changes };
}

/** Another try later, or the end of it. */
function waitOrGiveUp(
  given: Pick<Settlement, "id" | "attempt" | "error" | "waitsFor">,
  retry: RetryPolicy,
): Settlement {
  const { id, attempt, error, waitsFor } = given;
  if (attempt >= retry.attempts) return { id, state: "errored", error, attempt };
  const delaySeconds = Math.min(retry.mostSeconds, retry.firstSeconds * 2 ** attempt);
  return { id, state: "pending_retry", error, waitsFor, attempt: attempt + 1, delaySeconds };
}

export function changeSetsOf(
  claimed: readonly ClaimedEntity[],
  planned: PlannedBatch,
  decisions: Pick<Decider, "isHeldBack">,
): NewChangeSet[] {
  return planned.entities.flatMap((one, no): NewChangeSet[] => {
    if (one.outcome !== "planned" || decisions.isHeldBack(no)) return [];
    const applied = one.decision === "apply";
    return [{ entity: claimed[no]!.id, changeSet: one.changeSet, applied }];
  });
}

/** The version an object ends the batch with stands for all that the batch did to it. */
export function journalOf(
  claimed: readonly ClaimedEntity[],
  planned: PlannedBatch,
): JournalEntry[] {
  return planned.entities.flatMap((one, no): JournalEntry[] => {
    if (one.outcome !== "planned" || one.decision !== "apply") return [];
    return one.changeSet.changes.flatMap(({ kind, objectId, version }): JournalEntry[] =>
      kind === "noop"
        ? []
        : [{ object: objectId, version: version + 1, kind, entity: claimed[no]!.id }],
    );
  });
}
