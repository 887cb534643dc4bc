import type { InputIssue } from "../contracts/errors.ts";
import type { FieldValue } from "../contracts/inventory.ts";
import { codePointLength, unstorable } from "../contracts/text.ts";
import { MAX_DIGITS, type Json } from "./exact-json.ts";
import type { InventoryField, Registry } from "./registry.ts";

/** Values of an entity, of the kind their field wants, as they can be stored. Undefined: says nothing, or is wrong. */

/** Objects inside objects. */
export const MAX_DEPTH = 32;
const MAX_ISSUES = 20;
const MAX_WARNINGS = 20;

/** One entity as it is read: what was found wrong, what was dropped. */
export interface Reading {
  registry: Registry;
  issues: InputIssue[];
  warnings: string[];
  objects: number;
  /** Some text in it is long enough to make a name too long. */
  long: boolean;
}

/** Nothing shorter is counted for a name. */
export const LONG_TEXT = 100;

export function cleanScalar(
  reading: Reading,
  kind: "text" | "integer" | "number" | "boolean",
  field: InventoryField,
  given: Json,
  path: string,
): FieldValue | undefined {
  if (kind === "text") {
    if (typeof given !== "string")
      return wrong(reading, path, `must be text, not ${kindOf(given)}`);
    if (given.length >= LONG_TEXT) reading.long = true;
    const unfit = unstorable(given);
    if (unfit) return wrong(reading, path, unfit);
    if (field.oneOf && !field.oneOf.includes(given)) {
      return wrong(reading, path, `must be one of ${field.oneOf.join(", ")}`);
    }
    if (field.maxLength !== undefined && codePointLength(given) > field.maxLength) {
      return wrong(reading, path, `is longer than ${field.maxLength} characters`);
    }
    return given;
  }
  if (kind === "boolean") {
    if (typeof given === "boolean") return given;
    return wrong(reading, path, `must be true or false, not ${kindOf(given)}`);
  }
  const number = exactNumber(reading, given, path);
  if (number === undefined) return undefined;
  if (kind === "integer" && typeof number === "number" && !Number.isInteger(number)) {
    return wrong(reading, path, "must be an integer");
  }
  if (field.min !== undefined && number < field.min)
    return wrong(reading, path, `is below ${field.min}`);
  if (field.max !== undefined && number > field.max)
    return wrong(reading, path, `is above ${field.max}`);
  return number;
}

/** Integers beyond 2^53 come as bigint from the parser; from a program, only as bigint are they exact. */
function exactNumber(reading: Reading, given: Json, path: string): number | bigint | undefined {
  if (typeof given === "bigint") {
    if (given.toString().length <= MAX_DIGITS + 1)
      return Number.isSafeInteger(Number(given)) ? Number(given) : given;
    return wrong(reading, path, `has more than ${MAX_DIGITS} digits`);
  }
  if (typeof given !== "number")
    return wrong(reading, path, `must be a number, not ${kindOf(given)}`);
  if (!Number.isFinite(given)) return wrong(reading, path, "is not a finite number");
  if (Number.isInteger(given) && !Number.isSafeInteger(given)) {
    return wrong(reading, path, "is beyond 2^53 and no longer exact: give it as a bigint");
  }
  // Minus zero is zero.
  return given + 0;
}

export function cleanList(
  reading: Reading,
  field: InventoryField,
  given: Json,
  path: string,
): FieldValue | undefined {
  if (!isList(given)) return wrong(reading, path, `must be a list, not ${kindOf(given)}`);
  const all = given.flatMap((one, no) =>
    one === null || one === ""
      ? []
      : (cleanScalar(reading, field.of!, field, one, `${path}[${no}]`) ?? []),
  );
  return all.length > 0 ? all : undefined;
}

export function cleanMap(reading: Reading, given: Json, path: string): FieldValue | undefined {
  if (!isRecord(given)) return wrong(reading, path, `must be an object, not ${kindOf(given)}`);
  return cleanJson(reading, given, path, 0);
}

/** Any JSON, with what is empty taken out, however deep. */
function cleanJson(
  reading: Reading,
  given: Json,
  path: string,
  depth: number,
): FieldValue | undefined {
  if (given === null || given === "" || given === undefined) return undefined;
  if (typeof given === "string") {
    const unfit = unstorable(given);
    return unfit ? wrong(reading, path, unfit) : given;
  }
  if (typeof given === "number" || typeof given === "bigint")
    return exactNumber(reading, given, path);
  if (typeof given !== "object") return given;
  if (depth > MAX_DEPTH) return wrong(reading, path, `is nested deeper than ${MAX_DEPTH} objects`);
  if (isList(given)) {
    const all = given.flatMap((one, no) => {
      const value = cleanJson(reading, one, `${path}[${no}]`, depth + 1);
      return value === undefined ? [] : [value];
    });
    return all.length > 0 ? all : undefined;
  }
  const entries: [string, FieldValue][] = [];
  for (const [key, part] of Object.entries(given)) {
    const unfit = unstorable(key);
    if (unfit) return wrong(reading, path, `has a key that ${unfit}`);
    const value = cleanJson(reading, part, `${path}.${shown(key)}`, depth + 1);
    if (value !== undefined) entries.push([key, value]);
  }
  // Not by assignment: a key may be __proto__.
  return entries.length > 0 ? Object.fromEntries(entries) : undefined;
}

export function wrong(reading: Reading, path: string, message: string): undefined {
  if (reading.issues.length < MAX_ISSUES) reading.issues.push({ path, message });
}

export function warn(reading: Reading, warning: string): void {
  if (reading.warnings.length < MAX_WARNINGS) reading.warnings.push(warning);
}

export function isRecord(value: Json): value is { readonly [key: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

export function isEmpty(value: Json): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (isList(value)) return value.length === 0;
  for (const _ in value) return false;
  return true;
}

export function kindOf(value: Json): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "an object";
  return typeof value === "string"
    ? "text"
    : typeof value === "boolean"
      ? "true or false"
      : "a number";
}

/** A name somebody chose, as it can be shown and stored. */
export function shown(name: string): string {
  return JSON.stringify(name.slice(0, 100)).slice(1, -1);
}
