import type { InputIssue } from "../contracts/errors.ts";
import { CLEAR, type FieldValue, type Fields } from "../contracts/inventory.ts";
import { unstorable } from "../contracts/text.ts";
import type { Json } from "./exact-json.ts";
import {
  cleanList,
  cleanMap,
  cleanScalar,
  isEmpty,
  isList,
  isRecord,
  kindOf,
  LONG_TEXT,
  MAX_DEPTH,
  shown,
  warn,
  wrong,
  type Reading,
} from "./inventory-values.ts";
import type { InventoryField, InventoryType, Registry } from "./registry.ts";

/** Objects nested in one entity, itself included. */
const MAX_OBJECTS = 2_000;
/**
 * Bytes of text and numbers that name one object. An index entry of Postgres holds 2,704; what is left
 * is for the ids of objects in the name.
 */
const MAX_KEY_BYTES = 2_000;

export interface CleanFields {
  fields: Fields;
  warnings: readonly string[];
  /** Why the entity is invalid; then nothing of it counts. */
  issues: readonly InputIssue[];
}

/**
 * The fields of an entity as they are kept: names in snake_case, only what the registry knows, nothing
 * empty, every value of its field's kind, nested objects likewise. What the registry does not know is
 * dropped with a warning; `metadata` is dropped without.
 */
export function cleanFields(registry: Registry, type: InventoryType, given: Json): CleanFields {
  const reading: Reading = { registry, issues: [], warnings: [], objects: 0, long: false };
  const fields = cleanObject(reading, type, given, type.name, 0) ?? {};
  if (reading.issues.length === 0 && isEmpty(fields)) {
    reading.issues.push({ path: type.name, message: "says nothing: give the fields that name it" });
  }
  return { fields, warnings: reading.warnings, issues: reading.issues };
}

function cleanObject(
  reading: Reading,
  type: InventoryType,
  given: Json,
  path: string,
  depth: number,
): Fields | undefined {
  if (!isRecord(given)) return wrong(reading, path, `must be an object, not ${kindOf(given)}`);
  if (depth > MAX_DEPTH) return wrong(reading, path, `is nested deeper than ${MAX_DEPTH} objects`);
  if (++reading.objects === MAX_OBJECTS + 1) {
    return wrong(reading, path, `is one of more than ${MAX_OBJECTS} nested objects: send fewer`);
  }
  if (reading.objects > MAX_OBJECTS) return undefined;
  const fields: Record<string, FieldValue> = {};
  for (const name in given) {
    if (name === CLEAR) {
      const clear = cleanClear(reading, type, given[name]!, `${path}.${CLEAR}`);
      if (clear.length > 0) fields[CLEAR] = clear;
      continue;
    }
    const field = type.anyCase.get(name);
    if (!field) {
      if (name !== "metadata")
        warn(reading, `${path}.${shown(name)} is no field of ${type.name}: dropped`);
      continue;
    }
    const value = cleanValue(reading, field, given[name]!, `${path}.${field.name}`, depth);
    if (value === undefined) continue;
    const other = fields[field.name];
    if (other !== undefined && !sameValue(other, value)) {
      wrong(reading, `${path}.${field.name}`, "is given twice with different values");
    }
    fields[field.name] = value;
  }
  if (reading.long) checkNames(reading, type, fields, path);
  return fields;
}

function cleanValue(
  reading: Reading,
  field: InventoryField,
  given: Json,
  path: string,
  depth: number,
): FieldValue | undefined {
  if (given === null || given === "") return undefined;
  switch (field.kind) {
    case "text":
    case "integer":
    case "number":
    case "boolean":
      // An empty list or object says nothing, whatever was to stand there.
      return isEmpty(given) ? undefined : cleanScalar(reading, field.kind, field, given, path);
    case "list":
      return isEmpty(given) ? undefined : cleanList(reading, field, given, path);
    case "map":
      return isEmpty(given) ? undefined : cleanMap(reading, given, path);
    case "reference":
      return isEmpty(given) ? undefined : cleanReference(reading, field, given, path, depth);
    case "references": {
      if (isEmpty(given)) return undefined;
      if (!isList(given)) return wrong(reading, path, `must be a list, not ${kindOf(given)}`);
      const all = given.flatMap((one, no) =>
        one === null || isEmpty(one)
          ? []
          : (cleanReference(reading, field, one, `${path}[${no}]`, depth) ?? []),
      );
      return all.length > 0 ? all : undefined;
    }
  }
}

