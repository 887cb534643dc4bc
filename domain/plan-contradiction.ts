import type { ObjectId, PlanError } from "../contracts/inventory.ts";
import { conflictError, uniteValue } from "./plan-duplicates.ts";
import type { EntityNodes, NodeRefs, PlanNode } from "./plan-nodes.ts";

/** What only shows when it is known which object every node of an entity means. */

/** Two nodes that turned out to be one object must not contradict each other. */
export function contradiction(
  a: PlanNode,
  b: PlanNode,
  idsOf: (refs: NodeRefs) => ObjectId[],
): PlanError | undefined {
  for (const [name, value] of b.values) {
    const other = a.values.get(name);
    const merge = b.type.fields.get(name)!.merge;
    if (other !== undefined && uniteValue(other, value, merge) === undefined)
      return conflictError(b, name);
  }
  for (const refs of b.refs) {
    const other = a.refs.find(({ field }) => field === refs.field);
    if (!other || refs.field.merge) continue;
    if (idsOf(other).toSorted().join() !== idsOf(refs).toSorted().join())
      return conflictError(b, refs.field.name);
  }
  const emptied = (one: PlanNode, two: PlanNode) =>
    one.clear.find((name) => {
      const field = name.split(".")[0]!;
      return two.values.has(field) || two.refs.some((refs) => refs.field.name === field);
    });
  const clash = emptied(a, b) ?? emptied(b, a);
  return clash === undefined ? undefined : conflictError(b, clash);
}

/** True when an object refers to itself through what the entity says, over any number of objects. */
export function nestedInItself(entity: EntityNodes, ids: ReadonlyMap<PlanNode, ObjectId>): boolean {
  const refers = new Map<ObjectId, Set<ObjectId>>();
  for (const node of entity.nodes) {
    const id = ids.get(node)!;
    const to = refers.get(id) ?? new Set();
    for (const refs of node.refs) for (const one of refs.to) to.add(ids.get(one)!);
    refers.set(id, to);
  }
  const done = new Set<ObjectId>();
  const open = new Set<ObjectId>();
  const leadsBack = (id: ObjectId): boolean => {
    if (open.has(id)) return true;
    if (done.has(id)) return false;
    open.add(id);
    for (const to of refers.get(id) ?? []) if (leadsBack(to)) return true;
    open.delete(id);
    done.add(id);
    return false;
  };
  return [...refers.keys()].some(leadsBack);
}
