import { styleText } from "node:util";
import type { Holdfast } from "../client/index.ts";
import type { SearchHit, SearchQuery } from "../contracts/search.ts";

/** What was retained is searched: how soon, what is found, and whether the index is true. */

export interface SearchFigures {
  /** Objects that differ from what the index says of them, or could not be compared. */
  differences: number;
}

const WAIT_MS = 120_000;
const SHOWN = 5;

/** @param settledAt when the batch had ended, as `performance.now()` says it */
export async function searched(
  holdfast: Holdfast,
  settledAt: number,
  say: (line: string) => void,
): Promise<SearchFigures> {
  await holdfast.search.waitSearchable({ schema: holdfast.db.schema, timeoutMs: WAIT_MS });
  const { indexes } = await holdfast.search.status();
  const objects = indexes.map(
    ({ objects, label }) => `${objects.toLocaleString("en-US")} ${label.toLowerCase()}`,
  );
  const seconds = (performance.now() - settledAt) / 1_000;
  say(`\nSearchable ${seconds.toFixed(1)} s after the batch had ended: ${objects.join(", ")}.`);
  const text = await somethingToFind(holdfast);
  await show(holdfast, { text, lookup: "words" }, say);
  await show(holdfast, { text: text.slice(0, Math.max(4, text.length - 2)) }, say);
  return { differences: await audited(holdfast, say) };
}

/** A name that several documents speak of; without one, the beginning of a document's name. */
async function somethingToFind({ db }: Holdfast): Promise<string> {
  const { rows } = await db.query<{ text: string }>(
    `(select name as text, 0 as otherwise from holdfast.fact_entities
       where name ~ '^[[:alpha:]][[:alpha:] ]{4,40}$'
       group by name having count(distinct part_seq) > 1
       order by count(distinct part_seq) desc, name limit 1)
     union all
     (select document_id, 1 from holdfast.documents order by document_id limit 1)
     order by otherwise limit 1`,
  );
  return rows[0]!.text;
}

async function show(
  holdfast: Holdfast,
  query: SearchQuery,
  say: (line: string) => void,
): Promise<void> {
  const began = performance.now();
  const { items, total, totalIsExact } = await holdfast.search.query({ ...query, limit: SHOWN });
  const ms = Math.round(performance.now() - began);
  const found = `${totalIsExact ? "" : "more than "}${total.toLocaleString("en-US")} found`;
  const flags = query.lookup === undefined ? "" : ` --lookup ${query.lookup}`;
  say(`\nholdfast search query "${query.text}"${flags}: ${found}, ${ms} ms`);
  for (const hit of items) say(`  ${hit.type.padEnd(9)} ${short(hit.title)}\n    ${excerpt(hit)}`);
}

const TITLE = 70;

function short(title: string): string {
  const line = title.replaceAll(/\s+/g, " ");
  return line.length <= TITLE ? line : `${line.slice(0, TITLE - 3)}...`;
}

const inColour = process.stdout.isTTY === true && !process.env["NO_COLOR"];

/** The value with what was found marked in it. */
function excerpt({ value, highlights }: SearchHit): string {
  const parts: string[] = [];
  let at = 0;
  for (const [from, to] of highlights) {
    const mark = value.slice(from, to);
    parts.push(value.slice(at, from), inColour ? styleText(["bold", "yellow"], mark) : `*${mark}*`);
    at = to;
  }
  return [...parts, value.slice(at)].join("").replaceAll(/\s+/g, " ").trim();
}

async function audited(holdfast: Holdfast, say: (line: string) => void): Promise<number> {
  let differences = 0;
  let compared = 0;
  for await (const page of holdfast.search.audit()) {
    compared += page.compared;
    differences += page.missing + page.stale + page.orphan + page.unreadable;
    if (page.notDone === undefined) continue;
    differences++;
    say(`  ${page.schema}.${page.type}: ${page.notDone}`);
  }
  say(
    `\nholdfast search audit: ${compared.toLocaleString("en-US")} compared, ${differences} differ`,
  );
  return differences;
}
