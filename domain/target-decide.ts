import type { Change, ChangeSet, Fields, PlanDecision } from "../contracts/inventory.ts";
import type { InventorySettings } from "../contracts/inventory-settings.ts";
import { canonicalJson } from "./exact-json.ts";
import { remainderOf } from "./plan-hash.ts";
import { decideByRules, guardVerdict, type BlastRadius } from "./plan-rules.ts";
import { objectKeys } from "./plan-keys.ts";
import type { Registry } from "./registry.ts";

/** What becomes of plans that a target outside has made: approvals first, then the guard, then rules. */

interface Planned {
  type: string;
  fields: Fields;
  changeSet: ChangeSet;
  /** Hash of the plan that a person approved, and its changes. */
  approved?: { hash: string; changes: readonly Change[] } | undefined;
  /** A plan that was sent and whose end is not known, by its hash, and the rule that let it. */
  sent?: { hash: string | undefined; rule: string | undefined } | undefined;
  /** A newer version has been applied. */
  overtaken?: boolean;
  /** What was decided of the same plan of an older version. */
  earlier?: { decision: "apply" | "ignore"; by: string } | undefined;
  /** Somebody wants to look at it again. */
  reopened?: boolean | undefined;
}

type TargetDecision =
  | { decision: PlanDecision; rule?: string | undefined }
  /** Another plan than the one that was approved. */
  | { decision: "changed" }
  /** It would undo a part of what a newer version has done. */
  | { decision: "overtaken" }
  /** Not now: it depends on what is applied before it, or the branch is held. */
  | { decision: "later" };

export interface TargetDecider {
  /** In order of acceptance, for every plan of one batch. */
  decide(planned: Planned): TargetDecision;
  heldBecause(): string | undefined;
  /** Existing objects that rules let change. */
  changed(): number;
}

export function targetDecider(
  registry: Registry,
  settings: Pick<InventorySettings, "mode" | "rules" | "guard">,
  branch: string,
  radius: BlastRadius,
  alreadyHeld?: string,
): TargetDecider {
  const touched = new Map<string, string>();
  let heldBecause = alreadyHeld;
  let changed = 0;

  const byRules = ({ type, fields, changeSet, earlier, reopened }: Planned): TargetDecision => {
    const facts = { type, entity: { fields }, branch, changeSet };
    const { decision, rule } = earlier
      ? { decision: earlier.decision, rule: `decided before by ${earlier.by}` }
      : reopened
        ? { decision: "review" as const, rule: undefined }
        : decideByRules(settings.rules, settings.mode, facts);
    if (decision !== "apply") return { decision, rule };
    const more = countTouched(changeSet.changes);
    const soFar = { objects: radius.objects, changed: radius.changed + changed };
    const verdict = guardVerdict(settings.guard, soFar, more);
    if (verdict.verdict === "hold") {
      heldBecause = verdict.reason;
      return { decision: "later" };
    }
    return { decision, rule };
  };
  const decideAlone = (planned: Planned): TargetDecision => {
    const { changeSet, approved, sent } = planned;
    if (approved) {
      const stands =
        approved.hash === changeSet.hash ||
        ["same", "part"].includes(remainderOf(approved.changes, changeSet.changes));
      return { decision: stands ? "apply" : "changed" };
    }
    if (sent?.hash === changeSet.hash) return { decision: "apply", rule: sent.rule };
    if (planned.overtaken) return { decision: "overtaken" };
    return byRules(planned);
  };
  return {
    decide(planned) {
      if (heldBecause !== undefined) return { decision: "later" };
      const decided = decideAlone(planned);
      if (decided.decision !== "apply") return decided;
      // Plans of one call do not know of each other: what two do to one object must be the same.
      const effects = effectsOf(registry, planned.changeSet);
      if (effects.some(([object, effect]) => (touched.get(object) ?? effect) !== effect)) {
        return { decision: "later" };
      }
      // All of it is done by those before it: planned after them, nothing is left to do.
      if (effects.every(([object]) => touched.has(object))) return { decision: "later" };
      for (const [object, effect] of effects) touched.set(object, effect);
      if (!planned.approved) changed += countTouched(planned.changeSet.changes);
      return decided;
    },
    heldBecause: () => heldBecause,
    changed: () => changed,
  };
}

/** True when the rules would apply everything that can be planned, so that no plan need be seen first. */
export function appliesEverything({
  mode,
  rules,
  guard,
}: Pick<InventorySettings, "mode" | "rules" | "guard">): boolean {
  const first = rules.find(({ enabled }) => enabled);
  if (mode !== "auto" || first?.decision !== "apply" || guard.maxObjects > 0) return false;
  return Object.values(first.when).every((value) => value === undefined);
}

function effectsOf(registry: Registry, { changes }: ChangeSet): [string, string][] {
  return changes
    .filter(({ kind }) => kind !== "noop")
    .map(({ type, objectId, kind, before, after }) => {
      const effect = canonicalJson({ kind, before, after });
      if (kind !== "create") return [`${type} ${objectId}`, effect];
      // Of what is not there yet every plan has its own id: it is known by what names it.
      const known = registry.types.get(type);
      const [key] = known ? objectKeys(known, after).values() : [];
      return [key ?? `${type} ${effect}`, effect];
    });
}

function countTouched(changes: readonly Change[]): number {
  return changes.filter(({ kind }) => kind === "update" || kind === "delete").length;
}
