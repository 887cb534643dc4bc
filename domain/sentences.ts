/** A stretch of text, in code units. */
export interface Span {
  start: number;
  end: number;
}

/** Abbreviations that a name or a number may follow, so that their stop ends nothing. */
const abbreviations = new Set(
  (
    "e.g i.e eg ie cf vs viz approx ca al no nos fig figs eq sec ch ver v p pp vol ed eds " +
    "mr mrs ms dr prof rev hon st sr jr gen col sgt capt lt " +
    "jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri"
  ).split(" "),
);

const closers = `"')]*_”’»\``;

/**
 * Splits a stretch of prose into sentences, in one pass. A stop ends a sentence when white space and
 * no lower-case word follows, and it belongs to no abbreviation, initial, code span or link target.
 * Sentences longer than `maxUnits` are cut at a blank.
 */
export function sentencesIn(text: string, block: Span, maxUnits = 1_000): Span[] {
  const spans: Span[] = [];
  let start = block.start;
  const close = (end: number) => {
    addWithin(spans, text, start, end, maxUnits);
    start = end;
  };

  for (let at = block.start; at < block.end; at++) {
    const unit = text.charCodeAt(at);
    if (unit === BACKTICK) {
      at = closingAfter(text, BACKTICK, at, Math.min(block.end, at + maxUnits));
    } else if (unit === OPEN_PAREN && text.charCodeAt(at - 1) === CLOSE_BRACKET) {
      at = closingAfter(text, CLOSE_PAREN, at, Math.min(block.end, at + maxUnits));
    } else if (unit === LINE_FEED) {
      // Two blanks or a backslash before a line feed are a break the writer wanted.
      if (text.charCodeAt(at - 1) === BACKSLASH || (at >= 2 && text.startsWith("  ", at - 2)))
        close(at);
    } else if (unit === FULL_WIDTH_STOP || unit === 0xff01 || unit === 0xff1f) {
      close(at + 1);
    } else if (isStop(unit)) {
      const end = endAfter(text, at, block);
      if (end > 0) {
        close(end);
        at = end - 1;
      }
    }
  }
  close(block.end);
  return spans;
}

const LINE_FEED = 0x0a;
const EXCLAMATION = 0x21;
const OPEN_PAREN = 0x28;
const CLOSE_PAREN = 0x29;
const STOP = 0x2e;
const QUESTION = 0x3f;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const BACKTICK = 0x60;
const ELLIPSIS = 0x2026;
const FULL_WIDTH_STOP = 0x3002;

/** Where the next `unit` after `at` stands, before `limit`; `at` itself when there is none. */
function closingAfter(text: string, unit: number, at: number, limit: number): number {
  for (let end = at + 1; end < limit; end++) if (text.charCodeAt(end) === unit) return end;
  return at;
}

/** Where the sentence ended by the mark at `at` stops, closing marks included; 0 when it goes on. */
function endAfter(text: string, at: number, block: Span): number {
  let end = at + 1;
  while (end < block.end && closers.includes(text.charAt(end))) end++;
  if (end >= block.end) return block.end;
  if (!isSpace(text.charCodeAt(end))) return 0;

  let next = end;
  while (next < block.end && isSpace(text.charCodeAt(next))) next++;
  if (next >= block.end) return block.end;
  if (startsLower(text, next)) return 0;
  return text.charCodeAt(at) === STOP && isAbbreviation(text, at, block.start) ? 0 : end;
}

function isStop(unit: number): boolean {
  return unit === STOP || unit === EXCLAMATION || unit === QUESTION || unit === ELLIPSIS;
}

function isAbbreviation(text: string, stop: number, from: number): boolean {
  let start = stop;
  // Longer words than this are in no list of abbreviations.
  while (start > from && stop - start < 8 && isWordUnit(text.charCodeAt(start - 1))) start--;
  const word = text.slice(start, stop);
  if (word.length === 1 && /\p{Lu}/u.test(word)) return word !== "I";
  return abbreviations.has(word.toLowerCase()) || /^(?:\p{L}\.)+\p{L}$/u.test(word);
}

function isWordUnit(unit: number): boolean {
  return (
    unit === STOP || (unit >= 0x41 && unit <= 0x5a) || (unit >= 0x61 && unit <= 0x7a) || unit > 0xbf
  );
}

