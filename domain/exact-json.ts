import type { FieldValue } from "../contracts/inventory.ts";

/**
 * JSON whose integers are never rounded: beyond 2^53 they are bigint, in any notation. The parser of
 * the platform does the work; only a text that may hold such a number is looked at again.
 */

/** Sixteen digits in a row, or an exponent: nothing else makes an integer that a double cannot hold. */
const MAY_HOLD_BIG = /\d{16}|\d[eE]/;
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/;
const NUMBER_CHARACTERS = /[-\d.eE+]*/y;
/** Strings that stand for a number while a text is parsed. No stored string begins with NUL. */
const MARK = "\0n";
/** What a Postgres numeric holds many times over, and nobody counts to. */
export const MAX_DIGITS = 100;

export type Json = FieldValue | null | readonly Json[] | { readonly [key: string]: Json };

/** @throws SyntaxError for what is no JSON; RangeError for a number of more than 100 digits */
export function parseExactJson(text: string): Json {
  const value = JSON.parse(text) as Json;
  if (!MAY_HOLD_BIG.test(text)) return value;
  const marked = markBigNumbers(text);
  if (marked === text) return value;
  return JSON.parse(marked, (_, part: Json) =>
    typeof part === "string" && part.startsWith(MARK) ? BigInt(part.slice(MARK.length)) : part,
  ) as Json;
}

function markBigNumbers(text: string): string {
  let marked = "";
  let from = 0;
  for (let at = 0; at < text.length;) {
    const code = text.charCodeAt(at);
    if (code === 0x22) {
      const end = stringEnd(text, at);
      if (text.startsWith("\\u0000n", at + 1)) throw new SyntaxError("a string begins with NUL");
      at = end;
    } else if (code === 0x2d || (code >= 0x30 && code <= 0x39)) {
      NUMBER_CHARACTERS.lastIndex = at;
      const literal = NUMBER_CHARACTERS.exec(text)![0];
      const big = bigInteger(literal);
      if (big !== undefined) {
        marked += `${text.slice(from, at)}"\\u0000n${big}"`;
        from = at + literal.length;
      }
      at += literal.length;
    } else at++;
  }
  return from === 0 ? text : marked + text.slice(from);
}

/** Where a string that is known to end has ended. */
function stringEnd(text: string, start: number): number {
  for (let quote = text.indexOf('"', start + 1); ; quote = text.indexOf('"', quote + 1)) {
    let slashes = 0;
    while (text.charCodeAt(quote - 1 - slashes) === 0x5c) slashes++;
    if (slashes % 2 === 0) return quote + 1;
  }
}

/** The integer a literal means, when a double cannot be trusted with it. */
function bigInteger(literal: string): string | undefined {
  if (!NUMBER.test(literal)) return undefined;
  const [, sign, whole, fraction, exponent] = /^(-?)(\d+)(?:\.(\d+))?(?:[eE](.+))?$/.exec(literal)!;
  const digits = (whole! + (fraction ?? "")).replace(/^0+/, "");
  const significant = digits.replace(/0+$/, "");
  if (significant === "") return undefined;
  const shift =
    Number(exponent ?? 0) - (fraction?.length ?? 0) + digits.length - significant.length;
  if (shift < 0) return undefined;
  if (significant.length + shift > MAX_DIGITS) {
    throw new RangeError(`holds a number of more than ${MAX_DIGITS} digits`);
  }
  const integer = sign! + significant + "0".repeat(shift);
  return Number.isSafeInteger(Number(integer)) ? undefined : integer;
}

/**
 * Canonical JSON (RFC 8785) of a value that may hold bigint, which the `canonicalize` package refuses
 * and gives no way to write: keys in order of code units, integers as digits.
 */
export function canonicalJson(value: Json): string {
  switch (typeof value) {
    case "string":
      return quoted(value);
    case "number":
      // Beyond 2^53 a double and a bigint of one value must look alike.
      return Number.isInteger(value) && !Number.isSafeInteger(value)
        ? BigInt(value).toString()
        : JSON.stringify(value);
    case "object":
      if (value === null) return "null";
      break;
    default:
      return String(value);
  }
  if (Array.isArray(value)) {
    let text = "[";
    for (const [at, part] of (value as readonly Json[]).entries()) {
      text += at === 0 ? canonicalJson(part) : `,${canonicalJson(part)}`;
    }
    return `${text}]`;
  }
  const fields = value as { readonly [key: string]: Json };
  const keys = inOrder(Object.keys(fields));
  let text = "{";
  for (let at = 0; at < keys.length; at++) {
    const key = keys[at]!;
    text += `${at === 0 ? "" : ","}${quoted(key)}:${canonicalJson(fields[key]!)}`;
  }
  return `${text}}`;
}

/** Nearly every text: nothing in it is escaped, and looking is quicker than asking the platform. */
const PLAIN = /^[ !#-[\]-~]*$/;

function quoted(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : JSON.stringify(text);
}

/** By code units, in place: few and nearly in order, as the names of fields are. */
function inOrder(keys: string[]): string[] {
  if (keys.length > MANY) return keys.toSorted();
  for (let at = 1; at < keys.length; at++) {
    const key = keys[at]!;
    let to = at;
    for (; to > 0 && keys[to - 1]! > key; to--) keys[to] = keys[to - 1]!;
    keys[to] = key;
  }
  return keys;
}

const MANY = 30;

/**
 * JSON of what is stored, keys in any order: what the platform writes by itself is a tenth of the work,
 * and it refuses what holds a bigint.
 */
export function storedJson(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch {
    return canonicalJson(value as Json);
  }
}

/** JSON of what is shown: as the platform writes it, but for bigint, which stands as its digits. */
export function exactJson(value: unknown, indent?: number): string {
  let big = false;
  const text = JSON.stringify(
    value,
    (_, part: unknown) => {
      if (typeof part !== "bigint") return part;
      big = true;
      return `${MARK}${part}`;
    },
    indent,
  );
  return big ? text.replaceAll(/"\\u0000n(-?\d+)"/g, "$1") : text;
}
