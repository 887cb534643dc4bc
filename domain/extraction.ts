import type { Chunk, ExtractedFact, Extractor } from "../contracts/plugins.ts";
import type { RetainItem } from "../contracts/retain.ts";
import { codePointLength } from "../contracts/text.ts";
import { datesIn } from "./dates.ts";
import { proseBlocks } from "./markdown.ts";
import { namesIn } from "./names.ts";
import { saysSomething, sentencesIn } from "./sentences.ts";

/** What one chunk may give at most; more of it is left out, in order. */
export const EXTRACTION_LIMITS = { factsPerChunk: 500, entitiesPerFact: 16, entityLength: 200 };

/**
 * The default extractor: facts are the sentences, list items and table rows of Markdown or plain
 * text, each a literal stretch of the chunk, with the names and dates found in it by rule. Offline,
 * and the same for the same input.
 */
export const proseExtractor: Extractor = {
  name: "prose",
  version: "1",
  extract: extractFacts,
};

/**
 * Facts of one chunk. Of the caller's entities those that occur in the fact come first, matched
 * without regard to case; with `resolveEntities: false` they are matched exactly as written, and no
 * others are looked for.
 */
export function extractFacts(
  chunk: Chunk,
  item: Pick<RetainItem, "entities" | "resolveEntities">,
): ExtractedFact[] {
  const { text } = chunk;
  const literal = item.resolveEntities === false;
  const given = callerNames(item.entities ?? [], text, literal);

  const sentences = proseBlocks(text, chunk.no > 0)
    .flatMap((block) => (block.kind === "table row" ? [block] : sentencesIn(text, block)))
    .map(({ start, end }) => ({ start, end, text: text.slice(start, end) }))
    .filter((sentence) => saysSomething(sentence.text))
    .slice(0, EXTRACTION_LIMITS.factsPerChunk)
    .map((sentence) => ({ ...sentence, names: literal ? { sure: [] } : namesIn(sentence.text) }));
  const known = new Set(sentences.flatMap(({ names }) => names.sure));

  const offsets = codePointOffsets(text);
  return sentences.map((sentence) => {
    const { sure, first } = sentence.names;
    const entities = distinct([
      ...given.filter((name) => occursIn(sentence.text, name)).map((name) => name.shown),
      ...(first && known.has(first) ? [first] : []),
      ...sure,
    ]);
    const dates = datesIn(sentence.text);
    return {
      text: sentence.text,
      start: offsets(sentence.start),
      end: offsets(sentence.end),
      ...(entities.length > 0 ? { entities } : {}),
      ...(dates ? { occurredStart: dates.start, occurredEnd: dates.end } : {}),
    };
  });
}

interface CallerName {
  shown: string;
  pattern: RegExp;
}

/** The caller's names that occur anywhere in the chunk, so that sentences are asked about few. */
function callerNames(
  entities: NonNullable<RetainItem["entities"]>,
  text: string,
  literal: boolean,
): CallerName[] {
  return entities
    .filter((entity) => entity.text.length <= EXTRACTION_LIMITS.entityLength)
    .map((entity) => ({ shown: entity.text, pattern: namePattern(entity.text, literal) }))
    .filter((name) => occursIn(text, name));
}

/** The name as whole words, any white space between them; in any case unless taken literally. */
function namePattern(name: string, literal: boolean): RegExp {
  const escaped = name.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
  const source = literal ? escaped : escaped.trim().replace(/\s+/g, "\\s+");
  return new RegExp(`(?<![\\p{L}\\p{N}_])${source}(?![\\p{L}\\p{N}_])`, literal ? "u" : "iu");
}

function occursIn(text: string, name: CallerName): boolean {
  return name.pattern.test(text);
}

/** Without repeats in another case, the first as written, within the limit. */
function distinct(names: readonly string[]): string[] {
  const seen = new Map<string, string>();
  for (const name of names) {
    const folded = name.toLowerCase();
    if (!seen.has(folded)) seen.set(folded, name);
  }
  return [...seen.values()].slice(0, EXTRACTION_LIMITS.entitiesPerFact);
}

/** Code units to code points, for offsets that are asked for in rising order. */
function codePointOffsets(text: string): (units: number) => number {
  let units = 0;
  let codePoints = 0;
  return (target) => {
    codePoints += codePointLength(text.slice(units, target));
    units = target;
    return codePoints;
  };
}
