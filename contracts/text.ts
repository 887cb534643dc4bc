/**
 * What may be said in text, in one place. Lengths, offsets and budgets are Unicode code points
 * everywhere; a code point is never split. Zod-free, so that every layer can use it.
 */

const blankText = /^[\p{White_Space}\uFEFF\u200B]*$/u;
const loneSurrogate = /[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/;

/** True for text that is empty after removing Unicode white space, NBSP and BOM included. */
export function isBlank(text: string): boolean {
  return blankText.test(text);
}

/** Length in Unicode code points: a surrogate pair counts once. */
export function codePointLength(text: string): number {
  let pairs = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit >= 0xd800 && unit <= 0xdbff) {
      pairs++;
      i++;
    }
  }
  return text.length - pairs;
}

/** Why Postgres or UTF-8 cannot hold this text, or undefined when they can. */
export function unstorable(text: string): string | undefined {
  if (text.includes("\0")) return "contains a NUL character (U+0000), which Postgres cannot store";
  if (!isWellFormed(text)) return "contains half a surrogate pair, which is not a character";
  return undefined;
}

function isWellFormed(text: string): boolean {
  // String.prototype.isWellFormed is in every supported Node; the lib typings lag behind.
  const probe = text as string & { isWellFormed?: () => boolean };
  return probe.isWellFormed ? probe.isWellFormed() : !loneSurrogate.test(text);
}
