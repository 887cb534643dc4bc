import { once } from "node:events";
import { Option, type Command } from "commander";
import type { JobClient } from "../client/index.ts";
import { InvalidInput } from "../contracts/errors.ts";
import { withHoldfast } from "./connection.ts";
import { examples, given, JSON_FLAG, wholeNumber } from "./declare.ts";
import { followLogs, printLogs } from "./operation-logs.ts";
import { printJson } from "./output.ts";

const LEVELS = ["debug", "info", "warn", "error"] as const;

interface ResultFlags {
  errors?: boolean;
  late?: boolean;
  after?: string;
}

/** What came of a job, and what was said about it. */
export function register(job: Command): void {
  const results = job
    .command("results <id>")
    .description("what came of its items, in their order, one line of NDJSON each")
    .option("--errors", "errors only")
    .option("--late", "what came too late to count, and why")
    .option("--after <cursor>", "those after an item; with --late, the cursor of the page before");
  examples(
    results,
    "holdfast job results 01990f3e-... > results.ndjson",
    "holdfast job results 01990f3e-... --errors",
  ).action(async (id: string, flags: ResultFlags) => {
    if (flags.late && flags.errors) {
      throw new InvalidInput([{ path: "--late", message: "goes without --errors" }]);
    }
    await withHoldfast(async ({ job }) => {
      for await (const result of flags.late ? eachLate(job, id, flags) : eachOf(job, id, flags)) {
        await writeLine(result);
      }
    });
  });

  const logs = job
    .command("logs <id>")
    .description("its log lines in order of writing: the newest, or a page")
    .addOption(new Option("--level <level>", "this level and above").choices(LEVELS))
    .option("--limit <n>", "lines on one page, at most 1000; with --text 5000", wholeNumber)
    .option("--after <cursor>", "the next page: what the page before said")
    .option("-f, --follow", "go on until the job has ended (with --json: NDJSON)")
    .option("--text", "newest first, as text: all of it to stdout, errors alone to stderr")
    .option(...JSON_FLAG);
  examples(
    logs,
    "holdfast job logs 01990f3e-... --level warn",
    "holdfast job logs 01990f3e-... --follow",
    "holdfast job logs 01990f3e-... --text --limit 100",
  ).action(async (id: string, { json, follow, text, ...ask }) => {
    await withHoldfast(async (holdfast) => {
      if (text) return printText(holdfast.job, id, { json, follow, ...ask });
      // Another kind of operation has logs as well, but is no job.
      await holdfast.job.get(id);
      return follow
        ? followLogs(holdfast.operation, id, { ...ask, json })
        : printLogs(holdfast.operation, id, { ...ask, json });
    });
  });
}

function eachOf(job: JobClient, id: string, { errors, after }: ResultFlags) {
  return job.eachResult(id, given({ errors, after }));
}

async function* eachLate(job: JobClient, id: string, { after }: ResultFlags) {
  for (let from = after; ;) {
    const page = await job.lateResults(id, given({ after: from }));
    yield* page.items;
    if (page.next === undefined) return;
    from = page.next;
  }
}

/** A job may have a million results: no more of them are held here than a pipe takes. */
async function writeLine(value: unknown): Promise<void> {
  if (!process.stdout.write(`${JSON.stringify(value)}\n`)) await once(process.stdout, "drain");
}

interface TextAsk {
  json?: boolean;
  limit?: number;
  [other: string]: unknown;
}

async function printText(job: JobClient, id: string, { json, limit, ...other }: TextAsk) {
  const extra = Object.entries(other).find(([, value]) => value !== undefined);
  if (extra) throw new InvalidInput([{ path: `--${extra[0]}`, message: "goes without --text" }]);
  const { stdout, stderr } = await job.logText(id, given({ limit }));
  if (json) return printJson({ stdout, stderr });
  if (stdout) process.stdout.write(`${stdout}\n`);
  if (stderr) process.stderr.write(`${stderr}\n`);
}
