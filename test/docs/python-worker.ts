import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFailed, onTestFinished } from "vitest";
import { until } from "../../dev/until.ts";
import { block } from "./pages.ts";

export const hasPython = spawnSync("python3", ["--version"]).status === 0;
export const NO_PYTHON = "python3 is not on this machine";

export interface PythonWorker {
  readonly pid: number;
  /** What it printed. */
  said(): string;
  /** Resolves when it has printed this. */
  saying(text: string, withinMs?: number): Promise<void>;
  /** Sends the signal and answers how it ended. */
  end(signal: NodeJS.Signals): Promise<number | NodeJS.Signals>;
  readonly ended: Promise<number | NodeJS.Signals>;
}

export interface PythonAt {
  url: string;
  token?: string | undefined;
  pipelines: string;
  worker?: string;
  /** Python that has `worker`, the page's block as a module, and runs it. Default: the block itself. */
  around?: string;
}

/** The worker of docs/pull-workers.md as a process, ended with the test. */
export async function pythonWorker(at: PythonAt): Promise<PythonWorker> {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-python-"));
  await writeFile(join(folder, "worker.py"), block("pull-workers.md", "python worker.py"));
  await writeFile(join(folder, "around.py"), at.around ?? "");
  const child = spawn("python3", ["-u", at.around === undefined ? "worker.py" : "around.py"], {
    cwd: folder,
    env: {
      PATH: process.env["PATH"],
      HOLDFAST_URL: at.url,
      PIPELINES: at.pipelines,
      ...(at.token === undefined ? {} : { HOLDFAST_TOKEN: at.token }),
      ...(at.worker === undefined ? {} : { WORKER: at.worker }),
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => (said += text));
  }
  const ended = once(child, "close").then(([code, signal]) => (signal ?? code) as number);
  onTestFailed(() => console.error(`python worker ${child.pid}:\n${said}`));
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await ended;
    await rm(folder, { recursive: true, force: true });
  });
  return {
    pid: child.pid!,
    said: () => said,
    saying: async (text, withinMs = 20_000) => {
      await until(
        () => said.includes(text),
        withinMs,
        () => `it has not said "${text}" but:\n${said}`,
      );
    },
    end: (signal) => {
      child.kill(signal);
      return ended;
    },
    ended,
  };
}
