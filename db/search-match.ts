import type { Lookup } from "../contracts/search.ts";
import { PART_SIZE, PARTS_PER_MEMBER } from "./index-source.ts";

/**
 * SQL of the look-ups: conditions over index rows `r`, one for each index that answers it. Together
 * they find a row at most twice. `text` is an SQL expression that is constant when planned.
 */

/** Values of every kind but prose, by their letters. */
function byLetters(lookup: Exclude<Lookup, "words">, text: string): string {
  const beginning = `left(lower(${text}), 64)`;
  switch (lookup) {
    case "partial":
      return `r.value ilike '%' || ${literal(text)} || '%'`;
    case "exact":
      return `left(lower(r.value), 64) = ${beginning} and lower(r.value) = lower(${text}) and ${FIRST_PART}`;
    case "starts-with":
      return `left(lower(r.value), 64) like ${literal(beginning)} || '%'
              and lower(r.value) like ${literal(`lower(${text})`)} || '%' and ${FIRST_PART}`;
    case "ends-with":
      return `r.value ilike '%' || ${literal(text)} and ${LAST_PART}`;
    case "regex":
      return `r.value ~* ${text}`;
  }
}

// A long value is cut into parts, and only the first begins it, only the last ends it.
const FIRST_PART = `r.part % ${PARTS_PER_MEMBER} = 0`;
const LAST_PART = `(length(r.value) < ${PART_SIZE} or not exists (
  select from holdfast.index_rows later
   where (later.index_id, later.generation, later.key, later.field, later.part)
       = (r.index_id, r.generation, r.key, r.field, r.part + 1)))`;

/** `like` takes it letter by letter: what would be a wildcard is escaped. */
function literal(text: string): string {
  return `replace(replace(replace(${text}, '\\', '\\\\'), '%', '\\%'), '_', '\\_')`;
}

/** Hosts by any spelling; networks by what is inside them or, when exact, by themselves. */
function byNet(lookup: "partial" | "exact", text: string): string {
  const net = `holdfast.as_inet(${text})`;
  const network =
    lookup === "partial" ? `r.net >>= ${net}` : `r.net in (${net}, network(${net})::inet)`;
  return `(r.kind = 'address' and r.net = host(${net})::inet or r.kind = 'network' and ${network})`;
}

/**
 * The words looked for in prose, as SQL. `partial` takes the last one for a beginning; `words` knows
 * quotes, `or` and `-`.
 */
export function wordsQuery(lookup: Lookup, text: string, language: string): string {
  const configuration = `'pg_catalog.${language}'`;
  if (lookup === "words") return `websearch_to_tsquery(${configuration}, ${text})`;
  const plain = `plainto_tsquery(${configuration}, ${text})`;
  return `(nullif(${plain}::text, '') || ':*')::tsquery`;
}

/** The conditions a look-up is made of; a row is found where one of them holds. */
export function matching(lookup: Lookup, text: string, language: string): string[] {
  const conditions: string[] = [];
  if (lookup !== "words") conditions.push(`r.words is null and ${byLetters(lookup, text)}`);
  if (lookup === "words" || lookup === "partial") {
    conditions.push(`r.words is not null and r.words @@ ${wordsQuery(lookup, text, language)}`);
  }
  if (lookup === "partial" || lookup === "exact") {
    conditions.push(`r.net is not null and ${byNet(lookup, text)}`);
  }
  return conditions;
}
