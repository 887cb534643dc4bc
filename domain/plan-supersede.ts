import type { FieldValue, Fields } from "../contracts/inventory.ts";
import type { EntityNodes, LateRefs, NodeRefs, PlanNode } from "./plan-nodes.ts";
import type { Matcher } from "./registry.ts";

/**
 * Versions that need not be applied because a newer one of the same object says it all. Entities merge
 * partially, so an older version may only be left out when leaving it out cannot change the result:
 * - the newer one speaks of every object the older one speaks of, named alike, and sets every field
 *   that it sets;
 * - neither can rename anything: each object is named in one way only;
 * - whatever was accepted between them speaks of other objects, or of the same ones word for word.
 * The entities must be laid out in one batch, in order of acceptance. A version may end superseded only
 * once the newer one has been applied: should that fail, the older one still counts.
 * Answers the number of the newer version by that of the older.
 */
export function findSuperseded(entities: readonly EntityNodes[]): ReadonlyMap<number, number> {
  const superseded = new Map<number, number>();
  const byType = new Map<string, number[]>();
  for (const [no, { root }] of entities.entries()) {
    byType.set(root.type.name, [...(byType.get(root.type.name) ?? []), no]);
  }
  for (const numbers of byType.values()) {
    for (const [at, no] of numbers.entries()) {
      const older = entities[no]!;
      const next = numbers
        .slice(at + 1)
        .find((later) => !surelyOther(older.root, entities[later]!.root));
      if (next === undefined || !saysAllOf(entities[next]!, older)) continue;
      const between = entities.slice(no + 1, next);
      if (between.every((one) => keepsOff(one, older))) superseded.set(no, next);
    }
  }
  return superseded;
}

/** True when the newer entity does to every object of the older all that the older does. */
export function saysAllOf(newer: EntityNodes, older: EntityNodes): boolean {
  const counterparts = new Map<PlanNode, PlanNode>();
  for (const node of older.nodes) {
    const counterpart = newer.nodes.find((other) => namedAlike(node, other, counterparts));
    if (!counterpart || !setsAllOf(counterpart, node, counterparts)) return false;
    counterparts.set(node, counterpart);
  }
  if (counterparts.get(older.root) !== newer.root) return false;
  return older.late.every((late) => {
    const of = counterparts.get(late.of)!;
    const other = newer.late.find((refs) => refs.of === of && refs.field === late.field);
    return other !== undefined && refersToAllOf(of, other, late, counterparts);
  });
}

/** The one matcher that names a node; undefined when several do, or might. */
function onlyMatcher(node: PlanNode): Matcher | undefined {
  const said = (name: string) =>
    node.values.has(name) || node.refs.some((refs) => refs.field.name === name);
  const complete = node.type.matchers.filter(
    ({ parts, when }) =>
      when.length === 0 && parts.every(({ field, optional }) => optional || said(field.name)),
  );
  const [only] = complete;
  if (!only || complete.length > 1 || only.anyOrder) return undefined;
  const names = new Set(only.parts.map(({ field }) => field.name));
  const touched = node.type.matchers.flatMap(({ parts, when }) => [
    ...parts.map(({ field }) => field.name),
    ...when.map(([name]) => name),
  ]);
  const mayRename = touched.some((name) => !names.has(name) && said(name));
  const clears = node.clear.some((name) => touched.includes(name));
  return mayRename || clears ? undefined : only;
}

function namedAlike(
  a: PlanNode,
  b: PlanNode,
  counterparts: ReadonlyMap<PlanNode, PlanNode>,
): boolean {
  const matcher = a.type === b.type ? onlyMatcher(a) : undefined;
  if (!matcher || onlyMatcher(b) !== matcher) return false;
  return matcher.parts.every(({ field }) => {
    if (field.kind !== "reference" && field.kind !== "references") {
      return a.values.get(field.name) === b.values.get(field.name);
    }
    const [left, right] = [targetsOf(a, field.name), targetsOf(b, field.name)];
    return (
      left.length === right.length && left.every((node) => right.includes(counterparts.get(node)!))
    );
  });
}

function setsAllOf(
  newer: PlanNode,
  older: PlanNode,
  counterparts: ReadonlyMap<PlanNode, PlanNode>,
): boolean {
  for (const [name, value] of older.values) {
    const other = newer.values.get(name);
    const field = newer.type.fields.get(name)!;
    const replaced = !field.merge || newer.clear.includes(name);
    if (other === undefined ? !newer.clear.includes(name) : !replaced && !holdsAllOf(other, value))
      return false;
  }
  for (const refs of older.refs) {
    const other = newer.refs.find(({ field }) => field === refs.field);
    if (
      other
        ? !refersToAllOf(newer, other, refs, counterparts)
        : !newer.clear.includes(refs.field.name)
    ) {
      return false;
    }
  }
  return older.clear.every((name) => {
    if (newer.clear.includes(name)) return true;
    const field = newer.type.fields.get(name);
    const setAnew = newer.values.has(name) || newer.refs.some((refs) => refs.field === field);
    return field !== undefined && !field.merge && setAnew;
  });
}

function holdsAllOf(newer: FieldValue, older: FieldValue): boolean {
  if (Array.isArray(older))
    return older.every((value) => (newer as readonly FieldValue[]).includes(value as FieldValue));
  return Object.keys(older as Fields).every((key) => Object.hasOwn(newer as Fields, key));
}

function refersToAllOf(
  newer: PlanNode,
  newRefs: NodeRefs | LateRefs,
  oldRefs: NodeRefs | LateRefs,
  counterparts: ReadonlyMap<PlanNode, PlanNode>,
): boolean {
  if (!newRefs.field.merge || newer.clear.includes(newRefs.field.name)) return true;
  return oldRefs.to.every((node) => newRefs.to.includes(counterparts.get(node)!));
}

function keepsOff(between: EntityNodes, older: EntityNodes): boolean {
  return between.nodes.every((one) =>
    older.nodes.every((other) => one === other || surelyOther(one, other)),
  );
}

/** True when two nodes cannot mean one object, whatever the inventory holds. */
function surelyOther(a: PlanNode, b: PlanNode): boolean {
  if (a.type !== b.type) return true;
  const matcher = onlyMatcher(a);
  if (!matcher || onlyMatcher(b) !== matcher) return false;
  return matcher.parts.some(({ field }) => {
    if (field.kind !== "reference" && field.kind !== "references") {
      return a.values.get(field.name) !== b.values.get(field.name);
    }
    const [left, right] = [targetsOf(a, field.name), targetsOf(b, field.name)];
    if ((left.length === 0) !== (right.length === 0)) return true;
    return left.length === 1 && right.length === 1 && surelyOther(left[0]!, right[0]!);
  });
}

function targetsOf(node: PlanNode, field: string): readonly PlanNode[] {
  return node.refs.find((refs) => refs.field.name === field)?.to ?? [];
}
