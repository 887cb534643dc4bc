import type {
  ChangeSet,
  Entity,
  FieldValue,
  PlanDecision,
  PlanMode,
} from "../contracts/inventory.ts";
import type { PlanGuard, PlanRule } from "../contracts/plan-rule.ts";

export interface RuleVerdict {
  decision: PlanDecision;
  /** The rule that decided; absent when none did, which means review. */
  rule?: string;
}

/** What a rule looks at. `entity` is absent for a removal. */
export interface RuleFacts {
  type: string;
  entity?: Pick<Entity, "fields"> | undefined;
  branch?: string | undefined;
  changeSet: Pick<ChangeSet, "changes">;
}

/**
 * The first enabled rule that holds decides; none: review. In mode `plan-only` rules that apply are
 * passed over, so that only an approval applies.
 */
export function decideByRules(
  rules: readonly PlanRule[],
  mode: PlanMode,
  facts: RuleFacts,
): RuleVerdict {
  for (const rule of rules) {
    if (!rule.enabled || (mode === "plan-only" && rule.decision === "apply")) continue;
    if (holds(rule.when, facts)) return { decision: rule.decision, rule: rule.name };
  }
  return { decision: "review" };
}

function holds(when: PlanRule["when"], { type, entity, branch, changeSet }: RuleFacts): boolean {
  const real = changeSet.changes.filter(({ kind }) => kind !== "noop");
  // Nothing is removed by a rule that did not speak of removing.
  const kinds: readonly string[] = when.kinds ?? ["create", "update"];
  if (!real.every(({ kind }) => kinds.includes(kind))) return false;
  if (when.types && !when.types.includes(type)) return false;
  if (when.changedTypes && !real.every((change) => when.changedTypes!.includes(change.type)))
    return false;
  if (when.fields && !real.every((change) => touchesOnly(change, when.fields!))) return false;
  if (when.branches && !when.branches.includes(branch ?? "")) return false;
  if (when.tag !== undefined && !tagsOf(entity).includes(when.tag)) return false;
  return Object.entries(when.values ?? {}).every(
    ([path, wanted]) => (valueAt(entity?.fields, path.split(".")) ?? null) === wanted,
  );
}

function touchesOnly(
  { kind, before, after }: ChangeSet["changes"][number],
  fields: readonly string[],
): boolean {
  if (kind !== "update") return true;
  return [...Object.keys(before), ...Object.keys(after)].every((name) => fields.includes(name));
}

function tagsOf(entity: RuleFacts["entity"]): FieldValue[] {
  const tags = entity?.fields["tags"];
  if (!Array.isArray(tags)) return [];
  return (tags as readonly FieldValue[]).map((tag) => valueAt(tag, ["name"]) ?? tag);
}

function valueAt(value: FieldValue | undefined, path: readonly string[]): FieldValue | undefined {
  let at = value;
  for (const key of path) {
    if (typeof at !== "object" || Array.isArray(at) || !Object.hasOwn(at, key)) return undefined;
    at = (at as { readonly [key: string]: FieldValue })[key];
  }
  return at;
}

/** How much of an inventory one window has changed. */
export interface BlastRadius {
  /** Objects of the tenant and branch when the window began. */
  objects: number;
  /** Of those, changed or removed so far. Creations destroy nothing and do not count. */
  changed: number;
}

/** Whether a window may change so many more, or everything waits until somebody has looked. */
export function guardVerdict(
  guard: PlanGuard,
  radius: BlastRadius,
  more: number,
): { verdict: "go" } | { verdict: "hold"; reason: string } {
  const changed = radius.changed + more;
  if (more === 0) return { verdict: "go" };
  const share = radius.objects === 0 ? 0 : changed / radius.objects;
  if (guard.maxObjects > 0 && changed > guard.maxObjects) {
    return hold(`would change ${changed} objects, more than ${guard.maxObjects}`);
  }
  if (guard.maxShare > 0 && changed >= guard.minObjects && share > guard.maxShare) {
    return hold(
      `would change ${changed} of ${radius.objects} objects, more than ${Math.round(guard.maxShare * 100)} %`,
    );
  }
  return { verdict: "go" };
}

function hold(reason: string): { verdict: "hold"; reason: string } {
  return { verdict: "hold", reason: `${reason}: look at the plans, then lift the hold` };
}