function startsLower(text: string, at: number): boolean {
  const unit = text.charCodeAt(at);
  if (unit < 0x80) return unit >= 0x61 && unit <= 0x7a;
  return /^\p{Ll}/u.test(text.slice(at, at + 2));
}

function isSpace(unit: number): boolean {
  return unit === 0x20 || (unit >= 0x09 && unit <= 0x0d) || unit === 0xa0 || unit === 0x3000;
}

/** Adds [start, end) without its outer blanks, in stretches of at most `maxUnits`. */
function addWithin(spans: Span[], text: string, from: number, to: number, maxUnits: number): void {
  let start = from;
  let end = to;
  while (end > start && isSpace(text.charCodeAt(end - 1))) end--;
  for (;;) {
    while (start < end && isSpace(text.charCodeAt(start))) start++;
    if (start >= end) return;
    if (end - start <= maxUnits) {
      spans.push({ start, end });
      return;
    }
    let cut = start + maxUnits;
    while (cut > start && !isSpace(text.charCodeAt(cut))) cut--;
    if (cut > start) {
      spans.push({ start, end: cut });
      start = cut;
    } else {
      // A blob without a blank, such as encoded data, says nothing: step over it.
      start += maxUnits;
      while (start < end && !isSpace(text.charCodeAt(start))) start++;
    }
  }
}

/** Words a sentence needs, with and without a mark at its end. */
const MIN_WORDS = { ended: 3, open: 4 };
const MIN_LETTERS = 10;

/**
 * True for a stretch that says something: words enough, and not code, a badge, a lead-in to a list or
 * an entry of a table of contents.
 */
export function saysSomething(sentence: string): boolean {
  let plain = sentence;
  if (plain.includes("[")) {
    if (/^\[[^[\]]*\]\(#[^()]*\)$/.test(plain)) return false;
    plain = plain
      .replace(/!\[[^[\]]*\](?:\([^()]*\)|\[[^[\]]*\])/g, "")
      .replace(/\[([^[\]]*)\](?:\([^()]*\)|\[[^[\]]*\])/g, "$1");
  }
  if (plain.includes("<")) plain = plain.replace(/<[^<>]*>/g, " ");
  let words = 0;
  if (plain.includes("`")) {
    plain = plain.replace(/`[^`]*`/g, () => {
      words += 1;
      return " ";
    });
  }
  if (plain.includes("://")) plain = plain.replace(/https?:\/\/\S+/g, " ");

  let letters = 0;
  let wide = 0;
  let symbols = 0;
  let inWord = false;
  for (let at = 0; at < plain.length; at++) {
    const unit = plain.charCodeAt(at);
    const isLetter = isLetterUnit(unit);
    const isDigit = unit >= 0x30 && unit <= 0x39;
    if (isLetter || isDigit) {
      if (!inWord) words += 1;
      inWord = true;
      letters += isLetter ? 1 : 0;
      wide += unit >= 0x0e00 ? 1 : 0;
    } else if (unit !== 0x27 && unit !== 0x2d && unit !== 0x5f) {
      inWord = false;
      symbols += isCodeSymbol(unit) ? 1 : 0;
    }
  }
  const trimmed = plain.trimEnd();
  if (trimmed.endsWith(":")) return false;
  if (symbols * 2 > words || /[{;]$/.test(trimmed)) return false;
  // Scripts without blanks between words are judged by their letters.
  if (wide >= MIN_LETTERS) return true;
  const ended = /[.!?…]["')\]*_]*$/.test(trimmed);
  return words >= (ended ? MIN_WORDS.ended : MIN_WORDS.open) && letters >= MIN_LETTERS;
}

/** ASCII letters, and beyond Latin-1 all but punctuation, symbols, surrogates and private use. */
function isLetterUnit(unit: number): boolean {
  if (unit < 0x80) return (unit >= 0x61 && unit <= 0x7a) || (unit >= 0x41 && unit <= 0x5a);
  if (unit < 0x2000) return unit > 0xbf && unit !== 0xd7 && unit !== 0xf7;
  return unit >= 0x2c00 && !(unit >= 0x3000 && unit < 0x3040) && !(unit >= 0xd800 && unit < 0xf900);
}

function isCodeSymbol(unit: number): boolean {
  return "={}<>;$&\\+".includes(String.fromCharCode(unit));
}
