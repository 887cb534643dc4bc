import type { Command } from "commander";
import * as ingest from "./inbox-ingest.ts";
import * as read from "./inbox-read.ts";

export function register(program: Command): void {
  const inbox = program
    .command("inbox")
    .description("entities on their way into the inventory, and what became of them");
  for (const verbs of [ingest, read]) verbs.register(inbox);
}
