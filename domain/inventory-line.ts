import type { InputIssue } from "../contracts/errors.ts";
import type { Entity } from "../contracts/inventory.ts";
import { unstorable } from "../contracts/text.ts";
import { parseExactJson, type Json } from "./exact-json.ts";
import { cleanFields } from "./inventory-entity.ts";
import { exactTime } from "./inventory-time.ts";
import type { InventoryType, Registry } from "./registry.ts";

/** One entity, with everything nested in it. */
export const MAX_LINE_BYTES = 1024 * 1024;
const MAX_BRANCH_LENGTH = 200;

export type RejectionCode =
  | "not-utf-8"
  | "too-long"
  | "not-json"
  | "unknown-type"
  | "two-types"
  | "timestamp"
  | "branch"
  | "fields"
  | "missing-identity";

/** Why one entity is not taken. Its siblings are. */
export interface Rejection {
  code: RejectionCode;
  /** Where, as a path into the entity: `device.site.name`. */
  issues: readonly InputIssue[];
}

export type EntityReading =
  | { read: "entity"; entity: Entity }
  | { read: "rejection"; rejection: Rejection }
  /** White space only. */
  | { read: "nothing" };

/**
 * One line of a feed, without its line feed. A byte order mark before it and a carriage return after it
 * are no part of it. Never throws.
 */
export function readLine(registry: Registry, line: string | Uint8Array): EntityReading {
  const bytes = typeof line === "string" ? Buffer.byteLength(line) : line.byteLength;
  if (bytes > MAX_LINE_BYTES) {
    return rejected(
      "too-long",
      "line",
      `is longer than ${MAX_LINE_BYTES} bytes: send less in one entity`,
    );
  }
  let text: string;
  try {
    text = typeof line === "string" ? line : UTF_8.decode(line);
  } catch {
    return rejected("not-utf-8", "line", "is not UTF-8");
  }
  if (text.startsWith("\uFEFF")) text = text.slice(1);
  if (/^[ \t\r]*$/.test(text)) return { read: "nothing" };
  let value: Json;
  try {
    value = parseExactJson(text);
  } catch (error) {
    return rejected("not-json", "line", `cannot be read: ${shortly(error)}`);
  }
  return readEntity(registry, value);
}

/** Whether an entity may be of a branch of this name; empty: of none. */
export function isBranch(name: string): boolean {
  return name.length <= MAX_BRANCH_LENGTH && unstorable(name) === undefined;
}

const UTF_8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * One entity as JSON: `{ "timestamp", "<type>": { ... } }`, or the envelope `{ "object_type", "entity",
 * "timestamp"?, "branch"? }`, whose entity may stand under the name of its type once more. Never throws.
 */
export function readEntity(registry: Registry, value: Json): EntityReading {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return rejected(
      "unknown-type",
      "line",
      'must be an object: {"timestamp": ..., "<type>": {...}}',
    );
  }
  const given = value as { readonly [key: string]: Json };
  const envelope = "object_type" in given || "objectType" in given;
  const found = envelope ? fromEnvelope(registry, given) : fromTypedLine(registry, given);
  if ("code" in found) return { read: "rejection", rejection: found };

  const time = typeof given["timestamp"] === "string" ? exactTime(given["timestamp"]) : undefined;
  const untimed = envelope && (given["timestamp"] ?? null) === null;
  if (time === undefined && !untimed) {
    return rejected(
      "timestamp",
      "timestamp",
      'must be an RFC 3339 time like "2026-03-01T00:00:00.123456789Z"',
    );
  }
  const branch = given["branch"] ?? "";
  if (typeof branch !== "string" || !isBranch(branch)) {
    return rejected("branch", "branch", `must be text of at most ${MAX_BRANCH_LENGTH} characters`);
  }
  const clean = cleanFields(registry, found.type, found.fields);
  if (clean.issues.length > 0) {
    return { read: "rejection", rejection: { code: "fields", issues: clean.issues } };
  }
  return {
    read: "entity",
    entity: {
      type: found.type.name,
      fields: clean.fields,
      ...(time !== undefined && { sourceTime: time }),
      ...(branch !== "" && { branch }),
      warnings: [...found.warnings, ...clean.warnings],
    },
  };
}

interface Found {
  type: InventoryType;
  fields: Json;
  warnings: readonly string[];
}

const NO_TYPES: ReadonlySet<string> = new Set(["timestamp", "branch", "metadata"]);

function fromTypedLine(
  registry: Registry,
  given: { readonly [key: string]: Json },
): Found | Rejection {
  const names = Object.keys(given).filter((name) => !NO_TYPES.has(name) && given[name] !== null);
  const [first, second] = names.filter((name) => registry.find(name));
  if (first === undefined) {
    const what =
      names.length > 0 ? `${JSON.stringify(names[0]!.slice(0, 100))} is no type` : "names no type";
    return rejection("unknown-type", "line", `${what} of the ${registry.name} registry`);
  }
  if (second !== undefined) {
    return rejection(
      "two-types",
      "line",
      `holds ${first} and ${second}: send each in a line of its own`,
    );
  }
  const warnings = names
    .filter((name) => name !== first)
    .map(
      (name) =>
        `${JSON.stringify(name.slice(0, 100))} is no type of the ${registry.name} registry: dropped`,
    );
  return { type: registry.find(first)!, fields: given[first]!, warnings: warnings.slice(0, 20) };
}

function fromEnvelope(
  registry: Registry,
  given: { readonly [key: string]: Json },
): Found | Rejection {
  const name = given["object_type"] ?? given["objectType"];
  const type = typeof name === "string" ? registry.find(name) : undefined;
  if (!type) {
    return rejection(
      "unknown-type",
      "object_type",
      `${shortly(name)} is no type of the ${registry.name} registry`,
    );
  }
  const entity = given["entity"] ?? null;
  if (typeof entity !== "object" || entity === null || Array.isArray(entity)) {
    return rejection("fields", "entity", "must be an object");
  }
  const [key, ...others] = Object.keys(entity).filter((key) => !NO_TYPES.has(key));
  const inner = key === undefined ? undefined : (entity as { readonly [key: string]: Json })[key];
  const wrapped =
    key !== undefined &&
    others.length === 0 &&
    registry.find(key) === type &&
    !type.anyCase.has(key) &&
    typeof inner === "object";
  return { type, fields: wrapped ? inner! : entity, warnings: [] };
}

function rejection(code: RejectionCode, path: string, message: string): Rejection {
  return { code, issues: [{ path, message }] };
}

function rejected(code: RejectionCode, path: string, message: string): EntityReading {
  return { read: "rejection", rejection: rejection(code, path, message) };
}

function shortly(value: unknown): string {
  const text = value instanceof Error ? value.message : JSON.stringify(value ?? null);
  // What a line holds may hold anything; what is said of it is stored.
  return text.replaceAll(/[\p{Cc}\p{Cs}]/gu, "?").slice(0, 200);
}

/**
 * The lines of a text: only a line feed ends one, whatever else Unicode calls a line end. The last one
 * counts without it.
 */
export function* linesOf(text: string): Iterable<string> {
  for (let from = 0; from < text.length;) {
    const end = text.indexOf("\n", from);
    yield end === -1 ? text.slice(from) : text.slice(from, end);
    if (end === -1) return;
    from = end + 1;
  }
}
