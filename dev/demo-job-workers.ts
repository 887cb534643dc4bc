import { execFile } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { spawnLeashed } from "./leash.ts";
import { onPath } from "./on-path.ts";

/** Pull workers of the demo: processes that know the server's address and nothing else of us. */
export interface PullWorkerProcess {
  /** Its own name for itself. */
  name: string;
  /** What it is, for people. */
  kind: string;
  pid: number;
  send(signal: NodeJS.Signals): void;
  ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
}

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** One in Python when there is one, else two of the SDK; the second one is the SDK's in any case. */
export async function startPullWorkers(options: {
  url: string;
  pipeline: string;
  /** Of the demo; holds what the Python worker is made of. */
  dir: string;
}): Promise<[PullWorkerProcess, PullWorkerProcess]> {
  const { url, pipeline, dir } = options;
  const start = (name: string, kind: string, command: string, args: string[], more = {}) => {
    const environment = { HOLDFAST_URL: url, PIPELINES: pipeline, WORKER: name, ...more };
    const child = spawnLeashed(command, args, {
      env: { ...process.env, ...environment },
      // Lines of the demo are the demo's.
      stdio: ["ignore", "ignore", 2],
      graceMs: 1_000,
    });
    const ended = once(child, "exit").then(([code, signal]) => ({ code, signal }));
    const send = (signal: NodeJS.Signals) => void child.kill(signal);
    return { name, kind, pid: child.pid!, send, ended };
  };
  const sdk = (name: string) =>
    start(name, "TypeScript, runPullWorker", process.execPath, [
      ...process.execArgv,
      here("demo-job-worker.ts"),
    ]);

  const python = await findPython();
  if (!python) return [sdk("typescript-1"), sdk("typescript-2")];
  const place = await pythonWorker(join(dir, "pull-worker"));
  const first = start("python", "Python, docs/pull-workers.md", python, [place], {
    PYTHONDONTWRITEBYTECODE: "1",
  });
  return [first, sdk("typescript")];
}

/** The block of the page, as a file, and what the demo wants done beside it. */
async function pythonWorker(dir: string): Promise<string> {
  await mkdir(dir, { recursive: true });
  const worker = workerOfPage(await readFile(here("../docs/pull-workers.md"), "utf8"));
  await writeFile(join(dir, "worker.py"), worker);
  const place = join(dir, "demo.py");
  await copyFile(here("demo-job-worker.py"), place);
  return place;
}

/** The program of the page about pull workers. @throws Error when the page has none */
export function workerOfPage(page: string): string {
  const [, program] = /^```python worker\.py\n(.*?)^```$/ms.exec(page) ?? [];
  if (program === undefined)
    throw new Error("docs/pull-workers.md has no block `python worker.py`");
  return program;
}

async function findPython(): Promise<string | undefined> {
  const python = await onPath("python3", process.env["PATH"]);
  if (!python) return undefined;
  const isNewEnough = ["-c", "import sys; sys.exit(sys.version_info < (3, 9))"];
  return promisify(execFile)(python, isNewEnough).then(
    () => python,
    () => undefined,
  );
}
