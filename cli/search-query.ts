import { InvalidArgumentError, type Command } from "commander";
import type { SearchQuery } from "../contracts/search.ts";
import { plugins, withHoldfast } from "./connection.ts";
import { collect, examples, given, JSON_FLAG, wholeNumber } from "./declare.ts";
import { note, printJson, printPage } from "./output.ts";

interface Flags {
  lookup?: SearchQuery["lookup"];
  type?: string[];
  field?: string[];
  schema?: string;
  viewer?: NonNullable<SearchQuery["viewer"]>;
  limit?: number;
  after?: string;
  json?: boolean;
}

export function register(search: Command): void {
  const query = search
    .command("query <text>")
    .description("find objects; the best field of each, the most important first")
    .option(
      "--lookup <lookup>",
      "partial, exact, starts-with, ends-with, regex or words (default: partial)",
    )
    .option("--type <type>", "objects of this type; may be repeated (default: all)", collect)
    .option("--field <field>", "in this field; may be repeated (default: all)", collect)
    .option("--schema <schema>", "objects of this schema (default: the first configured one)")
    .option("--viewer <json>", "for whom, as the types' `visible` reads it", object)
    .option("--limit <n>", "results on one page, at most 200", wholeNumber)
    .option("--after <cursor>", "the next page: what the page before said")
    .option(...JSON_FLAG);
  examples(
    query,
    "holdfast search query berlin",
    "holdfast search query 2001:db8::1 --type device",
    "holdfast search query '^rtr[0-9]+' --lookup regex --field name",
    'holdfast search query "cooling pumps" --lookup words',
  ).action(run);
}

async function run(text: string, { json, type: types, field: fields, ...flags }: Flags) {
  const config = await plugins();
  const page = await withHoldfast(
    (holdfast) => holdfast.search.query({ text, ...given({ ...flags, types, fields }) }),
    config,
  );
  if (json) return printJson(page);
  for (const { type, reason } of page.leftOut) note(`${type} is left out: ${reason}`);
  await printPage(page, {
    head: ["TYPE", "KEY", "TITLE", "FIELD", "VALUE"],
    row: ({ type, key, title, field, value }) => [type, key, title, field, value],
    none: "nothing found",
  });
  const { total, totalIsExact } = page;
  if (total > 0) note(`${totalIsExact ? "" : "more than "}${total} found`);
}

function object(text: string): Flags["viewer"] {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      return value as NonNullable<Flags["viewer"]>;
    }
  } catch {
    // Said below, as for JSON that is no object.
  }
  throw new InvalidArgumentError("It must be a JSON object.");
}
