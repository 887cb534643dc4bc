import type { Reject } from "../db/inbox.ts";
import { namedEntry, type InboxEntry } from "../domain/inbox-entry.ts";
import { storedJson, type Json } from "../domain/exact-json.ts";
import {
  isBranch,
  MAX_LINE_BYTES,
  readEntity,
  readLine,
  type EntityReading,
  type RejectionCode,
} from "../domain/inventory-line.ts";
import type { Registry } from "../domain/registry.ts";

/** What comes from outside, entity by entity: ready to be taken in, or a reject with its raw bytes. */

const LF = 0x0a;

export interface Line {
  /** From 1. */
  no: number;
  /** At most one byte more than a line may have. */
  bytes: Buffer;
  /** Of all of it. */
  length: number;
}

/** Lines end at LF only; the last one counts without it. What is too long is cut, and the next one comes. */
export async function* linesIn(source: AsyncIterable<Uint8Array | string>): AsyncIterable<Line> {
  let pending: Buffer[] = [];
  let kept = 0;
  let length = 0;
  let no = 1;
  for await (const chunk of source) {
    const bytes =
      typeof chunk === "string"
        ? Buffer.from(chunk)
        : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let from = 0;
    for (;;) {
      const to = bytes.indexOf(LF, from);
      const piece = bytes.subarray(from, to === -1 ? undefined : to);
      length += piece.length;
      const room = piece.subarray(0, Math.max(0, MAX_LINE_BYTES + 1 - kept));
      kept += room.length;
      // A caller's stream may use its chunk again; what stays behind is copied.
      if (room.length > 0) pending.push(to === -1 ? Buffer.from(room) : room);
      if (to === -1) break;
      yield { no, bytes: pending.length === 1 ? pending[0]! : Buffer.concat(pending), length };
      pending = [];
      kept = length = 0;
      no++;
      from = to + 1;
    }
  }
  if (length > 0) yield { no, bytes: Buffer.concat(pending), length };
}

export interface ReadOptions {
  registry: Registry;
  /** The branch of a snapshot, which every entity of it has to be of. */
  onlyBranch?: string | undefined;
  snapshot: boolean;
}

export type Read = { entry: InboxEntry } | { reject: Reject } | undefined;

/**
 * The branch that an entity names, as far as can be told without reading it. It may name one and be a
 * reject; one that is taken in names no other.
 */
export function branchIn(value: unknown): string | undefined {
  const branch = (value as { branch?: unknown } | null | undefined)?.branch;
  return typeof branch === "string" && branch !== "" && isBranch(branch) ? branch : undefined;
}

/** The same of a line, which is nearly never parsed for it. */
export function branchInLine({ bytes }: Line): string | undefined {
  if (!bytes.includes(BRANCH) && !bytes.includes(ESCAPED)) return undefined;
  try {
    return branchIn(JSON.parse(bytes.toString().replace(/^\uFEFF/, "")));
  } catch {
    return undefined;
  }
}

const BRANCH = Buffer.from("branch");
/** The same name may be written letter by letter. */
const ESCAPED = Buffer.from("\\u00");

/** Undefined: white space only. */
export function readInboxLine(options: ReadOptions, { no, bytes, length }: Line): Read {
  const reading = readLine(options.registry, bytes);
  const read = finished(options, reading, no, () => bytes);
  if (read && "reject" in read && read.reject.code === "too-long" && length > bytes.length) {
    const message = `is ${length} bytes long, at most ${MAX_LINE_BYTES} are taken: send less in one entity; only its beginning is kept`;
    return { reject: { ...read.reject, issues: [{ path: "line", message }] } };
  }
  return read;
}

/** The same of one entity in a list. `value` may be anything that a program can hold. */
export function readInboxEntity(options: ReadOptions, value: unknown, no: number): Read {
  const json = isJson(value, 0) ? value : asJson(value, 0);
  if (json === NOT_JSON) {
    const message = "holds what JSON cannot: send text, numbers, true, false, lists and objects";
    return rejected(no, "not-json", "entity", message);
  }
  return finished(options, readEntity(options.registry, json), no, () => rawOf(json));
}

function finished(
  { registry, onlyBranch, snapshot }: ReadOptions,
  reading: EntityReading,
  no: number,
  raw: () => Uint8Array,
): Read {
  if (reading.read === "nothing") return undefined;
  if (reading.read === "rejection") return { reject: { no, ...reading.rejection, raw: raw() } };
  const { entity } = reading;
  if (onlyBranch !== undefined && (entity.branch ?? onlyBranch) !== onlyBranch) {
    const message = `is ${JSON.stringify(entity.branch)}, and the snapshot is of ${onlyBranch}: send a snapshot for each branch`;
    return rejected(no, "branch", "branch", message, raw());
  }
  const entry = namedEntry(registry, entity, snapshot);
  return "issues" in entry ? { reject: { no, ...entry, raw: raw() } } : { entry };
}

function rejected(
  no: number,
  code: RejectionCode,
  path: string,
  message: string,
  raw?: Uint8Array,
): Read {
  return { reject: { no, code, issues: [{ path, message }], ...(raw && { raw }) } };
}

const NOT_JSON = Symbol("not JSON");
/** Deeper than any entity may be, so that what contains itself is found. */
const DEEPEST = 64;

/** Whether it can be read as it stands: nearly always, for it was parsed. */
function isJson(value: unknown, depth: number): value is Json {
  switch (typeof value) {
    case "string":
    case "boolean":
    case "bigint":
      return true;
    case "number":
      return Number.isFinite(value);
    case "object":
      break;
    default:
      return false;
  }
  if (value === null) return true;
  if (depth > DEEPEST) return false;
  if (Array.isArray(value)) {
    for (const part of value as unknown[]) if (!isJson(part, depth + 1)) return false;
    return true;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== null && prototype !== Object.prototype) return false;
  const fields = value as Record<string, unknown>;
  for (const name in fields) if (!isJson(fields[name], depth + 1)) return false;
  return true;
}

function asJson(value: unknown, depth: number): Json | typeof NOT_JSON {
  switch (typeof value) {
    case "string":
    case "boolean":
    case "bigint":
      return value;
    case "number":
      return Number.isFinite(value) ? value : NOT_JSON;
    case "object":
      break;
    default:
      return NOT_JSON;
  }
  if (value === null) return null;
  if (depth > DEEPEST) return NOT_JSON;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? NOT_JSON : value.toISOString();
  if (Array.isArray(value)) {
    const list: Json[] = [];
    for (const part of value as unknown[]) {
      const json = asJson(part, depth + 1);
      if (json === NOT_JSON) return NOT_JSON;
      list.push(json);
    }
    return list;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== null && prototype !== Object.prototype) return NOT_JSON;
  const fields: Record<string, Json> = {};
  for (const [name, part] of Object.entries(value)) {
    if (part === undefined) continue;
    const json = asJson(part, depth + 1);
    if (json === NOT_JSON) return NOT_JSON;
    Object.defineProperty(fields, name, {
      value: json,
      enumerable: true,
      writable: true,
      configurable: true,
    });
  }
  return fields;
}

function rawOf(json: Json): Uint8Array {
  return Buffer.from(storedJson(json));
}
