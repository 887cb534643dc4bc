import { createHash } from "node:crypto";
import type { FieldValue, Fields } from "../contracts/inventory.ts";
import { canonicalJson } from "./exact-json.ts";
import type { InventoryField, InventoryType, Matcher } from "./registry.ts";

/**
 * Match keys: text that two objects share when a matcher calls them the same. A key is
 * `device:name+site+tenant?:"sw1" 17 -`, its parts JSON, ids, or `-` for an absent one. Case counts.
 */

/** Longer lists of ids stand in a key as their digest: an index entry is bounded. */
const MAX_IDS = 400;
const ABSENT = "-";

/** Looks up what a key is made of: scalars as they are, references as ids (lists sorted). */
export type PartOf = (field: InventoryField) => FieldValue | undefined;

/** The key that one matcher gives; undefined when a part of it is missing or its condition fails. */
export function matchKey(
  type: InventoryType,
  matcher: Matcher,
  partOf: PartOf,
): string | undefined {
  for (const [name, wanted] of matcher.when) {
    if ((partOf(type.fields.get(name)!) ?? null) !== wanted) return undefined;
  }
  const parts: string[] = [];
  for (const { field, optional } of matcher.parts) {
    const value = partOf(field);
    if (value === undefined && !optional) return undefined;
    parts.push(value === undefined ? ABSENT : encoded(field, value));
  }
  if (matcher.anyOrder) parts.sort();
  return `${type.name}:${matcher.name}:${parts.join(" ")}`;
}

/** Every key of an object, by the number of its matcher. */
export function objectKeys(type: InventoryType, data: Fields): Map<number, string> {
  const keys = new Map<number, string>();
  for (const [no, matcher] of type.matchers.entries()) {
    const key = matchKey(type, matcher, (field) => data[field.name]);
    if (key !== undefined) keys.set(no, key);
  }
  return keys;
}

function encoded(field: InventoryField, value: FieldValue): string {
  if (field.kind === "reference") return value as string;
  if (field.kind !== "references") return canonicalJson(value);
  const ids = (value as readonly string[]).join(",");
  if (ids.length <= MAX_IDS) return ids;
  return `sha256:${createHash("sha256").update(ids).digest("hex")}`;
}
