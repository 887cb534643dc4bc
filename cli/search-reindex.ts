import type { Command } from "commander";
import { plugins, withHoldfast } from "./connection.ts";
import { collect, examples, given, JSON_FLAG } from "./declare.ts";
import { printOperation } from "./operation-print.ts";
import { exitWith, follow } from "./operation-watch.ts";
import { printJson, say } from "./output.ts";

interface Flags {
  type?: string[];
  schema?: string[];
  lazy?: boolean;
  key?: string;
  wait?: boolean;
  json?: boolean;
}

export function register(search: Command): void {
  const reindex = search
    .command("reindex")
    .description("build indexes anew beside those that are searched, then swap them")
    .option("--type <type>", "of this type; may be repeated (default: all)", collect)
    .option("--schema <schema>", "in this schema; may be repeated (default: all)", collect)
    .option("--lazy", "leave out what was built from the present definition")
    .option("--key <key>", "idempotency key: a repeat of the same request answers the same")
    .option("--wait", "follow it to its end; exit code 0 completed, 1 failed, 3 cancelled")
    .option(...JSON_FLAG);
  examples(
    reindex,
    "holdfast search reindex --wait",
    "holdfast search reindex --type site --schema public",
    "holdfast search reindex --lazy --wait",
  ).action(run);
}

async function run({ type: types, schema: schemas, lazy, key, wait, json }: Flags): Promise<void> {
  const config = await plugins();
  await withHoldfast(async (holdfast) => {
    const accepted = await holdfast.search.reindex(given({ types, schemas, lazy, key }));
    const { id, total, existing } = accepted;
    if (!json) {
      const indexes = `${total} ${total === 1 ? "index" : "indexes"}`;
      say(existing ? `operation ${id} is at it already: ${indexes}` : `accepted ${id}: ${indexes}`);
    }
    if (!wait) {
      if (json) return printJson(accepted);
      return say(`follow it with "holdfast operation watch ${id}"`);
    }
    const quiet = json === true && !process.stderr.isTTY;
    const end = await follow(holdfast.operation, id, { quiet });
    if (json) printJson(end);
    else printOperation(end);
    exitWith(end);
  }, config);
}