function cleanReference(
  reading: Reading,
  field: InventoryField,
  given: Json,
  path: string,
  depth: number,
): FieldValue | undefined {
  if (!isRecord(given))
    return wrong(reading, path, `must be an object given by value, not ${kindOf(given)}`);
  if (!field.generic) {
    const nested = cleanObject(
      reading,
      reading.registry.types.get(field.targets[0]!)!,
      given,
      path,
      depth + 1,
    );
    return nested && !isEmpty(nested) ? nested : undefined;
  }
  const [named, ...others] = Object.keys(given).filter((key) => given[key] !== null);
  const type = named === undefined ? undefined : typeNamed(reading.registry, named);
  if (
    !type ||
    others.length > 0 ||
    (field.targets.length > 0 && !field.targets.includes(type.name))
  ) {
    const choice = field.targets.length > 0 ? field.targets.join(", ") : "a type of the registry";
    return wrong(reading, path, `must hold one object under the name of its type: ${choice}`);
  }
  const nested = cleanObject(reading, type, given[named!]!, `${path}.${type.name}`, depth + 1);
  return nested && !isEmpty(nested) ? { [type.name]: nested } : undefined;
}

/** `interface`, and `object_interface` as some feeds write it. */
function typeNamed(registry: Registry, name: string): InventoryType | undefined {
  return (
    registry.find(name) ??
    registry.find(
      name.replace(/^object_?(?=.)/, "").replace(/^[A-Z]/, (letter) => letter.toLowerCase()),
    )
  );
}

function cleanClear(reading: Reading, type: InventoryType, given: Json, path: string): string[] {
  if (given === null || isEmpty(given)) return [];
  if (!isList(given)) {
    wrong(reading, path, `must be a list of field names, not ${kindOf(given)}`);
    return [];
  }
  const names = new Set<string>();
  for (const [no, name] of given.entries()) {
    if (typeof name !== "string") {
      wrong(reading, `${path}[${no}]`, `must be the name of a field, not ${kindOf(name)}`);
      continue;
    }
    const unfit = unstorable(name);
    if (unfit) {
      wrong(reading, `${path}[${no}]`, unfit);
      continue;
    }
    const dot = name.indexOf(".");
    const field = type.anyCase.get(dot === -1 ? name : name.slice(0, dot));
    if (!field || (dot !== -1 && field.kind !== "map")) {
      warn(reading, `${path}[${no}]: ${shown(name)} is no field of ${type.name}: dropped`);
    } else if (type.need.includes(field)) {
      wrong(
        reading,
        `${path}[${no}]`,
        `${field.name} is needed by every ${type.name} and cannot be cleared`,
      );
    } else names.add(dot === -1 ? field.name : field.name + name.slice(dot));
  }
  return [...names].toSorted();
}

function checkNames(
  reading: Reading,
  type: InventoryType,
  fields: Record<string, FieldValue>,
  path: string,
) {
  for (const matcher of type.matchers) {
    let bytes = 0;
    let longest: string | undefined;
    for (const { field } of matcher.parts) {
      const value = fields[field.name];
      if (typeof value !== "string" || value.length < LONG_TEXT) continue;
      bytes += Buffer.byteLength(JSON.stringify(value));
      longest ??= field.name;
    }
    if (bytes <= MAX_KEY_BYTES) continue;
    wrong(
      reading,
      `${path}.${longest}`,
      `names the object and is longer than ${MAX_KEY_BYTES} bytes`,
    );
    return;
  }
}

function sameValue(a: FieldValue, b: FieldValue): boolean {
  return a === b || (typeof a === "object" && JSON.stringify(a) === JSON.stringify(b));
}
