import type { FieldValue, ObjectId, PlanError } from "../contracts/inventory.ts";
import { nodeKey } from "./plan-entity.ts";
import type { BatchNodes, EntityNodes, LateRefs, NodeRefs, PlanNode } from "./plan-nodes.ts";
import { learn, type Found, type KnownObject, type Overlay, type Wanted } from "./plan-overlay.ts";
import type { InventoryField } from "./registry.ts";

/**
 * Asks for everything that a batch names, before any of it is planned. A key holds ids of what it
 * refers to, so the target is asked step by step: what refers to nothing first. Objects that a shown
 * change would name (the site a device leaves) are asked for in the same steps.
 */
export function* lookUpAll(
  overlay: Overlay,
  batch: BatchNodes,
  entities: readonly (EntityNodes | PlanError)[],
): Generator<Wanted, void, Found> {
  const located = new Map<PlanNode, ObjectId | null>();
  const named = new Set<ObjectId>();
  let open = nodesInUse(batch, entities);
  let told: readonly LateRefs[] = [
    ...open.flatMap((of) => of.refs.map(({ field, to }) => ({ of, field, to }))),
    ...entities.flatMap((entity) => ("fault" in entity ? [] : entity.late)),
  ];
  for (;;) {
    const keys = new Set<string>();
    const ids = new Set<ObjectId>();
    open = open.filter((node) => {
      const at = locate(overlay, node, located, keys);
      if (at !== undefined) located.set(node, at);
      return at === undefined;
    });
    told = told.filter((refs) => {
      const at = located.get(refs.of);
      if (at === undefined || refs.to.some((one) => !located.has(one))) return true;
      if (at !== null) wantLeft(overlay, overlay.objects.get(at)!, refs, located, ids);
      return false;
    });
    for (const object of overlay.objects.values()) {
      if (named.has(object.id)) continue;
      named.add(object.id);
      wantNamed(overlay, object, ids);
    }
    if (keys.size + ids.size === 0) return;
    const wanted = { keys: [...keys], ids: [...ids] };
    learn(overlay, wanted, yield wanted);
  }
}

/** Merged nodes stand in for those they were made of. */
function nodesInUse(batch: BatchNodes, entities: readonly (EntityNodes | PlanError)[]): PlanNode[] {
  const used = new Set<PlanNode>();
  for (const entity of entities) {
    if ("fault" in entity) continue;
    for (const node of entity.nodes) used.add(node);
  }
  return batch.all.filter((node) => used.has(node));
}

/** Where a node stands in the target as it is: null for nowhere, undefined while that is asked. */
function locate(
  overlay: Overlay,
  node: PlanNode,
  located: ReadonlyMap<PlanNode, ObjectId | null>,
  keys: Set<string>,
): ObjectId | null | undefined {
  const absent = new Set<InventoryField>();
  for (const { field, to } of node.refs) {
    if (!node.type.naming.has(field)) continue;
    for (const one of to) {
      const at = located.get(one);
      if (at === undefined) return undefined;
      if (at === null) absent.add(field);
    }
  }
  const idsOf = (refs: NodeRefs) => refs.to.map((one) => located.get(one)!);
  let asked = false;
  let found: ObjectId | null = null;
  for (const matcher of node.type.matchers) {
    // What refers to nothing in the target is not there either.
    if (absent.size > 0 && matcher.parts.some(({ field }) => absent.has(field))) continue;
    const key = nodeKey(node, matcher, idsOf);
    if (key === undefined) continue;
    const holder = overlay.keys.get(key);
    if (holder === undefined) {
      keys.add(key);
      asked = true;
    } else found ??= holder;
  }
  return asked ? undefined : found;
}

/** What a reference that changes leaves behind, and what a list of references holds beside. */
function wantLeft(
  overlay: Overlay,
  object: KnownObject,
  { field, to }: NodeRefs,
  located: ReadonlyMap<PlanNode, ObjectId | null>,
  ids: Set<ObjectId>,
): void {
  const value = object.data[field.name];
  if (value === undefined) return;
  const held = field.kind === "reference" ? [value as ObjectId] : (value as readonly ObjectId[]);
  if (!to.every((one) => held.includes(located.get(one) ?? ""))) wantAll(overlay, held, ids);
}

/** What names an object may be other objects. */
function wantNamed(overlay: Overlay, { type, data }: KnownObject, ids: Set<ObjectId>): void {
  const matcher = type.matchers.find(({ parts }) =>
    parts.every(({ field, optional }) => optional || data[field.name] !== undefined),
  );
  for (const { field } of matcher?.parts ?? []) {
    const value: FieldValue | undefined = data[field.name];
    if (value === undefined) continue;
    if (field.kind === "reference") wantAll(overlay, [value as ObjectId], ids);
    if (field.kind === "references") wantAll(overlay, value as readonly ObjectId[], ids);
  }
}

function wantAll(overlay: Overlay, wanted: readonly ObjectId[], ids: Set<ObjectId>): void {
  for (const id of wanted) if (!overlay.objects.has(id) && !overlay.gone.has(id)) ids.add(id);
}
