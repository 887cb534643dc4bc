import type { FieldValue, PlanError } from "../contracts/inventory.ts";
import { canonicalJson } from "./exact-json.ts";
import { matchKey } from "./plan-keys.ts";
import {
  intern,
  type BatchNodes,
  type EntityNodes,
  type LateRefs,
  type NodeRefs,
  type PlanNode,
} from "./plan-nodes.ts";

/**
 * One object may stand in an entity many times, each time with other fields. Nodes that share a match
 * key are the same object and become one node with the fields of all; nodes that share none may still
 * be the same (one names it by asset tag, one by name), which shows when both are found in the target.
 * Answers the error when two of one object differ, or an object is nested in itself.
 */
export function mergeDuplicates(batch: BatchNodes, entity: EntityNodes): EntityNodes | PlanError {
  const suspects = severalOfOneType(entity.nodes);
  if (suspects.length === 0) return entity;
  const same = new Map<PlanNode, PlanNode>();
  const firstOf = (node: PlanNode): PlanNode => {
    const other = same.get(node);
    return other === undefined ? node : firstOf(other);
  };
  // Two that turn out the same make what refers to them the same: until nothing more does.
  for (let merged = true; merged;) {
    merged = false;
    const byKey = new Map<string, PlanNode>();
    for (const node of suspects) {
      for (const key of valueKeys(node, firstOf)) {
        const other = firstOf(byKey.get(key) ?? node);
        byKey.set(key, other);
        const mine = firstOf(node);
        if (other === mine) continue;
        same.set(mine, other);
        merged = true;
      }
    }
  }
  return same.size === 0 ? entity : rebuilt(batch, entity, firstOf);
}

function severalOfOneType(nodes: readonly PlanNode[]): PlanNode[] {
  if (nodes.length < 2) return [];
  const counts = new Map<string, number>();
  for (const { type } of nodes) counts.set(type.name, (counts.get(type.name) ?? 0) + 1);
  if (counts.size === nodes.length) return [];
  return nodes.filter(({ type }) => counts.get(type.name)! > 1);
}

/** Match keys in which references are nodes, not ids. */
function valueKeys(node: PlanNode, firstOf: (node: PlanNode) => PlanNode): string[] {
  return node.type.matchers.flatMap(
    (matcher) =>
      matchKey(node.type, matcher, (field) => {
        const value = node.values.get(field.name);
        if (value !== undefined) return value;
        const refs = node.refs.find((refs) => refs.field === field);
        if (!refs) return undefined;
        const nos = [...new Set(refs.to.map((to) => String(firstOf(to).no)))].toSorted();
        return field.kind === "reference" ? nos[0]! : nos;
      }) ?? [],
  );
}

function rebuilt(
  batch: BatchNodes,
  entity: EntityNodes,
  firstOf: (node: PlanNode) => PlanNode,
): EntityNodes | PlanError {
  const groups = new Map<PlanNode, PlanNode[]>();
  for (const node of entity.nodes) {
    const first = firstOf(node);
    groups.set(first, [...(groups.get(first) ?? []), node]);
  }
  const built = new Map<PlanNode, PlanNode>();
  const nodes: PlanNode[] = [];
  const open = new Set<PlanNode>();
  let error: PlanError | undefined;

  const build = (first: PlanNode): PlanNode | undefined => {
    const done = built.get(first);
    if (done) return done;
    if (open.has(first)) {
      error ??= cycleError(first);
      return undefined;
    }
    open.add(first);
    const group = groups.get(first)!;
    for (const node of group) {
      for (const { to } of node.refs)
        for (const one of to) if (!build(firstOf(one))) return undefined;
    }
    const whole = unite(batch, group, (node) => built.get(firstOf(node))!);
    open.delete(first);
    if ("fault" in whole) {
      error ??= whole;
      return undefined;
    }
    built.set(first, whole);
    nodes.push(whole);
    return whole;
  };
  for (const node of entity.nodes) if (!build(firstOf(node))) return error!;

  const late = new Map<string, LateRefs>();
  for (const { of, field, to } of entity.late) {
    const owner = built.get(firstOf(of))!;
    const targets = to.map((node) => built.get(firstOf(node))!);
    const key = `${owner.no} ${field.name}`;
    const other = late.get(key);
    if (other && field.kind === "reference" && other.to[0] !== targets[0]) {
      return conflictError(owner, field.name);
    }
    late.set(key, { of: owner, field, to: [...new Set([...(other?.to ?? []), ...targets])] });
  }
  return {
    root: built.get(firstOf(entity.root))!,
    nodes: [...new Set(nodes)],
    late: [...late.values()],
  };
}

