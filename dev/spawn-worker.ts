import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { spawnLeashed } from "./leash.ts";
import { workflowBundle } from "./workflow-bundle.ts";

const CLI = fileURLToPath(new URL("../cli/holdfast.ts", import.meta.url));

export interface WorkerProcessOptions {
  databaseUrl: string;
  temporalAddress: string;
  namespace?: string;
  /** Path of a `*.config.ts` with plug-ins. */
  config?: string;
  environment?: NodeJS.ProcessEnv;
  /** Each line the worker logs, JSON. */
  onLine?: (line: string) => void;
}

export interface WorkerProcess {
  readonly pid: number;
  /** Resolves when it asks Temporal for tasks; rejects when it ends before that, with its last lines. */
  readonly ready: Promise<void>;
  /** Resolves with how it ended. */
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  /** False once it has ended. */
  runs(): boolean;
  /** Sends the signal: SIGKILL, SIGTERM and SIGINT resolve when it has ended, others at once. */
  send(signal: NodeJS.Signals): Promise<void>;
  /** The lines it logged last, at most 200. */
  lines(): string[];
}

const KEPT_LINES = 200;
const ENDING: ReadonlySet<NodeJS.Signals> = new Set(["SIGKILL", "SIGTERM", "SIGINT"]);

/**
 * Starts `holdfast worker` as a process of its own, on the leash of this one. It is node itself, with
 * no runner between, so a signal reaches the worker and nothing else.
 */
export async function spawnWorker(options: WorkerProcessOptions): Promise<WorkerProcess> {
  const { environment = process.env, onLine } = options;
  const bundle = ["--workflow-bundle", await workflowBundle()];
  const args = ["--import", "tsx", CLI, "worker", ...bundle];
  const child = spawnLeashed(process.execPath, args, {
    env: {
      ...environment,
      DATABASE_URL: options.databaseUrl,
      TEMPORAL_ADDRESS: options.temporalAddress,
      TEMPORAL_NAMESPACE: options.namespace ?? "default",
      HOLDFAST_CONFIG: options.config ?? "",
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const said: string[] = [];
  const ended = once(child, "exit").then(([code, signal]) => ({ code, signal }));
  const ready = new Promise<void>((resolve, reject) => {
    const hear = (line: string) => {
      said.push(line);
      if (said.length > KEPT_LINES) said.shift();
      if (line.includes('"worker is ready"')) resolve();
      onLine?.(line);
    };
    createInterface({ input: child.stdout as Readable }).on("line", hear);
    createInterface({ input: child.stderr as Readable }).on("line", hear);
    void ended.then(({ code, signal }) =>
      reject(
        new Error(
          `the worker ended (${signal ?? `exit code ${code}`}) before it was ready:\n${said.slice(-15).join("\n")}`,
        ),
      ),
    );
  });
  // Who kills it on purpose before it is ready does not wait for that.
  ready.catch(() => undefined);
  return {
    pid: child.pid!,
    ready,
    ended,
    runs: () => runs(child),
    async send(signal) {
      if (!runs(child)) return;
      child.kill(signal);
      if (ENDING.has(signal)) await ended;
    },
    lines: () => [...said],
  };
}

const runs = (child: ChildProcess) => child.exitCode === null && child.signalCode === null;
