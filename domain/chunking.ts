import type { Chunk } from "../contracts/plugins.ts";

/** How far back from a full chunk a better cut is looked for, as a share of the chunk. */
const SEARCH_SHARE = 0.5;
/** Longest run of joined marks that is kept whole; beyond it the size wins. */
const MAX_CLUSTER = 32;

export interface Chunker {
  /** Takes the next piece of the text and gives the chunks that are certain by now. */
  push(piece: string): Chunk[];
  /** The rest. The chunker is used up afterwards. */
  finish(): Chunk[];
}

/**
 * Cuts text into chunks of at most `size` code points which, joined, are the text. Cuts fall after a
 * paragraph, else a line, a sentence or a word, looked for in the second half of the chunk; else
 * anywhere but inside a surrogate pair or, where it can be helped, a CRLF or a joined character.
 * An empty text has no chunks.
 */
export function chunk(text: string, size = 3_000): Chunk[] {
  const chunker = createChunker(size);
  return [...chunker.push(text), ...chunker.finish()];
}

/**
 * The same chunks as `chunk` gives for the whole text, from pieces of it in any division. Holds about
 * one chunk and one piece at a time.
 */
export function createChunker(size = 3_000): Chunker {
  if (!Number.isInteger(size) || size < 1) {
    throw new RangeError(`size must be a whole number of at least 1, not ${size}`);
  }
  // A cut looks at no more than `size` code points and the one behind them, so with this many code
  // units at hand it cannot depend on what is still to come.
  const certain = 2 * size + 4;
  let pending = "";
  let no = 0;
  let offset = 0;

  function take(final: boolean): Chunk[] {
    const chunks: Chunk[] = [];
    let at = 0;
    while (final ? at < pending.length : pending.length - at >= certain) {
      const window = pending.slice(at, at + certain);
      const { units, codePoints } = nextCut(window, size);
      chunks.push({ no, start: offset, end: offset + codePoints, text: window.slice(0, units) });
      no += 1;
      offset += codePoints;
      at += units;
    }
    pending = pending.slice(at);
    return chunks;
  }

  return {
    push(piece) {
      pending += piece;
      return pending.length < certain ? [] : take(false);
    },
    finish: () => take(true),
  };
}

/** Where the first chunk of `window` ends, in code units and in code points. */
function nextCut(window: string, size: number): { units: number; codePoints: number } {
  let units = 0;
  let codePoints = 0;
  while (codePoints < size && units < window.length) {
    units += unitsAt(window, units);
    codePoints += 1;
  }
  if (units === window.length) return { units, codePoints };

  const cut = bestCut(window, units);
  let back = 0;
  for (let at = cut; at < units; at += unitsAt(window, at)) back += 1;
  return { units: cut, codePoints: codePoints - back };
}

function bestCut(window: string, limit: number): number {
  const lowest = Math.max(1, Math.floor(limit * (1 - SEARCH_SHARE)));
  let line = 0;
  let sentence = 0;
  let word = 0;
  for (let cut = limit; cut >= lowest; cut--) {
    const before = window.charCodeAt(cut - 1);
    if (before > 0x20 && before < 0x2000 && before !== 0xa0) continue;
    if (before === LINE_FEED) {
      if (endsBlankLine(window, cut)) return cut;
      line ||= cut;
    } else if (isFullWidthStop(before)) {
      sentence ||= cut;
    } else if (isSpace(before) && !isSpace(window.charCodeAt(cut))) {
      word ||= cut;
      sentence ||= endsSentence(window, cut) ? cut : 0;
    }
  }
  return line || sentence || word || hardCut(window, limit);
}

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** True when the line feed before `cut` ends a line of nothing but blanks. */
function endsBlankLine(window: string, cut: number): boolean {
  for (let at = cut - 2; at >= 0; at--) {
    const unit = window.charCodeAt(at);
    if (unit === LINE_FEED) return true;
    if (unit !== 0x20 && unit !== 0x09 && unit !== CARRIAGE_RETURN) return false;
  }
  return false;
}

/** True when the white space before `cut` follows the end of a sentence, closing marks allowed. */
function endsSentence(window: string, cut: number): boolean {
  let at = cut - 1;
  while (at >= 0 && isSpace(window.charCodeAt(at))) at--;
  while (at >= 0 && `"')]*_”’»`.includes(window.charAt(at))) at--;
  return at >= 0 && ".!?…".includes(window.charAt(at));
}

function isFullWidthStop(unit: number): boolean {
  return unit === 0x3002 || unit === 0xff01 || unit === 0xff1f;
}

function isSpace(unit: number): boolean {
  if (unit <= 0x20) return unit === 0x20 || (unit >= 0x09 && unit <= 0x0d);
  return (
    unit === 0xa0 ||
    (unit >= 0x2000 && unit <= 0x200a) ||
    unit === 0x2028 ||
    unit === 0x2029 ||
    unit === 0x202f ||
    unit === 0x205f ||
    unit === 0x3000
  );
}

const joinedMark = /^[\p{M}\p{Emoji_Modifier}\u200D]/u;
const ZERO_WIDTH_JOINER = 0x200d;

/** Steps back from `limit` to where a character begins. `limit` never splits a surrogate pair. */
function hardCut(window: string, limit: number): number {
  let cut = limit;
  for (let steps = 0; steps < MAX_CLUSTER && cut > 0; steps++) {
    const before = window.charCodeAt(cut - 1);
    const joined =
      (before === CARRIAGE_RETURN && window.charCodeAt(cut) === LINE_FEED) ||
      before === ZERO_WIDTH_JOINER ||
      joinedMark.test(window.slice(cut, cut + 2));
    if (!joined) return cut;
    cut -= cut >= 2 && unitsAt(window, cut - 2) === 2 ? 2 : 1;
  }
  return limit;
}

/** 2 where a surrogate pair begins, else 1. */
function unitsAt(text: string, at: number): 1 | 2 {
  const unit = text.charCodeAt(at);
  if (unit < 0xd800 || unit > 0xdbff) return 1;
  const next = text.charCodeAt(at + 1);
  return next >= 0xdc00 && next <= 0xdfff ? 2 : 1;
}
