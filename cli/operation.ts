import { Option, type Command } from "commander";
import type { Holdfast } from "../client/index.ts";
import type { LogLine, OperationView, Outcome } from "../contracts/operation.ts";
import { withHoldfast } from "./connection.ts";
import { examples, JSON_FLAG, TENANT_FLAG, wholeNumber } from "./declare.ts";
import { followLogs, printLogs } from "./operation-logs.ts";
import { AUDIT, BATCHES, EVENTS, ITEMS, OPERATIONS, printOperation } from "./operation-print.ts";
import { exitWith, follow } from "./operation-watch.ts";
import { printJson, printPage, say, text } from "./output.ts";
import { viewAudit, viewEvent } from "./row-views.ts";

const KINDS = ["retain", "plan", "review", "reindex", "job", "count", "clear"] as const;
const STATES = ["accepted", "running", "completed", "failed", "cancelled", "open"] as const;
const OUTCOMES = [
  "succeeded",
  "unchanged",
  "superseded",
  "blocked",
  "failed",
  "lost",
  "cancelled",
  "open",
] as const satisfies (Outcome | "open")[];
const LEVELS = ["debug", "info", "warn", "error"] as const satisfies LogLine["level"][];

interface Page {
  limit?: number;
  after?: string;
  json?: boolean;
}

export function register(program: Command): void {
  const operation = program
    .command("operation")
    .description("accepted pieces of bulk work: look, follow, steer");
  reads(operation);
  steering(operation);
}

function paged(command: Command, unit: string, most: number): Command {
  return command
    .option("--limit <n>", `${unit} on one page, at most ${most}`, wholeNumber)
    .option("--after <cursor>", "the next page: what the page before said")
    .option(...JSON_FLAG);
}

function reads(operation: Command): void {
  const list = operation
    .command("list")
    .description("operations, newest first")
    .addOption(new Option("--kind <kind>", "of one kind").choices(KINDS))
    .addOption(new Option("--state <state>", "in one state").choices(STATES))
    .option(TENANT_FLAG[0], "of one tenant")
    .option("--scope <scope>", "of one scope: for retain, the bank")
    .option("--since <instant>", "accepted since, such as 2026-11-21T10:00:00Z");
  examples(
    paged(list, "operations", 200),
    "holdfast operation list --state failed --limit 10",
    "holdfast operation list --state open --json",
  ).action(async ({ json, ...filter }) => {
    const page = await withHoldfast((holdfast) => holdfast.operation.list(filter));
    await printPage(page, { json, ...OPERATIONS });
  });

  const show = operation
    .command("show <id>")
    .description("one operation: state, progress, reason")
    .option(...JSON_FLAG);
  examples(show, "holdfast operation show 01990f3e-...").action(async (id: string, { json }) => {
    await withHoldfast(async (holdfast) => {
      const view = await holdfast.operation.get(id);
      if (json) return printJson(view);
      printOperation(view);
      if (view.shown === "paused") await printHolders(holdfast, view);
    });
  });

  const items = operation
    .command("items <id>")
    .description("its items, and how each ended")
    .addOption(new Option("--outcome <outcome>", "with one outcome").choices(OUTCOMES))
    .option("--batch <no>", "of one sub-batch", wholeNumber);
  examples(
    paged(items, "items", 1_000),
    "holdfast operation items 01990f3e-... --outcome failed",
  ).action(async (id: string, { json, ...filter }) => {
    const page = await withHoldfast((holdfast) => holdfast.operation.items(id, filter));
    await printPage(page, { json, ...ITEMS });
  });

  const batches = operation.command("batches <id>").description("its sub-batches");
  examples(
    paged(batches, "sub-batches", 1_000),
    "holdfast operation batches 01990f3e-... --json",
  ).action(async (id: string, { json, ...page }: Page) => {
    const found = await withHoldfast((holdfast) => holdfast.operation.batches(id, page));
    await printPage(found, { json, ...BATCHES });
  });

  const logs = operation
    .command("logs <id>")
    .description("its log lines in order of writing: the newest, or a page")
    .addOption(new Option("--level <level>", "this level and above").choices(LEVELS))
    .option("-f, --follow", "go on until the operation has ended (with --json: NDJSON)");
  examples(
    paged(logs, "lines", 1_000),
    "holdfast operation logs 01990f3e-... --level warn",
    "holdfast operation logs 01990f3e-... --follow",
  ).action(async (id: string, { json, follow: on, ...filter }) => {
    await withHoldfast((holdfast) =>
      on
        ? followLogs(holdfast.operation, id, { ...filter, json })
        : printLogs(holdfast.operation, id, { ...filter, json }),
    );
  });

  const events = operation
    .command("events <id>")
    .description("what was told to the outside about it")
    .option(...JSON_FLAG);
  examples(events, "holdfast operation events 01990f3e-...").action(
    async (id: string, { json }) => {
      const rows = await withHoldfast((holdfast) => holdfast.operation.events(id));
      await printPage({ items: rows.map(viewEvent) }, { json, ...EVENTS });
    },
  );

  const audit = operation
    .command("audit <id>")
    .description("who did what to it, newest first")
    .option(...JSON_FLAG);
  examples(audit, "holdfast operation audit 01990f3e-...").action(async (id: string, { json }) => {
    const rows = await withHoldfast((holdfast) => holdfast.operation.audit(id));
    await printPage({ items: rows.map(viewAudit) }, { json, ...AUDIT });
  });

  const watch = operation
    .command("watch <id>")
    .description("follow it to its end; exit code 0 completed, 1 failed, 3 cancelled")
    .option("--json", "print each change as a line of NDJSON");
  examples(watch, "holdfast operation watch 01990f3e-...").action(async (id: string, { json }) => {
    const end = await withHoldfast((holdfast) => follow(holdfast.operation, id, { json }));
    if (!json) printOperation(end);
    exitWith(end);
  });
}

/** Who braked what, and why, as far as this operation is concerned. */
async function printHolders(holdfast: Holdfast, view: OperationView): Promise<void> {
  const { holds } = await import("../client/operation-view.ts");
  const brakes = await holdfast.brake.list();
  for (const brake of brakes.filter((one) => holds(one, view))) {
    const what = `${brake.applies_to} ${brake.name}`.trim();
    say(text(`held by the brake on ${what}, set by ${brake.set_by}: ${brake.reason}`));
  }
}

function steering(operation: Command): void {
  const verbs = [
    ["cancel", "end it; what is settled stays", "is cancelled, or will be at the next page"],
    ["retry", "run its unfinished items again", "is accepted again"],
    ["resume", "let a paused one go on", "goes on"],
  ] as const;
  for (const [verb, description, done] of verbs) {
    const command = operation
      .command(`${verb} <id>`)
      .description(description)
      .option(...JSON_FLAG);
    examples(command, `holdfast operation ${verb} 01990f3e-...`).action(
      async (id: string, { json }) => {
        const view = await withHoldfast((holdfast) => holdfast.operation[verb](id));
        if (json) printJson(view);
        else say(`operation ${id} ${done} (${view.shown})`);
      },
    );
  }
  const pause = operation
    .command("pause <id>")
    .description("hold it back where it is; nothing is lost")
    .option("--reason <text>", "why; others will read it")
    .option(...JSON_FLAG);
  examples(pause, 'holdfast operation pause 01990f3e-... --reason "disk is filling up"').action(
    async (id: string, { json, reason }) => {
      const view = await withHoldfast((holdfast) => holdfast.operation.pause(id, reason));
      if (json) printJson(view);
      else say(`operation ${id} is held back; let it go on with "holdfast operation resume ${id}"`);
    },
  );
}
