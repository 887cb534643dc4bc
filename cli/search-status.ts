import type { Command } from "commander";
import type { SearchStatus } from "../contracts/search.ts";
import { plugins, withHoldfast } from "./connection.ts";
import { examples, JSON_FLAG } from "./declare.ts";
import { moment, note, paint, printJson, printTable, say, text } from "./output.ts";

export function register(search: Command): void {
  const status = search
    .command("status")
    .description("every index: what waits for it, what is wrong, how long changes take")
    .option(...JSON_FLAG);
  examples(status, "holdfast search status").action(async ({ json }: { json?: boolean }) => {
    const config = await plugins();
    const found = await withHoldfast((holdfast) => holdfast.search.status(), config);
    if (json) return printJson(found);
    await print(found);
  });
}

async function print({ indexes, lanes, visibleAfter, trigrams }: SearchStatus): Promise<void> {
  if (indexes.length === 0) return note('no index yet: "holdfast search install" makes them');
  await printTable(
    ["SCHEMA", "TYPE", "OBJECTS", "MARKS", "OLDEST", "HELD", "BUILT", "STATE"],
    indexes.map((index) => [
      index.schema,
      index.type,
      index.objects,
      index.marks,
      moment(index.oldestMarkAt),
      index.quarantined,
      moment(index.builtAt),
      stateOf(index),
    ]),
  );
  const waiting = lanes.reduce((sum, { marks }) => sum + marks, 0);
  say();
  say(`${waiting} ${waiting === 1 ? "mark waits" : "marks wait"}; ${delayOf(visibleAfter)}`);
  for (const lane of lanes.filter(({ failingSince }) => failingSince !== null)) {
    const since = moment(lane.failingSince);
    say(`${paint("red", `lane ${lane.lane}`)} fails since ${since}: ${text(lane.lastError)}`);
  }
  for (const { schema, type, problems } of indexes) {
    for (const problem of problems) {
      say(`${paint("yellow", `${text(schema)}.${type}`)}: ${text(problem)}`);
    }
  }
  if (!trigrams)
    say("the extension pg_trgm is not there: every look-up works, and reads all values");
}

function stateOf({ installed, building, problems }: SearchStatus["indexes"][number]): string {
  if (building) return "building";
  if (!installed) return "not installed";
  return problems.length === 0 ? "ok" : "see below";
}

function delayOf({ count, p50, p95, p99 }: SearchStatus["visibleAfter"]): string {
  if (count === 0) return "nothing was applied yet";
  const seconds = (value: number | null) => (value === null ? "?" : `${value.toFixed(2)} s`);
  return `changes are found after ${seconds(p50)} (95 %: ${seconds(p95)}, 99 %: ${seconds(p99)})`;
}
