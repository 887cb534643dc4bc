import type { Command } from "commander";
import type { JobClient } from "../client/index.ts";
import { InvalidInput } from "../contracts/errors.ts";
import type { JobHeaderInput, JobItem } from "../contracts/job.ts";
import type { Accepted } from "../contracts/operation.ts";
import { plugins, withHoldfast } from "./connection.ts";
import { examples, given, JSON_FLAG, share, TENANT_FLAG, wholeNumber } from "./declare.ts";
import { followJob } from "./job-follow.ts";
import { printJob } from "./job-print.ts";
import { exitWith } from "./operation-watch.ts";
import { note, printJson, say } from "./output.ts";

interface Flags {
  pipeline: string;
  collector?: string;
  collect?: string;
  tenant?: string;
  key?: string;
  priority?: number;
  weight?: number;
  batchSize?: number;
  lease?: number;
  heartbeat?: number;
  deliveries?: number;
  maxFailed?: number;
  shuffle?: boolean;
  limit?: number;
  startAfter?: string;
  wait?: boolean;
  json?: boolean;
}

export function register(job: Command): void {
  const submit = job
    .command("submit [source]")
    .description(
      "accept a job: NDJSON or a JSON array of items (- for standard input), or a collector that finds them",
    )
    .requiredOption("--pipeline <pipeline>", "what workers ask for")
    .option("--collector <name>", "finds the items, page by page; of holdfast.config.ts")
    .option("--collect <json>", "what the collector is given")
    .option(...TENANT_FLAG)
    .option("--key <key>", "idempotency key: a repeat with the same content answers the same")
    .option("--priority <n>", "1 (first) to 5; multiplies the weight, never strict", wholeNumber)
    .option("--weight <n>", "share of what is handed out, 1 to 100", wholeNumber)
    .option("--batch-size <n>", "items in one batch", wholeNumber)
    .option("--lease <seconds>", "how long a worker has a batch", wholeNumber)
    .option(
      "--heartbeat <seconds>",
      "silence after which a worker that extends is lost",
      wholeNumber,
    )
    .option("--deliveries <n>", "times a batch is handed out before it is lost", wholeNumber)
    .option(
      "--max-failed <share>",
      "fails when more than this share of items failed, 0 to 1",
      share,
    )
    .option("--shuffle", "hand items out in a random order")
    .option("--limit <n>", "take only so many items", wholeNumber)
    .option("--start-after <instant>", "not before, such as 2026-11-21T22:00:00Z")
    .option("--wait", "follow it to its end; exit code 0 completed, 1 failed, 3 cancelled")
    .option(...JSON_FLAG);
  examples(
    submit,
    "holdfast job submit items.ndjson --pipeline thumbnails",
    `echo '{"key":"a.jpg","reference":"s3://bucket/a.jpg"}' | holdfast job submit - --pipeline thumbnails --wait`,
    `holdfast job submit --collector changed-images --collect '{"since":"2026-11-01"}' --pipeline thumbnails`,
  ).action(submitJob);
}

async function submitJob(source: string | undefined, flags: Flags): Promise<void> {
  const give = await openItems(source, flags);
  const header = headerOf(flags);
  await withHoldfast(
    async ({ job }) => {
      const accepted = await give(job, header).catch((error: unknown) => {
        throw namingFlags(error);
      });
      if (!flags.wait) {
        if (flags.json) return printJson(accepted);
        tellAccepted(accepted, flags);
        return say(`follow it with "holdfast job watch ${accepted.id}"`);
      }
      if (!flags.json) tellAccepted(accepted, flags);
      const quiet = flags.json === true && !process.stderr.isTTY;
      const end = await followJob(job, accepted.id, { quiet });
      if (flags.json) printJson(end);
      else await printJob(end);
      exitWith(end);
    },
    await plugins(),
  );
}

type Give = (job: JobClient, header: JobHeaderInput) => Promise<Accepted>;

/** An array is held in memory; NDJSON takes more. */
const ARRAY_BYTES = 256 * 1024 * 1024;

async function openItems(source: string | undefined, flags: Flags): Promise<Give> {
  const { collector, collect } = flags;
  if ((source === undefined) === (collector === undefined)) {
    const message = "name a file (- for standard input) or a --collector, one of them";
    throw new InvalidInput([{ path: "source", message }]);
  }
  if (collector !== undefined) {
    const input = collect === undefined ? {} : { collect: jsonOf(collect) };
    return (job, header) => job.submit({ ...header, collector, ...input });
  }
  if (collect !== undefined) {
    throw new InvalidInput([{ path: "--collect", message: "goes with --collector" }]);
  }
  const { jsonArray, peek, readable } = await import("./item-source.ts");
  if (source === "-" && process.stdin.isTTY) {
    note("reading items from the terminal; end with Ctrl-D");
  }
  const { text, all } = await peek(source === "-" ? process.stdin : readable(source!)).catch(
    (error: NodeJS.ErrnoException) => {
      const why = error.code === "ENOENT" ? "there is no such file" : error.message;
      throw new InvalidInput([{ path: source!, message: `${why}: check the path` }]);
    },
  );
  return async (job, header) =>
    text.startsWith("[")
      ? job.submit({ ...header, items: await jsonArray<JobItem>(all, ARRAY_BYTES) })
      : job.submitLines(header, all);
}

function jsonOf(text: string): JobItem["payload"] {
  try {
    return JSON.parse(text) as JobItem["payload"];
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new InvalidInput([{ path: "--collect", message: `must be JSON (${why})` }]);
  }
}

function headerOf(flags: Flags): JobHeaderInput {
  const { priority, weight, batchSize, deliveries, shuffle, limit, startAfter } = flags;
  const options = given({
    priority,
    weight,
    batchSize,
    leaseSeconds: flags.lease,
    heartbeatSeconds: flags.heartbeat,
    deliveries,
    maxFailedShare: flags.maxFailed,
    shuffle,
    limit,
    startAfter,
  });
  return {
    ...given({ tenant: flags.tenant, key: flags.key }),
    pipeline: flags.pipeline,
    ...(Object.keys(options).length > 0 ? { options } : {}),
  };
}

const FLAGS: Record<string, string> = {
  leaseSeconds: "--lease",
  heartbeatSeconds: "--heartbeat",
  maxFailedShare: "--max-failed",
};

/** Says the flag where the client says the field it became. */
function namingFlags(error: unknown): unknown {
  if (!(error instanceof InvalidInput)) return error;
  const issues = error.issues.map(({ path, message }) => ({ path: flagOf(path), message }));
  return new InvalidInput(issues, error.code, error.status);
}

function flagOf(path: string): string {
  if (path === "body") return "input";
  const field = /^(?:options\.)?(\w+)$/.exec(path)?.[1];
  if (field === undefined || field === "items") return path;
  return FLAGS[field] ?? `--${field.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

function tellAccepted(accepted: Accepted, flags: Flags): void {
  const { id, total, batches, existing, state } = accepted;
  if (existing)
    return say(`key "${flags.key}" was used for the same content: job ${id} (${state})`);
  if (flags.collector !== undefined) return say(`accepted ${id}: its items will be collected`);
  const items = `${total} ${total === 1 ? "item" : "items"}`;
  say(`accepted ${id}: ${items}${batches === 1 ? "" : ` in ${batches} batches`}`);
}
