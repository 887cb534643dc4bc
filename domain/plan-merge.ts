import type { FieldValue, Fields, ObjectId } from "../contracts/inventory.ts";
import { canonicalJson } from "./exact-json.ts";
import { uniteLists } from "./plan-duplicates.ts";
import type { NodeRefs, PlanNode } from "./plan-nodes.ts";
import type { InventoryField, InventoryType, Matcher } from "./registry.ts";

/** Ids of the objects that a node's references mean. */
export type IdsOf = (refs: NodeRefs) => readonly ObjectId[];

/**
 * The fields of an object after a node has been observed on it: what the node does not say stays. The
 * same object when nothing changes. `matched`: what names the object is not told anew by that matcher.
 */
export function observe(data: Fields, node: PlanNode, idsOf: IdsOf, matched?: Matcher): Fields {
  let after = data;
  const set = (name: string, value: FieldValue | undefined) => {
    if (sameField(after[name], value)) return;
    if (after === data) after = { ...data };
    if (value === undefined) delete (after as Record<string, FieldValue>)[name];
    else (after as Record<string, FieldValue>)[name] = value;
  };
  for (const name of node.clear) {
    const dot = name.indexOf(".");
    if (dot === -1) set(name, undefined);
    else set(name.slice(0, dot), without(after[name.slice(0, dot)], name.slice(dot + 1)));
  }
  // Either end of what is named in any order may come first; that is no change.
  const settled = (name: string) =>
    matched?.anyOrder === true && matched.parts.some(({ field }) => field.name === name);
  for (const [name, value] of node.values) {
    if (!settled(name)) set(name, united(node.type.fields.get(name)!, after[name], value));
  }
  for (const refs of node.refs) {
    if (!settled(refs.field.name)) set(refs.field.name, referred(refs.field, after, idsOf(refs)));
  }
  // A list that is cleared and set again may be what it was.
  if (after !== data && changedFields(data, after).length === 0) return data;
  return after;
}

/** The value of a reference field after these ids were observed in it. */
function referred(field: InventoryField, data: Fields, ids: readonly ObjectId[]): FieldValue {
  if (field.kind === "reference") return ids[0]!;
  const known = field.merge ? ((data[field.name] ?? []) as readonly ObjectId[]) : [];
  return [...new Set([...known, ...ids])].toSorted();
}

function united(
  field: InventoryField,
  known: FieldValue | undefined,
  value: FieldValue,
): FieldValue {
  if (!field.merge || known === undefined) return value;
  if (field.kind === "map") return { ...(known as Fields), ...(value as Fields) };
  return uniteLists(known as readonly FieldValue[], value as readonly FieldValue[]);
}

function without(map: FieldValue | undefined, key: string): FieldValue | undefined {
  if (map === undefined) return undefined;
  const left = Object.entries(map as Fields).filter(([name]) => name !== key);
  return left.length > 0 ? Object.fromEntries(left) : undefined;
}

/**
 * The fields of a new object: what was observed, then what the registry says of those who say nothing.
 * What is cleared by hand was said, and stays empty.
 */
export function completed(type: InventoryType, data: Fields, clear: readonly string[]): Fields {
  const whole: Record<string, FieldValue> = { ...data };
  for (const field of type.defaults) {
    if (!clear.includes(field.name)) whole[field.name] ??= field.default!;
  }
  const from = type.slug && whole[type.slug.from];
  const open =
    type.slug && whole[type.slug.field] === undefined && !clear.includes(type.slug.field);
  if (type.slug && open && typeof from === "string") {
    const slug = slugOf(from);
    if (slug !== "") whole[type.slug.field] = slug;
  }
  return whole;
}

/** `Catalyst 2960+24PC-L` as `catalyst-2960-24pc-l`. Many names give one slug. */
export function slugOf(text: string): string {
  return text
    .normalize("NFKD")
    .toLowerCase()
    .replaceAll(/\p{Mark}/gu, "")
    .replaceAll(/[^\p{Letter}\p{Number}]+/gu, "-")
    .replaceAll(/^-+|-+$/g, "")
    .slice(0, 100);
}

/** Names of the fields that differ, sorted. */
export function changedFields(before: Fields, after: Fields): string[] {
  const old = Object.keys(before);
  if (old.length === 0) return Object.keys(after).toSorted();
  const names = new Set([...old, ...Object.keys(after)]);
  return [...names].filter((name) => !sameField(before[name], after[name])).toSorted();
}

function sameField(a: FieldValue | undefined, b: FieldValue | undefined): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object") return false;
  return canonicalJson(a) === canonicalJson(b);
}
