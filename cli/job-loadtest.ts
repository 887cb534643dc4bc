import type { Command } from "commander";
import { InvalidInput } from "../contracts/errors.ts";
import { atLeastOne, examples, JSON_FLAG } from "./declare.ts";
import { EXIT } from "./failure.ts";
import type { LoadPlan } from "./job-load.ts";
import { printLoad } from "./job-load-print.ts";
import { printJson } from "./output.ts";

interface Flags {
  job: string;
  batch: number;
  concurrency: number;
  rounds: number;
  host: string;
  timeout: number;
  minSuccess: number;
  tokenFile?: string;
  tokenStdin?: boolean;
  json?: boolean;
}

export function register(job: Command): void {
  const loadtest = job
    .command("loadtest")
    .description("post results over HTTP as many workers would, and say how it went")
    .requiredOption("--job <id>", "claims its batches and settles them: a job made for this")
    .option("--batch <n>", "results in one post, at most 1000", atLeastOne, 50)
    .option("--concurrency <n>", "posts at the same time", atLeastOne, 10)
    .option("--rounds <n>", "times over", atLeastOne, 3)
    .option("--host <url>", "the server", "http://localhost:4780")
    .option("--timeout <seconds>", "for one request", atLeastOne, 120)
    .option("--min-success <percent>", "of the posts, or the exit code is 1", atLeastOne, 100)
    .option("--token-file <path>", "holds the API key (default: HOLDFAST_TOKEN, or none)")
    .option("--token-stdin", "read the API key from standard input")
    .option(...JSON_FLAG);
  examples(
    loadtest,
    "HOLDFAST_TOKEN=$KEY holdfast job loadtest --job 01990f3e-...",
    "holdfast job loadtest --job 01990f3e-... --batch 50 --concurrency 10 --rounds 3 --token-file key.txt --json",
  ).action(async ({ json, ...flags }: Flags) => {
    const plan = await planOf(flags);
    const { runLoad } = await import("./job-load.ts");
    const report = await runLoad(plan);
    if (json) printJson(report);
    else await printLoad(report);
    if (report.successPercent < plan.minSuccess) process.exitCode = EXIT.failed;
  });
}

const MAX = { batch: 1_000, concurrency: 1_000, rounds: 10_000, timeout: 86_400, minSuccess: 100 };

async function planOf(flags: Flags): Promise<LoadPlan> {
  const { batch, concurrency, rounds, timeout, minSuccess, tokenFile, tokenStdin } = flags;
  const issues = Object.entries(MAX).flatMap(([name, most]) => {
    if (flags[name as keyof typeof MAX] <= most) return [];
    const path = name === "minSuccess" ? "--min-success" : `--${name}`;
    return [{ path, message: `must be at most ${most}` }];
  });
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(flags.job)) {
    issues.push({ path: "--job", message: 'must be the id of a job: see "holdfast job list"' });
  }
  if (tokenFile !== undefined && tokenStdin) {
    issues.push({ path: "--token-file", message: "goes without --token-stdin" });
  }
  const host = hostOf(flags.host);
  if (typeof host === "string") issues.push({ path: "--host", message: host });
  if (issues.length > 0 || typeof host === "string") throw new InvalidInput(issues);
  return {
    job: flags.job.toLowerCase(),
    host,
    batch,
    concurrency,
    rounds,
    timeoutMs: timeout * 1_000,
    minSuccess,
    token: await tokenFrom(tokenFile, tokenStdin),
    databaseUrl: process.env["DATABASE_URL"] || undefined,
  };
}

/** The server, or what is wrong with it. What was given is not repeated: it may hold a password. */
function hostOf(text: string): URL | string {
  const example = "such as http://localhost:4780";
  // `URL` takes `http:host` and `http:///host` for what was not said.
  if (!/^https?:\/\/[^/?#\s]/i.test(text) || !URL.canParse(text)) {
    return /^[a-z][a-z0-9+.-]*:\/\//i.test(text) && !/^https?:/i.test(text)
      ? `must begin with http:// or https://, ${example}`
      : `must be an address with a host, ${example}`;
  }
  const url = new URL(text);
  if (url.username || url.password)
    return "must hold no user or password: the token is given apart";
  if (url.search || url.hash) return "must be the server alone, without ? and #";
  return url;
}

/** The API key; never from the command line, which every user of a machine may read. */
async function tokenFrom(file?: string, stdin?: boolean): Promise<string | undefined> {
  const from = file === undefined ? (stdin ? "--token-stdin" : "HOLDFAST_TOKEN") : "--token-file";
  let text = process.env["HOLDFAST_TOKEN"] ?? "";
  if (file !== undefined) {
    const { readFile } = await import("node:fs/promises");
    text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
      const why = error.code === "ENOENT" ? "there is no such file" : error.message;
      throw new InvalidInput([{ path: "--token-file", message: why }]);
    });
  } else if (stdin) {
    const { text: readAll } = await import("node:stream/consumers");
    text = await readAll(process.stdin);
  }
  const token = text.trim();
  if (token === "" && (file !== undefined || stdin)) {
    throw new InvalidInput([{ path: from, message: "holds no token" }]);
  }
  if (/[^\x21-\x7E]/.test(token)) {
    throw new InvalidInput([{ path: from, message: "must hold one token, in one line" }]);
  }
  return token || undefined;
}
