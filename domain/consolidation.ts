import type { Consolidator, FactForConsolidation } from "../contracts/plugins.ts";

/** Bounds of one observation: code units of its text and of one fact in it, and its sources. */
export const OBSERVATION_LIMITS = { text: 1_000, fact: 240, sources: 100 };

export interface Observation {
  text: string;
  /** Ids of the facts the text stands on, in the order of the text. */
  sources: string[];
}

/** The default consolidator: a bounded list of what is said about an entity. Offline, repeatable. */
export const summaryConsolidator: Consolidator = {
  name: "summary",
  version: "1",
  consolidate: summarise,
};

/**
 * `Entity: fact; fact; fact`, from two facts on. What happened last comes first, then what has no
 * date, beginning with facts that open with the entity's name. Facts that say the same are one in
 * the text and all in the sources. The order of the facts given does not matter.
 */
export function summarise(
  entity: string,
  facts: readonly FactForConsolidation[],
): Observation | undefined {
  if (facts.length < 2) return undefined;

  const sayings = new Map<string, { text: string; ids: string[] }>();
  for (const fact of facts.toSorted(byImportance(entity))) {
    const text = readable(fact.text);
    const same = text.toLowerCase();
    const saying = sayings.get(same) ?? { text, ids: [] };
    saying.ids.push(fact.id);
    sayings.set(same, saying);
  }

  const sources: string[] = [];
  let text = `${entity}: `;
  let separator = "";
  for (const saying of sayings.values()) {
    const addition = separator + saying.text;
    const room = OBSERVATION_LIMITS.text - text.length - addition.length;
    // The first is always in: an observation says something.
    if (separator && (room < 0 || sources.length >= OBSERVATION_LIMITS.sources)) break;
    text += addition;
    sources.push(...saying.ids.slice(0, OBSERVATION_LIMITS.sources - sources.length));
    separator = "; ";
  }
  return { text, sources };
}

function byImportance(entity: string) {
  const name = entity.toLowerCase();
  const opens = (fact: FactForConsolidation) =>
    fact.text
      .replace(/^[^\p{L}\p{N}@]+/u, "")
      .toLowerCase()
      .startsWith(name);
  return (a: FactForConsolidation, b: FactForConsolidation): number =>
    descending(lastDay(a), lastDay(b)) ||
    Number(opens(b)) - Number(opens(a)) ||
    descending(b.documentId, a.documentId) ||
    descending(b.text, a.text) ||
    descending(b.id, a.id);
}

/** Dates and instants in ISO form sort as text, by day first. Without one: before all others. */
function lastDay(fact: FactForConsolidation): string {
  return fact.occurredEnd ?? fact.occurredStart ?? "";
}

function descending(a: string, b: string): number {
  return a === b ? 0 : a > b ? -1 : 1;
}

/** One line without Markdown emphasis and a closing stop, cut between code points when too long. */
function readable(text: string): string {
  const line = text
    .replace(/!?\[([^[\]]*)\]\([^()]*\)/g, "$1")
    .replace(/\s+/g, " ")
    .replace(/\*\*|__/g, "")
    .replace(/[.;\s]+$/, "")
    .trim();
  if (line.length <= OBSERVATION_LIMITS.fact) return line;
  return `${line.slice(0, OBSERVATION_LIMITS.fact - 1).replace(/[\uD800-\uDBFF]$|\s+\S{0,30}$/u, "")}…`;
}
