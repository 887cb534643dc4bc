import type { FieldValue, Fields } from "../contracts/inventory.ts";
import type { EntityNodes, LateRefs, NodeRefs, PlanNode } from "./plan-nodes.ts";
import type { InventoryType, Matcher } from "./registry.ts";

/**
 * Versions that need not be applied because a newer one of the same object says it all. Entities merge
 * partially, so an older version may only be left out when leaving it out cannot change the result:
 * - the newer one speaks of every object the older one speaks of, named alike, and sets every field
 *   that it sets;
 * - neither can rename anything: each object is named in one way only;
 * - whatever was accepted between them speaks of other objects, or of the same ones word for word.
 * The entities must be laid out in one batch, in order of acceptance. A version may end superseded only
 * once the newer one has been applied: should that fail, the older one still counts.
 * Answers the number of the newer version by that of the older, of those that are candidates.
 */
export function findSuperseded(
  entities: readonly EntityNodes[],
  isCandidate: (entity: number) => boolean = () => true,
): ReadonlyMap<number, number> {
  const superseded = new Map<number, number>();
  const sightings = createSightings(entities);
  for (const [no, older] of entities.entries()) {
    if (!isCandidate(no)) continue;
    const next = nextAbout(entities, sightings, no);
    if (next === undefined || !saysAllOf(entities[next]!, older)) continue;
    if (older.nodes.every((node) => isLeftAlone(sightings, node, no, next))) {
      superseded.set(no, next);
    }
  }
  return superseded;
}

/** Where the objects of a batch are spoken of: numbers of entities, in order. */
interface Sightings {
  /** What names a node, and by which matcher; absent: it may be any object of its type. */
  readonly names: ReadonlyMap<PlanNode, { matcher: Matcher; text: string }>;
  readonly byName: ReadonlyMap<string, readonly Sighting[]>;
  /** Of each type: the nodes named by each matcher, and by none. */
  readonly byType: ReadonlyMap<InventoryType, ReadonlyMap<Matcher | undefined, number[]>>;
}

interface Sighting {
  entity: number;
  node: PlanNode;
}

function createSightings(entities: readonly EntityNodes[]): Sightings {
  const names = new Map<PlanNode, { matcher: Matcher; text: string }>();
  const seen = new Set<PlanNode>();
  const byName = new Map<string, Sighting[]>();
  const byType = new Map<InventoryType, Map<Matcher | undefined, number[]>>();
  for (const [entity, { nodes }] of entities.entries()) {
    // What is referred to comes first, and so has its name already.
    for (const node of nodes) {
      if (!seen.has(node)) {
        seen.add(node);
        const name = nameOfNode(node, names);
        if (name) names.set(node, name);
      }
      const name = names.get(node);
      if (name) put(byName, name.text, { entity, node });
      let ofType = byType.get(node.type);
      if (!ofType) byType.set(node.type, (ofType = new Map()));
      put(ofType, name?.matcher, entity);
    }
  }
  return { names, byName, byType };
}

function put<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list) list.push(value);
  else map.set(key, [value]);
}

/** Nodes of one name mean one object, nodes of two names by one matcher mean two. */
function nameOfNode(
  node: PlanNode,
  names: Sightings["names"],
): { matcher: Matcher; text: string } | undefined {
  const matcher = onlyMatcher(node);
  if (!matcher) return undefined;
  let text = `${node.type.name} ${matcher.name}`;
  for (const { field } of matcher.parts) {
    if (field.kind !== "reference" && field.kind !== "references") {
      const value = node.values.get(field.name);
      text += `\n${typeof value} ${typeof value === "string" ? JSON.stringify(value) : String(value)}`;
      continue;
    }
    const [first, ...more] = targetsOf(node, field.name);
    const named = first && names.get(first);
    if (more.length > 0 || (first && !named)) return undefined;
    text += `\n(${named?.text ?? ""})`;
  }
  return { matcher, text };
}

/** The first later entity that is about the same object. */
function nextAbout(
  entities: readonly EntityNodes[],
  { names, byName }: Sightings,
  no: number,
): number | undefined {
  const name = names.get(entities[no]!.root);
  if (!name) return undefined;
  const all = byName.get(name.text)!;
  for (let at = firstAfter(all, no, ({ entity }) => entity); at < all.length; at++) {
    const { entity, node } = all[at]!;
    if (entities[entity]!.root === node) return entity;
  }
  return undefined;
}

/** True when nothing between two entities can mean the object of a node, unless it says the same of it. */
function isLeftAlone(sightings: Sightings, node: PlanNode, from: number, to: number): boolean {
  const name = sightings.names.get(node);
  if (!name) return false;
  const all = sightings.byName.get(name.text)!;
  for (let at = firstAfter(all, from, ({ entity }) => entity); at < all.length; at++) {
    if (all[at]!.entity >= to) break;
    if (all[at]!.node !== node) return false;
  }
  for (const [matcher, entities] of sightings.byType.get(node.type)!) {
    if (matcher === name.matcher) continue;
    const at = firstAfter(entities, from, (entity) => entity);
    if (at < entities.length && entities[at]! < to) return false;
  }
  return true;
}

/** Where what comes after an entity begins in a list that is in order of entities. */
function firstAfter<T>(list: readonly T[], entity: number, of: (one: T) => number): number {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (of(list[middle]!) <= entity) low = middle + 1;
    else high = middle;
  }
  return low;
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

function targetsOf(node: PlanNode, field: string): readonly PlanNode[] {
  return node.refs.find((refs) => refs.field.name === field)?.to ?? [];
}
