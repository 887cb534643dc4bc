import { createHash } from "node:crypto";
import type { Entity } from "../contracts/inventory.ts";
import { canonicalJson } from "./exact-json.ts";
import { mergeDuplicates } from "./plan-duplicates.ts";
import { matchKey } from "./plan-keys.ts";
import { createBatchNodes, layOut, type PlanNode } from "./plan-nodes.ts";
import type { InventoryField, Matcher, Registry } from "./registry.ts";

/**
 * What entities say of objects, known without asking the target that holds them: by it those who wait
 * for an object are woken, and what would get in each other's way is not asked for in one call.
 */

/** What one entity says of one object. */
export interface Saying {
  type: string;
  /** True for the object that the entity is about. */
  root: boolean;
  /** By what the object is known: one digest (64 hex digits) for each complete matcher. */
  keys: readonly string[];
  /** The same, in parts as its matcher has them: values as text, references as what is said of them. */
  names: readonly Name[];
  /** What is said, field by field; references by what names them. */
  says: ReadonlyMap<string, string>;
  /** Something is emptied first, so that order counts whatever else is said. */
  clears: boolean;
}

interface Name {
  /** Number of the matcher in its type. */
  matcher: number;
  /** Undefined: an optional part that is not said. */
  parts: readonly (string | readonly Saying[] | undefined)[];
}

type Said = Pick<Entity, "type" | "fields">;

/** Nothing for an entity that no plan can be made of: the target says why. */
export function sayingsOf(registry: Registry, { type: name, fields }: Said): Saying[] {
  const type = registry.types.get(name);
  if (!type) return [];
  const batch = createBatchNodes(registry);
  const laidOut = mergeDuplicates(batch, layOut(batch, type, fields));
  if ("fault" in laidOut) return [];
  const names = new Map<PlanNode, string>();
  const nameOf = (node: PlanNode): string => {
    const known = names.get(node);
    if (known !== undefined) return known;
    const name = keysOf(node)[0] ?? contentOf(node);
    names.set(node, name);
    return name;
  };
  const keyOf = (node: PlanNode, matcher: Matcher) =>
    matchKey(node.type, matcher, (field) => {
      const value = node.values.get(field.name);
      if (value !== undefined) return value;
      const to = node.refs.find((refs) => refs.field === field)?.to.map(nameOf);
      return field.kind === "reference" ? to?.[0] : to?.toSorted();
    });
  const keysOf = (node: PlanNode) =>
    node.type.matchers.flatMap((matcher) => keyOf(node, matcher) ?? []);
  const contentOf = (node: PlanNode) =>
    `${node.type.name}=${canonicalJson(Object.fromEntries(saidOf(node)))}`;
  const saidOf = (node: PlanNode): Map<string, string> => {
    const says = new Map<string, string>();
    for (const [name, value] of node.values) says.set(name, canonicalJson(value));
    for (const { field, to } of [...node.refs, ...laidOut.late.filter(({ of }) => of === node)]) {
      says.set(field.name, to.map(nameOf).toSorted().join(" "));
    }
    return says;
  };
  const sayings = new Map<PlanNode, Saying>();
  const partOf = (node: PlanNode, field: InventoryField): Name["parts"][number] => {
    const refs = node.refs.find((one) => one.field === field);
    if (refs) return refs.to.map((to) => sayings.get(to)!);
    const value = node.values.get(field.name);
    return value === undefined ? undefined : canonicalJson(value);
  };
  // What is referred to comes first.
  for (const node of laidOut.nodes) {
    const names = node.type.matchers.flatMap((matcher, no) =>
      keyOf(node, matcher) === undefined
        ? []
        : { matcher: no, parts: partsOf(matcher, (field) => partOf(node, field)) },
    );
    sayings.set(node, {
      type: node.type.name,
      root: node === laidOut.root,
      keys: keysOf(node).map((key) => createHash("sha256").update(key).digest("hex")),
      names,
      says: saidOf(node),
      clears: node.clear.length > 0,
    });
  }
  return [...sayings.values()];
}

function partsOf(
  { parts, anyOrder }: Matcher,
  partOf: (field: InventoryField) => Name["parts"][number],
): Name["parts"] {
  const all = parts.map(({ field }) => partOf(field));
  // Either end may be the other's: together they are one part.
  return anyOrder ? [all.flatMap((part) => (typeof part === "object" ? part : []))] : all;
}

/** By what those who wait know the objects of an applied entity. */
export function arrivalsOf(registry: Registry, entity: Said): string[] {
  return [...new Set(sayingsOf(registry, entity).flatMap(({ keys }) => keys))];
}

/** By what an entity knows the objects that it needs and are not its own. */
export function waitsFor(registry: Registry, entity: Said): string[] {
  const nested = sayingsOf(registry, entity).filter(({ root }) => !root);
  return [...new Set(nested.flatMap(({ keys }) => keys))];
}

/**
 * Those of the oldest entities that may be asked for in one call, at most `most`: each is planned as if it
 * were the only one, so none may say of an object what another of them says otherwise. Who is left out
 * stands before everybody after it that speaks of the same objects. Never none.
 */
export function together<E extends Said>(
  registry: Registry,
  entities: readonly E[],
  most: number,
): E[] {
  const told = new Map<string, Saying[]>();
  const blocked = new Set<string>();
  const chosen: E[] = [];
  for (const entity of entities) {
    if (chosen.length === most) break;
    const sayings = sayingsOf(registry, entity);
    const clash = sayings.some((saying) =>
      saying.keys.some(
        (key) => blocked.has(key) || told.get(key)?.some((other) => contradicts(saying, other)),
      ),
    );
    if (!clash) chosen.push(entity);
    for (const saying of sayings) {
      for (const key of saying.keys) {
        if (clash) blocked.add(key);
        else told.set(key, [...(told.get(key) ?? []), saying]);
      }
    }
  }
  return chosen;
}

function contradicts(a: Saying, b: Saying): boolean {
  if (a.clears || b.clears) return true;
  for (const [name, value] of a.says) {
    const other = b.says.get(name);
    if (other !== undefined && other !== value) return true;
  }
  return false;
}
