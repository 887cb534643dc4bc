import { createHash } from "node:crypto";
import canonicalizeModule from "canonicalize";

// The package is CommonJS and exports the function itself; its typings promise an ES default.
const canonicalize = canonicalizeModule as unknown as (value: unknown) => string | undefined;

/** Changes with every change of what is hashed, so that digests of two versions never compare. */
const VERSION = "holdfast-2\n";
/** Longer strings are hashed in slices of this many code units, not copied as a whole. */
const SLICE = 65_536;
/** Small values are joined to about this many code units before they are hashed. */
const FLUSH = 65_536;

export interface BatchDigest {
  /**
   * Takes the next item. The order of items counts. `contentBytes`: the length of its content, when
   * that is hashed apart and left out of the item.
   */
  add(item: unknown, contentBytes?: number): void;
  /**
   * SHA-256, 32 bytes. Ends the digest. `contents`: SHA-256 of all contents hashed apart, one after
   * the other; the lengths say where each of them ends.
   */
  digest(contents?: Uint8Array): Buffer;
}

/**
 * SHA-256 over the canonical JSON (RFC 8785) of a value: the order of keys does not matter, every
 * value does; properties that are `undefined` count as absent. Throws on what JSON cannot hold.
 */
export function digestOf(value: unknown): Buffer {
  return createBatchDigest(value).digest();
}

/**
 * Digest of a header and a sequence of items, one at a time, so that the items need never be in
 * memory together. Each is one line of canonical JSON: where one item ends matters.
 */
export function digestBatch(header: unknown, items: Iterable<unknown>): Buffer {
  const digest = createBatchDigest(header);
  for (const item of items) digest.add(item);
  return digest.digest();
}

/** The digest of `digestBatch`, for items that arrive over time. */
export function createBatchDigest(header: unknown): BatchDigest {
  const hash = createHash("sha256");
  let waiting = VERSION;
  const write = (text: string) => {
    waiting += text;
    if (waiting.length < FLUSH) return;
    hash.update(waiting, "utf8");
    waiting = "";
  };
  const add = (value: unknown, contentBytes?: number) => {
    writeCanonical(value, write);
    // Canonical JSON holds no raw line feed and does not end in a blank, so this ends the value
    // beyond doubt.
    write(contentBytes === undefined ? "\n" : ` ${contentBytes}\n`);
  };
  add(header);
  return {
    add,
    digest(contents) {
      hash.update(waiting, "utf8");
      if (contents) hash.update(contents);
      return hash.digest();
    },
  };
}

/**
 * Writes what `canonicalize` gives. The fields of an item are written one by one: nearly all of them
 * are strings, which JSON writes in canonical form by itself, long ones in slices.
 */
function writeCanonical(value: unknown, write: (text: string) => void): void {
  if (!isPlainObject(value)) {
    write(canonical(value));
    return;
  }
  let before = "{";
  for (const key of Object.keys(value).toSorted()) {
    const field = value[key];
    if (field === undefined || typeof field === "symbol") continue;
    write(`${before}${JSON.stringify(key)}:`);
    if (isLong(field)) writeLongString(field, write);
    else write(typeof field === "string" ? JSON.stringify(field) : canonical(field));
    before = ",";
  }
  write(before === "{" ? "{}" : "}");
}

function writeLongString(text: string, write: (text: string) => void): void {
  write('"');
  for (let at = 0; at < text.length;) {
    let end = Math.min(at + SLICE, text.length);
    // A pair cut in two would be escaped as two halves.
    if (end < text.length && isHighSurrogate(text.charCodeAt(end - 1))) end -= 1;
    write(JSON.stringify(text.slice(at, end)).slice(1, -1));
    at = end;
  }
  write('"');
}

function canonical(value: unknown): string {
  const text = canonicalize(value);
  if (text === undefined) throw new TypeError(`a ${typeof value} has no JSON form to digest`);
  return text;
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return !("toJSON" in value && typeof value.toJSON === "function");
}

function isLong(value: unknown): value is string {
  return typeof value === "string" && value.length > SLICE;
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff;
}
