import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { spawnLeashed } from "./leash.ts";

export interface KeptWorker {
  /** Resolves when the first one asks Temporal for tasks. */
  readonly ready: Promise<void>;
  /** Kills the worker that runs now, as a crash does, and answers how it ended once it has. */
  kill(): Promise<{ pid: number; signal: NodeJS.Signals | null } | undefined>;
  /** Ends it in order, and kills it when that takes longer than 20 s. */
  stop(): Promise<void>;
}

/** A worker that lived this long was well; one that ends sooner is started again ever later. */
const LIVED_MS = 10_000;
const MOST_WAIT_MS = 15_000;
const STOP_WITHIN_MS = 20_000;
/** The SDK warns of a worker that has activities only, which is how the work queue is worked. */
const EXPECTED = /^No workflows registered/;

/**
 * Runs `holdfast worker` as a process of its own, and another whenever it ends. What it logs goes to
 * `logFile`, warnings and worse also to `log`.
 */
export function keepWorker(options: {
  environment: NodeJS.ProcessEnv;
  logFile: string;
  log: (line: string) => void;
}): KeptWorker {
  const { environment, logFile, log } = options;
  const file = createWriteStream(logFile, { flags: "a" });
  const stopping = new AbortController();
  let child: ChildProcess | undefined;
  let becameReady = () => {};
  const ready = new Promise<void>((resolve) => (becameReady = resolve));
  const keep = async () => {
    for (let early = 0; !stopping.signal.aborted;) {
      const startedAt = performance.now();
      child = startWorker(environment, (line) => {
        file.write(`${line}\n`);
        const { level = 60, msg = line, err } = parsed(line);
        if (msg === "worker is ready") becameReady();
        if (level >= 40 && !EXPECTED.test(msg))
          log(`worker: ${msg}${err?.message ? ` (${err.message})` : ""}`);
      });
      const [code, signal] = await once(child, "exit");
      if (stopping.signal.aborted) return;
      early = performance.now() - startedAt > LIVED_MS ? 0 : early + 1;
      const waitMs = early === 0 ? 0 : Math.min(MOST_WAIT_MS, 500 * 2 ** (early - 1));
      log(`the worker ended (${signal ?? `exit code ${code}`}); starting another`);
      await sleep(waitMs, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  };
  const ended = keep();
  return {
    ready,
    kill: async () => {
      const killed = child;
      if (!killed?.pid || !killed.kill("SIGKILL")) return undefined;
      const [, signal] = await once(killed, "exit");
      return { pid: killed.pid, signal };
    },
    stop: async () => {
      stopping.abort();
      const pid = child?.pid;
      const signal = (name: NodeJS.Signals) => {
        if (child?.exitCode === null && child.signalCode === null && pid) process.kill(pid, name);
      };
      signal("SIGTERM");
      const late = setTimeout(() => signal("SIGKILL"), STOP_WITHIN_MS);
      await ended;
      clearTimeout(late);
      file.end();
    },
  };
}

function startWorker(environment: NodeJS.ProcessEnv, onLine: (line: string) => void): ChildProcess {
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  const cli = fileURLToPath(new URL(`../cli/holdfast.${extension}`, import.meta.url));
  const child = spawnLeashed(process.execPath, [...process.execArgv, cli, "worker"], {
    env: environment,
    stdio: ["ignore", "pipe", "pipe"],
    graceMs: 2_000,
  });
  for (const output of [child.stdout, child.stderr] as Readable[]) {
    createInterface({ input: output }).on("line", onLine);
  }
  return child;
}

interface Line {
  level?: number;
  msg?: string;
  err?: { message?: string };
}

function parsed(line: string): Line {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
}
