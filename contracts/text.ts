/**
 * What may be said in text, in one place. Lengths, offsets and budgets are Unicode code points
 * everywhere; a code point is never split. Zod-free, so that every layer can use it.
 */

const blankText = /^[\p{White_Space}\uFEFF\u200B]*$/u;
const highSurrogate = /[\uD800-\uDBFF]/;
const suspicious = /[\0\uD800-\uDFFF]/;
const loneSurrogate = /[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/;

/** True for text that is empty after removing Unicode white space, NBSP and BOM included. */
export function isBlank(text: string): boolean {
  return blankText.test(text);
}

/** Length in Unicode code points: a surrogate pair counts once, as does half a pair on its own. */
export function codePointLength(text: string): number {
  const first = text.search(highSurrogate);
  if (first === -1) return text.length;
  let pairs = 0;
  for (let i = first; i < text.length; i++) {
    if ((text.charCodeAt(i) & 0xfc00) !== 0xd800) continue;
    if ((text.charCodeAt(i + 1) & 0xfc00) !== 0xdc00) continue;
    pairs++;
    i++;
  }
  return text.length - pairs;
}

/** Why Postgres or UTF-8 cannot hold this text, or undefined when they can. */
export function unstorable(text: string): string | undefined {
  // One look at nearly every text, which holds neither.
  if (!suspicious.test(text)) return undefined;
  if (text.includes("\0")) return "contains a NUL character (U+0000), which Postgres cannot store";
  if (!isWellFormed(text)) return "contains half a surrogate pair, which is not a character";
  return undefined;
}

/** What a plug-in or a driver said, as it can be stored: without NUL, cut to `max` code units. */
export function kept(text: string, max = 2_000): string {
  return text.replaceAll("\0", "").slice(0, max);
}

function isWellFormed(text: string): boolean {
  // String.prototype.isWellFormed is in every supported Node; the lib typings lag behind.
  const probe = text as string & { isWellFormed?: () => boolean };
  return probe.isWellFormed ? probe.isWellFormed() : !loneSurrogate.test(text);
}

/** Pieces of at most `size` code points, in order; text that is short enough comes as it is. */
export function* pieces(text: string, size: number): Iterable<string> {
  if (text.length <= size) {
    yield text;
    return;
  }
  let from = 0;
  while (from < text.length) {
    const to = advance(text, from, size);
    yield text.slice(from, to);
    from = to;
  }
}

/** The text from its code point number `points` (0-based) on. */
export function fromCodePoint(text: string, points: number): string {
  return text.slice(advance(text, 0, points));
}

function advance(text: string, from: number, points: number): number {
  let to = from;
  for (let i = 0; i < points && to < text.length; i++) {
    to += text.codePointAt(to)! > 0xffff ? 2 : 1;
  }
  return to;
}

/** True for an ISO instant or date that Postgres can hold: no year 0, no offset of 16 hours or more. */
export function isStorableTime(text: string): boolean {
  return !text.startsWith("0000") && !/[+-](?:1[6-9]|2\d):\d\d$/.test(text.slice(10));
}
