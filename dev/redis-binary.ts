import { execFile } from "node:child_process";
import { mkdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { cacheHome } from "./cache-home.ts";
import { whileLocked } from "./lock-file.ts";
import { executable, onPath } from "./on-path.ts";
import { librariesIn, unpackRedis } from "./redis-packages.ts";

const OLDEST_MAJOR = 7;

export interface RedisBinary {
  path: string;
  /** Where its shared libraries are, as LD_LIBRARY_PATH is written; empty: where the system has them. */
  libraries: string;
  /** Such as `7.0.15`. */
  version: string;
}

export interface RedisBinaryOptions {
  environment?: NodeJS.ProcessEnv;
  log?: (line: string) => void;
  /** Fills a fresh directory with the files of packages; a way of its own for tests. */
  unpack?: (dir: string, log: (line: string) => void) => Promise<void>;
}

/**
 * A Redis or Valkey server: from PATH, else from the cache, else from the packages of the system (Debian
 * and Ubuntu), which are unpacked into the cache, once, and never installed.
 * @throws Error with every way tried and the next step.
 */
export async function redisBinary(options: RedisBinaryOptions = {}): Promise<RedisBinary> {
  const { environment = process.env, log = () => {}, unpack = unpackRedis } = options;
  const passed: string[] = [];
  for (const name of ["redis-server", "valkey-server"]) {
    const path = await onPath(name, environment["PATH"]);
    if (!path) continue;
    const binary = await describe(path, "").catch(() => undefined);
    if (binary && recentEnough(binary)) return binary;
    const why = binary ? `${binary.version} is older than ${OLDEST_MAJOR}` : "it does not run";
    passed.push(`${path}: ${why}`);
    log(`redis: ${passed.at(-1)}; it is passed over`);
  }
  if (passed.length === 0) passed.push("neither redis-server nor valkey-server is on PATH");

  const home = join(cacheHome(environment), "redis");
  const root = join(home, `${await systemName()}-${process.arch}`);
  try {
    if (!(await executable(serverIn(root)))) {
      await mkdir(home, { recursive: true });
      await whileLocked(
        join(home, "lock"),
        async () => {
          if (!(await executable(serverIn(root)))) await fill(root, unpack, log);
        },
        (holder) => log(`redis: process ${holder} is already fetching it; waiting for that`),
      );
    }
    return await unpacked(root);
  } catch (cause) {
    throw new Error(
      `There is no Redis (${[...passed, (cause as Error).message].join("; ")}). ` +
        "Install redis-server 7 or newer, or set REDIS_URL to one that runs.",
      { cause },
    );
  }
}

// Unpacked beside its place and moved there when it runs, so that an interrupted fetch is never used.
async function fill(
  root: string,
  unpack: NonNullable<RedisBinaryOptions["unpack"]>,
  log: (line: string) => void,
): Promise<void> {
  const fresh = `${root}.${process.pid}`;
  await mkdir(fresh, { recursive: true });
  try {
    await unpack(fresh, log);
    await unpacked(fresh);
    await rm(root, { recursive: true, force: true });
    await rename(fresh, root);
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
}

async function unpacked(root: string): Promise<RedisBinary> {
  const binary = await describe(serverIn(root), (await librariesIn(root)).join(":"));
  if (!recentEnough(binary)) {
    throw new Error(`the system's package has ${binary.version}, older than ${OLDEST_MAJOR}`);
  }
  return binary;
}

const serverIn = (root: string) => join(root, "usr", "bin", "redis-server");

async function describe(path: string, libraries: string): Promise<RedisBinary> {
  const { stdout } = await promisify(execFile)(path, ["--version"], {
    timeout: 10_000,
    env: withLibraries(process.env, libraries),
  });
  const version = /v=(\d+\.\d+\.\d+)/.exec(stdout)?.[1];
  if (!version) throw new Error(`${path} --version says no version: ${stdout.trim()}`);
  return { path, libraries, version };
}

/** The environment the server runs in. */
export function withLibraries(environment: NodeJS.ProcessEnv, libraries: string) {
  return libraries === "" ? environment : { ...environment, LD_LIBRARY_PATH: libraries };
}

function recentEnough({ version }: RedisBinary): boolean {
  return Number.parseInt(version, 10) >= OLDEST_MAJOR;
}

/** `debian-12`: packages of one release do not fit another. */
async function systemName(): Promise<string> {
  const text = await readFile("/etc/os-release", "utf8").catch(() => "");
  const value = (name: string) =>
    new RegExp(`^${name}="?([\\w.]+)`, "m").exec(text)?.[1] ?? process.platform;
  return `${value("ID")}-${value("VERSION_ID")}`;
}
