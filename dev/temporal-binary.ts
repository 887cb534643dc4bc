import { execFile } from "node:child_process";
import { mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { cacheHome } from "./cache-home.ts";
import { executable, onPath } from "./on-path.ts";
import { buildTemporal } from "./temporal-build.ts";
import { downloadTemporal } from "./temporal-download.ts";
import { whileLocked } from "./lock-file.ts";

/** The Temporal CLI that is downloaded or built; it carries server 1.31.2. */
export const CLI_VERSION = "1.8.2";
const OLDEST_SERVER = [1, 29] as const;

export interface TemporalBinary {
  path: string;
  /** Of the Temporal server inside, such as `1.31.2`. */
  serverVersion: string;
}

export interface TemporalBinaryOptions {
  environment?: NodeJS.ProcessEnv;
  log?: (line: string) => void;
  /** Tried in this order when there is no binary yet; each writes the file it is given. */
  sources?: Source[];
}

export interface Source {
  name: string;
  /** @throws Error with one line of reason when this way does not lead to a binary. */
  fetch: (file: string, log: (line: string) => void) => Promise<void>;
}

const SOURCES: Source[] = [
  { name: "download", fetch: (file) => downloadTemporal(file, CLI_VERSION) },
  { name: "build", fetch: (file, log) => buildTemporal(file, CLI_VERSION, log) },
];

/**
 * The `temporal` executable: from PATH, else from the cache
 * (`$XDG_CACHE_HOME/holdfast/temporal/<version>/temporal`), else downloaded or built into the cache, once.
 * @throws Error with every way tried and the next step.
 */
export async function temporalBinary(options: TemporalBinaryOptions = {}): Promise<TemporalBinary> {
  const { environment = process.env, log = () => {}, sources = SOURCES } = options;
  const installed = await onPath("temporal", environment["PATH"]);
  if (installed) {
    const binary = await describe(installed).catch(() => undefined);
    if (binary && recentEnough(binary)) return binary;
    log(
      `temporal: ${installed} is passed over: ${binary ? `its server ${binary.serverVersion} is older than ${OLDEST_SERVER.join(".")}` : "it does not run"}`,
    );
  }
  const dir = join(cacheHome(environment), "temporal", CLI_VERSION);
  const cached = join(dir, "temporal");
  if (!(await executable(cached))) {
    await mkdir(dir, { recursive: true });
    await whileLocked(
      join(dir, "lock"),
      async () => {
        if (!(await executable(cached))) await fill(cached, sources, log);
      },
      (holder) => log(`temporal: process ${holder} is already fetching it; waiting for that`),
    );
  }
  return describe(cached);
}

// Written beside its place and moved there when whole, so that an interrupted fetch is never run.
async function fill(cached: string, sources: Source[], log: (line: string) => void): Promise<void> {
  const failures: string[] = [];
  for (const { name, fetch } of sources) {
    const file = `${cached}.${name}-${process.pid}`;
    try {
      await fetch(file, log);
      await describe(file);
      await rename(file, cached);
      return;
    } catch (error) {
      failures.push(`${name}: ${(error as Error).message}`);
      log(`temporal: ${failures.at(-1)}`);
    } finally {
      await rm(file, { force: true });
    }
  }
  throw new Error(
    `There is no Temporal dev server (${failures.join("; ")}). Install the Temporal CLI ` +
      "(https://docs.temporal.io/cli) or Go 1.26.4 or newer, or set TEMPORAL_ADDRESS to a running server.",
  );
}

async function describe(path: string): Promise<TemporalBinary> {
  const { stdout } = await promisify(execFile)(path, ["--version"], { timeout: 30_000 });
  const serverVersion = /Server (\d+\.\d+\.\d+)/.exec(stdout)?.[1];
  if (!serverVersion) throw new Error(`${path} --version says no server version: ${stdout.trim()}`);
  return { path, serverVersion };
}

function recentEnough({ serverVersion }: TemporalBinary): boolean {
  const [major = 0, minor = 0] = serverVersion.split(".").map(Number);
  return major > OLDEST_SERVER[0] || (major === OLDEST_SERVER[0] && minor >= OLDEST_SERVER[1]);
}
