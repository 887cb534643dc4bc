import type { Change, ChangeSet, PlanDecision, PlanError } from "../contracts/inventory.ts";
import { remainderOf } from "../domain/plan-hash.ts";
import { decideByRules, guardVerdict } from "../domain/plan-rules.ts";
import type { GuardWindow } from "./inventory-guard.ts";
import type { InventoryPlace } from "./inventory-look-up.ts";
import type { PlanHow } from "./plan-apply.ts";
import { DEFAULT_RETRY } from "./plan-batch-outcome.ts";
import type { ClaimedEntity } from "./plan-claim.ts";
import type { EarlierDecisions } from "./plan-earlier.ts";

/** What becomes of the change sets of one batch. */

export type Decided =
  | { by: "rules"; rule: string | undefined }
  /** Of this plan, or of the same one of an older version. */
  | { by: "person" }
  | { by: "earlier"; rule: string }
  /** The plan is another than the one that was approved. */
  | { by: "changed" }
  /** A newer version has been applied: never undone without somebody who says so. */
  | { by: "overtaken" };

export interface Decider {
  decide: (no: number, changeSet: ChangeSet) => PlanDecision;
  onFailed: (no: number, error: PlanError) => void;
  onUnchanged: (no: number) => void;
  of: (no: number) => Decided | undefined;
  /** True for what came after one that waits, or after the hold: whatever its plan says is not yet so. */
  isHeldBack: (no: number) => boolean;
  heldBecause: () => string | undefined;
  /** Existing objects that rules let change, as the guard counts. */
  changed: () => number;
}

export interface DecideBy {
  place: InventoryPlace;
  how: PlanHow;
  claimed: readonly ClaimedEntity[];
  window: GuardWindow | undefined;
  /** Changes of approved plans, by entity. */
  approved: ReadonlyMap<string, readonly Change[]>;
  earlier: EarlierDecisions;
  /** Of these a newer version has been applied. */
  overtaken: ReadonlySet<string>;
}

/** Approvals first, then what was decided of the same plan before, then the guard and rules. */
export function decider(given: DecideBy): Decider {
  const { place, how, claimed, window, approved, earlier, overtaken } = given;
  const { mode, rules, guard, retry = DEFAULT_RETRY } = how;
  const decided = new Map<number, Decided>();
  /** The first of each identity that waits. */
  const waiting = new Map<string, number>();
  const held = new Set<number>();
  let heldBecause: string | undefined;
  let changed = 0;
  const isHeldBack = (no: number) =>
    held.has(no) || (waiting.get(claimed[no]!.identity) ?? no) < no;

  /** False: the branch is held from here on. */
  const withinGuard = (no: number, { changes }: ChangeSet): boolean => {
    if (!guard || !window) return true;
    const more = countTouched(changes);
    const radius = { objects: window.objects, changed: window.changed + changed };
    const verdict = guardVerdict(guard, radius, more);
    if (verdict.verdict === "go") {
      changed += more;
      return true;
    }
    heldBecause = verdict.reason;
    held.add(no);
    return false;
  };

  const decide = (no: number, changeSet: ChangeSet): PlanDecision => {
    const entity = claimed[no]!;
    if (heldBecause !== undefined) held.add(no);
    if (isHeldBack(no)) return "review";
    // What was approved while it was open stands; it may be that it was applied once since.
    const mayStand = entity.state === "open" || !overtaken.has(entity.id);
    if (entity.approved !== undefined && mayStand) {
      const stands =
        entity.approved === changeSet.hash ||
        ["same", "part"].includes(remainderOf(approved.get(entity.id) ?? [], changeSet.changes));
      decided.set(no, { by: stands ? "person" : "changed" });
      return stands ? "apply" : "review";
    }
    if (overtaken.has(entity.id)) {
      decided.set(no, { by: "overtaken" });
      return "review";
    }
    const before = earlier.of(entity, changeSet);
    if (before) {
      if (before.decision === "apply" && !withinGuard(no, changeSet)) return "review";
      decided.set(no, { by: "earlier", rule: `decided before by ${before.by}` });
      return before.decision;
    }
    if (entity.reopened) {
      decided.set(no, { by: "rules", rule: undefined });
      return "review";
    }
    const facts = { type: entity.type, entity, branch: place.branch, changeSet };
    const { decision, rule } = decideByRules(rules, mode, facts);
    if (decision === "apply" && !withinGuard(no, changeSet)) return "review";
    decided.set(no, { by: "rules", rule });
    return decision;
  };
  return {
    decide,
    onFailed(no, { fault }) {
      if (heldBecause !== undefined) held.add(no);
      const { identity, attempt } = claimed[no]!;
      if (fault !== "missing-reference" || attempt >= retry.attempts) return;
      waiting.set(identity, Math.min(no, waiting.get(identity) ?? no));
    },
    onUnchanged(no) {
      if (heldBecause !== undefined) held.add(no);
    },
    of: (no) => decided.get(no),
    isHeldBack,
    heldBecause: () => heldBecause,
    changed: () => changed,
  };
}

function countTouched(changes: readonly Change[]): number {
  return changes.filter(({ kind }) => kind === "update" || kind === "delete").length;
}
