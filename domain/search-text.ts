import type { Lookup } from "../contracts/search.ts";

/** Where a text stands in a value, and the stretch of the value worth showing. Offsets are UTF-16 units. */

export type Span = readonly [start: number, end: number];

export interface Excerpt {
  value: string;
  highlights: [number, number][];
}

/** Kept on each side of the first match. */
const AROUND = 30;
/** Shown as it is. */
const WHOLE = 80;
/** Longest stretch of one match that is shown. */
const LONGEST_MATCH = 200;
/** A cut moves this far to fall between words. */
const TO_NEXT_WORD = 12;

/** Where `text` stands in `value` whatever the case, as the look-up takes it. */
export function spansOf(value: string, text: string, lookup: Lookup): Span[] {
  const folded = fold(value);
  const wanted = text.toLowerCase();
  const span = (from: number): Span => [folded.origin(from), folded.origin(from + wanted.length)];
  switch (lookup) {
    case "exact":
      return folded.text === wanted ? [[0, value.length]] : [];
    case "starts-with":
      return folded.text.startsWith(wanted) ? [span(0)] : [];
    case "ends-with":
      return folded.text.endsWith(wanted) ? [span(folded.text.length - wanted.length)] : [];
    default: {
      const spans: Span[] = [];
      for (let at = folded.text.indexOf(wanted); at !== -1;) {
        spans.push(span(at));
        at = folded.text.indexOf(wanted, at + wanted.length);
      }
      return spans;
    }
  }
}

// Lower case may be longer than what it stands for: each of its units knows where it came from.
function fold(value: string): { text: string; origin: (at: number) => number } {
  const text = value.toLowerCase();
  if (text.length === value.length) return { text, origin: (at) => at };
  const origins: number[] = [];
  let lower = "";
  let from = 0;
  for (const point of value) {
    const folded = point.toLowerCase();
    for (let unit = 0; unit < folded.length; unit++) origins.push(from);
    lower += folded;
    from += point.length;
  }
  return { text: lower, origin: (at) => origins[at] ?? value.length };
}

/** Takes the marks around matches out of a value again; what is between them are the spans. */
export function unmarked(
  marked: string,
  [open, close]: readonly [string, string],
): { value: string; spans: Span[] } {
  const [first = "", ...stretches] = marked.split(open);
  const spans: Span[] = [];
  let value = first;
  for (const stretch of stretches) {
    const end = stretch.indexOf(close);
    const found = end === -1 ? "" : stretch.slice(0, end);
    if (found !== "") spans.push([value.length, value.length + found.length]);
    value += found + (end === -1 ? stretch : stretch.slice(end + close.length));
  }
  return { value, spans };
}

/** About 60 characters around the first match, cut between words where one is near, on one line. */
export function excerptOf(value: string, spans: readonly Span[]): Excerpt {
  const [from, to] = windowOf(value, spans[0]);
  const before = from > 0 ? "…" : "";
  const shift = before.length - from;
  const highlights = spans
    .map(([start, end]): [number, number] => [Math.max(start, from), Math.min(end, to)])
    .filter(([start, end]) => start < end)
    .map(([start, end]): [number, number] => [start + shift, end + shift]);
  const after = to < value.length ? "…" : "";
  return { value: before + onOneLine(value.slice(from, to)) + after, highlights };
}

function windowOf(value: string, first: Span = [0, 0]): Span {
  if (value.length <= WHOLE) return [0, value.length];
  const [start, end] = first;
  const shown = Math.min(end, start + LONGEST_MATCH);
  const from = Math.max(0, start - AROUND);
  const to = Math.min(value.length, shown + AROUND + Math.max(0, AROUND - start));
  return [cutAfter(value, from, start), cutBefore(value, to, shown)];
}

// Behind the next white space, if there is one near and before `limit`.
function cutAfter(value: string, at: number, limit: number): number {
  if (at === 0) return 0;
  const near = Math.min(at + TO_NEXT_WORD, limit);
  for (let i = at; i < near; i++) if (isSpace(value, i)) return i + 1;
  return isSecondHalf(value, at) ? at + 1 : at;
}

function cutBefore(value: string, at: number, limit: number): number {
  if (at === value.length) return at;
  const near = Math.max(at - TO_NEXT_WORD, limit);
  for (let i = at; i > near; i--) if (isSpace(value, i)) return i;
  return isSecondHalf(value, at) ? at - 1 : at;
}

function isSpace(value: string, at: number): boolean {
  return /\s/.test(value.charAt(at));
}

/** True between the halves of a surrogate pair. */
function isSecondHalf(value: string, at: number): boolean {
  return (value.charCodeAt(at) & 0xfc00) === 0xdc00;
}

// One character for one, so that offsets stay.
function onOneLine(text: string): string {
  return text.replaceAll(/[\s\p{Cc}]/gu, " ");
}