/** One node with the fields of all. Lists of references and maps unite; everything else must agree. */
function unite(
  batch: BatchNodes,
  group: readonly PlanNode[],
  builtOf: (node: PlanNode) => PlanNode,
): PlanNode | PlanError {
  const [first] = group;
  const type = first!.type;
  const values = new Map<string, FieldValue>();
  const refs = new Map<string, NodeRefs>();
  const clear = new Set<string>();
  for (const node of group) {
    for (const [name, value] of node.values) {
      const other = values.get(name);
      const united =
        other === undefined ? value : uniteValue(other, value, type.fields.get(name)!.merge);
      if (united === undefined) return conflictError(node, name);
      values.set(name, united);
    }
    for (const { field, to } of node.refs) {
      const targets = to.map(builtOf);
      const other = refs.get(field.name)?.to ?? [];
      const all = [...new Set([...other, ...targets])];
      const differs =
        other.length > 0 && !field.merge && all.length !== Math.max(other.length, targets.length);
      if (differs) return conflictError(node, field.name);
      refs.set(field.name, { field, to: all });
    }
    for (const name of node.clear) clear.add(name);
  }
  for (const name of clear) {
    const field = name.split(".")[0]!;
    const sets = group
      .filter((node) => !node.clear.includes(name))
      .some((node) => says(node, field));
    if (sets) return conflictError(first!, field);
  }
  return intern(batch, type, values, [...refs.values()], [...clear].toSorted());
}

function says(node: PlanNode, field: string): boolean {
  return node.values.has(field) || node.refs.some((refs) => refs.field.name === field);
}

/** Both values as one, or undefined when they contradict each other. */
export function uniteValue(a: FieldValue, b: FieldValue, merge: boolean): FieldValue | undefined {
  if (a === b) return a;
  if (typeof a !== "object" || typeof b !== "object") return undefined;
  if (canonicalJson(a) === canonicalJson(b)) return a;
  if (!merge) return undefined;
  if (Array.isArray(a)) return uniteLists(a, b as readonly FieldValue[]);
  const [left, right] = [a, b] as [Record<string, FieldValue>, Record<string, FieldValue>];
  for (const key of Object.keys(left)) {
    if (Object.hasOwn(right, key) && canonicalJson(left[key]!) !== canonicalJson(right[key]!)) {
      return undefined;
    }
  }
  return { ...left, ...right };
}

/** The values of the first list, then those of the second that are not among them. */
export function uniteLists(
  a: readonly FieldValue[],
  b: readonly FieldValue[],
): readonly FieldValue[] {
  const known = new Set(a.map(canonicalJson));
  const fresh = b.filter((value) => !known.has(canonicalJson(value)));
  return fresh.length > 0 ? [...a, ...fresh] : a;
}

export function conflictError(node: Pick<PlanNode, "type">, field: string): PlanError {
  return {
    fault: "conflict",
    type: node.type.name,
    field,
    message: `${node.type.name}.${field}: the same ${node.type.name} stands in this entity with different values: say one`,
  };
}

export function cycleError(node: Pick<PlanNode, "type">): PlanError {
  return {
    fault: "cycle",
    type: node.type.name,
    message: `this ${node.type.name} is nested in itself: send the inner one without what leads back to it`,
  };
}
