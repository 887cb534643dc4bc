import { createHash } from "node:crypto";
import type { Fields, FieldValue, ObjectId } from "../contracts/inventory.ts";
import { canonicalJson } from "./exact-json.ts";
import { objectIn, type Draft } from "./plan-overlay.ts";
import type { InventoryField, InventoryType, Matcher } from "./registry.ts";

/** Deeper identities show the id of what is named further down. */
const MAX_DEPTH = 16;

/**
 * What names an object, for people and for hashes: the fields of its first complete matcher, references
 * by their own identity. Notes in the draft what it would have to know.
 */
export function identityOf(draft: Draft, id: ObjectId, depth = 0): Fields {
  const object = objectIn(draft, id);
  if (!object) {
    if (draft.overlay.gone.has(id)) return { gone: id };
    draft.wantedIds.add(id);
    return {};
  }
  const known = draft.renames ? undefined : draft.overlay.identities.get(object);
  if (known) return known;
  const matcher = firstComplete(object.type, object.data);
  if (!matcher || depth > MAX_DEPTH) return { id };
  const asked = draft.wantedIds.size;
  const identity = shownFields(draft, object.type, object.data, namesOf(matcher), depth);
  // What is incomplete, or cut short, or seen through a rename that may be refused, is not kept.
  if (!draft.renames && draft.wantedIds.size === asked && depth === 0) {
    draft.overlay.identities.set(object, identity);
  }
  return identity;
}

/** Fields as people read them: sorted by name, references by identity. */
export function shownFields(
  draft: Draft,
  type: InventoryType,
  data: Fields,
  names: readonly string[],
  depth = 0,
): Fields {
  const shown: Record<string, FieldValue> = {};
  for (const name of names.toSorted()) {
    const value = data[name];
    const field = type.fields.get(name);
    if (value !== undefined) shown[name] = field ? shownValue(draft, field, value, depth) : value;
  }
  return shown;
}

function shownValue(
  draft: Draft,
  field: InventoryField,
  value: FieldValue,
  depth: number,
): FieldValue {
  const one = (id: FieldValue): Fields => {
    const identity = identityOf(draft, id as ObjectId, depth + 1);
    const type = field.generic ? objectIn(draft, id as ObjectId)?.type.name : undefined;
    return type === undefined ? identity : { [type]: identity };
  };
  if (field.kind === "reference") return one(value);
  if (field.kind === "references") {
    // Sets have no order; ids of new objects would give them one by chance.
    const all = (value as readonly ObjectId[]).map(one);
    return all
      .map((part) => [canonicalJson(part), part] as const)
      .toSorted(byText)
      .map(([, part]) => part);
  }
  return field.kind === "map" ? sorted(value) : value;
}

function byText(a: readonly [string, unknown], b: readonly [string, unknown]): number {
  return a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0;
}

function sorted(value: FieldValue): FieldValue {
  if (typeof value !== "object") return value;
  if (Array.isArray(value)) return (value as readonly FieldValue[]).map(sorted);
  const entries = Object.entries(value as Fields).toSorted(byText);
  return Object.fromEntries(entries.map(([key, part]) => [key, sorted(part)]));
}

function firstComplete(type: InventoryType, data: Fields): Matcher | undefined {
  return type.matchers.find((matcher) => isComplete(matcher, data));
}

function isComplete(matcher: Matcher, data: Fields): boolean {
  return (
    matcher.when.every(([name, wanted]) => (data[name] ?? null) === wanted) &&
    matcher.parts.every(({ field, optional }) => optional || data[field.name] !== undefined)
  );
}

function namesOf(matcher: Matcher): string[] {
  return matcher.parts.map(({ field }) => field.name);
}

/**
 * By what the arrival of an object is known to those who wait for it: one digest (64 hex digits) for
 * each complete matcher, made of identities, so that it is the same before and after the object exists.
 */
export function arrivalKeys(draft: Draft, type: InventoryType, data: Fields): string[] {
  return type.matchers.flatMap((matcher) => {
    if (!isComplete(matcher, data)) return [];
    const identity = shownFields(draft, type, data, namesOf(matcher));
    const text = `${type.name}:${matcher.name}:${canonicalJson(identity)}`;
    return createHash("sha256").update(text).digest("hex");
  });
}

/** The one line that people know an object by: `sw1`, `R101 12 front`. */
export function displayValue(identity: Fields): string {
  const words: string[] = [];
  for (const value of Object.values(identity)) {
    if (typeof value !== "object") words.push(String(value));
  }
  if (words.length > 0) return words.join(" ").slice(0, 200);
  const nested = Object.values(identity).find((value) => typeof value === "object");
  return nested === undefined
    ? ""
    : displayValue(Array.isArray(nested) ? (nested[0] as Fields) : (nested as Fields));
}
