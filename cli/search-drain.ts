import type { Command } from "commander";
import { plugins, withHoldfast } from "./connection.ts";
import { examples, given, JSON_FLAG, wholeNumber } from "./declare.ts";
import { Ended, EXIT } from "./failure.ts";
import { note, printJson, say, text } from "./output.ts";

interface Flags {
  schema?: string;
  release?: boolean;
  timeout?: number;
  json?: boolean;
}

export function register(search: Command): void {
  const drain = search
    .command("drain")
    .description(
      "apply what is marked here and now, without a worker; exit code 1 when some is left",
    )
    .option("--once", "until nothing is left; said for clearness, it never stays")
    .option("--schema <schema>", "marks of this schema (default: all)")
    .option("--release", "try objects again that could not be indexed and are held")
    .option("--timeout <seconds>", "begin nothing after this (default: 600)", wholeNumber)
    .option(...JSON_FLAG);
  examples(
    drain,
    "holdfast search drain --once",
    "holdfast search drain --release --schema public",
  ).action(run);
}

async function run({ schema, release, timeout, json }: Flags): Promise<void> {
  const config = await plugins();
  const timeoutMs = timeout === undefined ? undefined : timeout * 1_000;
  const done = await withHoldfast(
    (holdfast) => holdfast.search.drainOnce(given({ schema, release, timeoutMs })),
    config,
  );
  if (json) printJson(done);
  else {
    for (const news of done.news) note(text(news));
    say(`${done.objects} objects brought up to date, by ${done.marks} marks`);
    if (done.released > 0) say(`${done.released} held objects were tried again`);
    if (done.held > 0) {
      say(`${done.held} could not be indexed and are held: "holdfast search status" shows them`);
    }
    if (done.left) note("some marks are left: the time was over, or a brake holds them back");
  }
  if (done.left) throw new Ended(EXIT.failed);
}
