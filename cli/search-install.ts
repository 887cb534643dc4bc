import type { Command } from "commander";
import { confirmErase } from "./confirm.ts";
import { plugins, withHoldfast } from "./connection.ts";
import { collect, examples, given, JSON_FLAG } from "./declare.ts";
import { note, printJson, printPage, say } from "./output.ts";

interface Flags {
  type?: string[];
  schema?: string[];
  yes?: boolean;
  json?: boolean;
}

const TYPE_FLAG = ["--type <type>", "this type; may be repeated (default: all)", collect] as const;
const SCHEMA_FLAG = ["--schema <schema>", "in this schema; may be repeated", collect] as const;

export function register(search: Command): void {
  const install = search
    .command("install")
    .description("follow every commit of the registered tables; safe to repeat")
    .option(...TYPE_FLAG)
    .option(...SCHEMA_FLAG)
    .option(...JSON_FLAG);
  examples(
    install,
    "holdfast search install",
    "holdfast search install --type site --schema branch_7",
  ).action(async ({ type: types, schema: schemas, json }: Flags) => {
    const installed = await withHoldfast(
      (holdfast) => holdfast.search.install(given({ types, schemas })),
      await plugins(),
    );
    await printPage(
      { items: installed },
      {
        json,
        head: ["SCHEMA", "TYPE", "CAPTURE"],
        row: (one) => [one.schema, one.type, one.outcome],
        none: "no type is registered: see `search` in holdfast.config.ts",
      },
    );
    if (!json && installed.some(({ outcome }) => outcome === "installed")) {
      note('what was there before is found after "holdfast search reindex --lazy --wait"');
    }
  });

  const uninstall = search
    .command("uninstall")
    .description("remove indexes with every trace of them; the tables stay as they are")
    .option(...TYPE_FLAG)
    .option(...SCHEMA_FLAG)
    .option("-y, --yes", "do not ask")
    .option(...JSON_FLAG);
  examples(
    uninstall,
    "holdfast search uninstall --schema branch_7",
    "holdfast search uninstall --yes      all of it",
  ).action(async ({ type: types, schema: schemas, yes, json }: Flags) => {
    await confirmErase("search of", nameOf(types, schemas), yes);
    const gone = await withHoldfast(
      (holdfast) => holdfast.search.uninstall(given({ types, schemas })),
      await plugins(),
    );
    if (json) return printJson({ items: gone });
    for (const { schema, type } of gone) say(`${schema}.${type} is uninstalled`);
    if (gone.length === 0) say("nothing was installed");
  });
}

/** What a person types to confirm: `site`, `site in public`, `everything`. */
function nameOf(types: readonly string[] | undefined, schemas: readonly string[] | undefined) {
  const what = types?.join(" ") ?? "everything";
  return schemas ? `${what} in ${schemas.join(" ")}` : what;
}
