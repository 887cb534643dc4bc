import { Command, type CommanderError } from "commander";
import { VERSION } from "../version.ts";
import * as bank from "./bank.ts";
import * as brake from "./brake.ts";
import * as dev from "./dev.ts";
import * as doctor from "./doctor.ts";
import * as document from "./document.ts";
import { afterCommander, EXIT, tellFailure } from "./failure.ts";
import * as inbox from "./inbox.ts";
import * as inventory from "./inventory.ts";
import * as job from "./job.ts";
import * as key from "./key.ts";
import * as migrate from "./migrate.ts";
import * as operation from "./operation.ts";
import * as plan from "./plan.ts";
import * as replay from "./replay.ts";
import * as retain from "./retain.ts";
import * as review from "./review.ts";
import * as search from "./search.ts";
import * as server from "./server.ts";
import * as webhook from "./webhook.ts";
import * as worker from "./worker.ts";

/** Runs one command line (without node and script) to its end. Answers the exit code. */
export async function runCommand(args: readonly string[]): Promise<number> {
  try {
    await program().parseAsync(args, { from: "user" });
    return Number(process.exitCode ?? EXIT.ok);
  } catch (error) {
    return tellFailure(error);
  }
}

/** Declares every command; each loads what it needs when it runs, so that `--help` is quick. */
export function program(): Command {
  const root = new Command("holdfast")
    .description("Durable bulk operations for services on Postgres, run by Temporal.")
    .version(VERSION, "-V, --version", "print the version")
    .helpOption("-h, --help", "print help")
    .configureOutput({ outputError: () => undefined })
    .addHelpText("after", AFTER_HELP);
  const groups: [string, { register(to: Command): void }[]][] = [
    ["Bulk work:", [retain, inbox, plan, review, job, operation, brake]],
    ["What is there:", [search, inventory, bank, document]],
    ["Processes:", [dev, worker, server, migrate]],
    ["Looking after it:", [doctor, replay, key, webhook]],
  ];
  for (const [heading, commands] of groups) {
    root.commandsGroup(heading);
    for (const command of commands) command.register(root);
  }
  for (const command of root.commands) command.helpCommand(false);
  root.addHelpCommand(
    new Command("help")
      .argument("[command]")
      .description("print help")
      .helpGroup("Looking after it:"),
  );
  everyCommand(root, (command) => {
    command.exitOverride((error: CommanderError) => {
      throw afterCommander(command, error);
    });
  });
  return root;
}

const AFTER_HELP = `
Start here:
  holdfast dev                                          Postgres, Temporal, a worker and the console
  holdfast retain submit docs/ --bank handbook --wait   in another terminal, same folder

Settings come from the environment (DATABASE_URL, TEMPORAL_ADDRESS, ...); in the folder of a running
"holdfast dev" they may be left out. Exit codes: 0 ok, 1 failed, 2 bad usage or input, 3 refused.
"holdfast <command> --help" shows examples.`;

function everyCommand(command: Command, visit: (command: Command) => void): void {
  visit(command);
  for (const child of command.commands) everyCommand(child, visit);
}
