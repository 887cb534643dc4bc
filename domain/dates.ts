/** First and last day spoken of, ISO, both inclusive. */
export interface DateSpan {
  start: string;
  end: string;
}

const months = [
  "january february march april may june july august september october november december".split(
    " ",
  ),
  "jan feb mar apr may jun jul aug sep oct nov dec".split(" "),
].map((names) => new Map(names.map((name, index) => [name, index + 1])));

const monthPattern =
  "(Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)";
const dayPattern = "(\\d{1,2})(?:st|nd|rd|th)?(?:\\s?[-–]\\s?(\\d{1,2})(?:st|nd|rd|th)?)?";

const isoDate = /(?<![\w.-])(\d{4})([-/])(\d{1,2})\2(\d{1,2})(?=$|[^\w/-]|T\d|-(?!\d))/g;
const namedDate = new RegExp(
  `(?<![\\w])(?:${dayPattern}\\s(?:of\\s)?)?${monthPattern}\\.?(?:\\s${dayPattern},?)?,?\\s(\\d{4})(?![\\w-]|\\.\\d)`,
  "g",
);
const bareYear =
  /\b(?:[Ii]n|[Ss]ince|[Uu]ntil|[Dd]uring|[Ee]arly|[Ll]ate|[Mm]id|[Ss]pring|[Ss]ummer|[Aa]utumn|[Ff]all|[Ww]inter)[\s-]((?:19|20)\d\d)(?=$|[.,;:!?)\]]+(?:\s|$)|\s(?!\d|ms\b|[kKMG]?[Bb](?:ytes)?\b|bytes?\b|bits?\b|px\b|%|seconds?\b|minutes?\b|hours?\b|days?\b|times\b|items?\b|rows?\b|lines?\b|characters?\b|pages?\b|users?\b))/g;

/**
 * The span of all dates found in a sentence: `2026-11-21`, `21 November 2026`, `November 21, 2026`,
 * `Nov 2026` (the whole month), and years after a word that makes them one (`since 2019`). A date
 * that is not in the calendar, such as 2026-02-30, is no date at all, nor is its month.
 */
export function datesIn(sentence: string): DateSpan | undefined {
  if (!/\d{4}/.test(sentence)) return undefined;
  const spans: DateSpan[] = [];
  const add = (start: string | undefined, end: string | undefined) => {
    if (start && end && start <= end) spans.push({ start, end });
  };

  for (const [, year, , month, day] of sentence.matchAll(isoDate)) {
    const date = isoDay(Number(year), Number(month), Number(day));
    add(date, date);
  }
  for (const [, before, beforeEnd, name, after, afterEnd, yearText] of sentence.matchAll(
    namedDate,
  )) {
    const year = Number(yearText);
    const month = monthNumber(name ?? "");
    const first = before ?? after;
    const last = before ? beforeEnd : afterEnd;
    if (first) add(isoDay(year, month, Number(first)), isoDay(year, month, Number(last ?? first)));
    else add(isoDay(year, month, 1), isoDay(year, month, daysIn(year, month)));
  }
  for (const [, year] of sentence.matchAll(bareYear)) add(`${year}-01-01`, `${year}-12-31`);

  if (spans.length === 0) return undefined;
  return {
    start: spans.map((span) => span.start).reduce((a, b) => (a < b ? a : b)),
    end: spans.map((span) => span.end).reduce((a, b) => (a > b ? a : b)),
  };
}

function monthNumber(name: string): number {
  const lower = name.toLowerCase();
  return months[0]?.get(lower) ?? months[1]?.get(lower.slice(0, 3)) ?? 0;
}

function isoDay(year: number, month: number, day: number): string | undefined {
  const known = year >= 1000 && month >= 1 && month <= 12 && day >= 1 && day <= daysIn(year, month);
  if (!known) return undefined;
  return `${year}-${String(month).padStart(2, "0")}-${String(day).padStart(2, "0")}`;
}

function daysIn(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return [4, 6, 9, 11].includes(month) ? 30 : 31;
}
