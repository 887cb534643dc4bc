/** Arrays and objects inside each other in any JSON that is taken: more than anybody means. */
export const MOST_NESTED = 256;

/** Texts up to this size are parsed in no time, whatever they hold. */
const SMALL_BYTES = 64 * 1024;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** With the bit that tells `{` from `[`, and `}` from `]`, left out. */
const OPEN = 0x5b;
const CLOSE = 0x5d;
const CURLY = 0x20;

/**
 * Whether JSON opens more than `MOST_NESTED` arrays and objects inside each other. Seen in one pass: a
 * parser takes seconds for ten megabytes of `[`. False for what is small, and for what is no JSON.
 */
export function isNestedTooDeep(json: Uint8Array): boolean {
  if (json.length <= SMALL_BYTES) return false;
  let depth = 0;
  for (let at = 0; at < json.length; at++) {
    const byte = json[at]!;
    if (byte === QUOTE) at = endOfText(json, at + 1);
    else if ((byte & ~CURLY) === OPEN) {
      if (++depth > MOST_NESTED) return true;
    } else if ((byte & ~CURLY) === CLOSE) depth--;
  }
  return false;
}

/** Where the quote stands that ends the text which begins here; the end where there is none. */
function endOfText(json: Uint8Array, from: number): number {
  for (let at = from; ;) {
    const quote = json.indexOf(QUOTE, at);
    if (quote === -1) return json.length;
    let before = quote - 1;
    while (before >= from && json[before] === BACKSLASH) before--;
    if ((quote - before) % 2 === 1) return quote;
    at = quote + 1;
  }
}
