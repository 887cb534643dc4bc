import type { ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createClient } from "@redis/client";
import { freePort } from "./free-port.ts";
import { spawnLeashed } from "./leash.ts";
import { rememberServer, untilPreviousEnds } from "./process-life.ts";
import type { Durability } from "./postgres-cluster.ts";
import { redisBinary, withLibraries } from "./redis-binary.ts";
import { until } from "./until.ts";

export interface RedisOptions {
  /** The server's own directory: data, settings, log, pid. Made when missing, never removed here. */
  dir: string;
  /** `durable` keeps what was written but for a last second through a crash of the machine, `fast` through one of the server. */
  durability?: Durability;
  /** Taken if it is free. */
  port?: number | undefined;
  /** More settings, as in redis.conf. */
  settings?: Record<string, string>;
  environment?: NodeJS.ProcessEnv;
  log?: (line: string) => void;
}

export interface RedisServer {
  /** On loopback, with its password. The same after every start. */
  readonly url: string;
  readonly port: number;
  /** undefined while it is stopped. */
  readonly pid: number | undefined;
  /** Sends the signal (SIGTERM) and resolves when the process has ended. */
  stop(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again on the same port with the same data, and waits for an answer. */
  start(): Promise<void>;
  restart(signal?: NodeJS.Signals): Promise<void>;
}

const READY_WITHIN_MS = 60_000;

/**
 * Starts a real Redis (or Valkey) server on loopback with an append-only file, and waits until it answers.
 * @throws Error with the next step when none can be had; with the end of its log when it does not start.
 */
export async function startRedis(options: RedisOptions): Promise<RedisServer> {
  const { dir, environment = process.env, log = () => {} } = options;
  const binary = await redisBinary({ environment, log });
  await mkdir(join(dir, "data"), { recursive: true, mode: 0o700 });
  const password = await passwordOf(dir);
  const pidFile = join(dir, "redis.pid");
  const logFile = join(dir, "redis.log");
  await untilPreviousEnds(pidFile, "SIGKILL");
  const port = await freePort(options.port);
  const url = `redis://:${password}@127.0.0.1:${port}`;
  // A file of its owner's, for everybody may read the arguments of a process.
  const settingsFile = join(dir, "redis.conf");
  await writeFile(settingsFile, settingsText(dir, port, password, options), { mode: 0o600 });
  let child: ChildProcess | undefined;

  async function start(): Promise<void> {
    if (child) return;
    await rm(logFile, { force: true });
    const server = spawnLeashed(binary.path, [settingsFile], {
      cwd: dir,
      env: withLibraries(environment, binary.libraries),
      stdio: ["ignore", "ignore", "ignore"],
      graceMs: 10_000,
    });
    await rememberServer(pidFile, server.pid);
    const probe = async () => ended(server) || (await answers(url));
    await until(probe, READY_WITHIN_MS, () => "Redis runs but does not answer", 50);
    if (ended(server)) {
      const said = await readFile(logFile, "utf8").catch(() => "");
      throw new Error(`Redis did not start:\n${said.trimEnd().split("\n").slice(-15).join("\n")}`);
    }
    child = server;
    server.once("exit", (code, signal) => {
      if (child !== server) return;
      child = undefined;
      log(`Redis has ended by itself (${signal ?? `exit code ${code}`}); its log is ${logFile}`);
    });
  }

  async function stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    const server = child;
    child = undefined;
    if (!server || ended(server)) return;
    const end = new Promise((resolve) => server.once("exit", resolve));
    server.kill(signal);
    await end;
  }

  await start();
  return {
    url,
    port,
    get pid() {
      return child?.pid;
    },
    start,
    stop,
    async restart(signal) {
      await stop(signal);
      await start();
    },
  };
}

const ended = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null;

async function passwordOf(dir: string): Promise<string> {
  const file = join(dir, "password");
  const known = await readFile(file, "utf8").catch(() => "");
  if (known !== "") return known.trim();
  const password = randomBytes(16).toString("hex");
  await writeFile(file, `${password}\n`, { mode: 0o600 });
  return password;
}

function settingsText(dir: string, port: number, password: string, options: RedisOptions): string {
  const settings = {
    bind: "127.0.0.1",
    port: String(port),
    daemonize: "no",
    requirepass: password,
    dir: JSON.stringify(join(dir, "data")),
    logfile: JSON.stringify(join(dir, "redis.log")),
    save: '""',
    appendonly: "yes",
    // What a command wrote is with the system before it is answered, so a crash of the server loses nothing.
    appendfsync: options.durability === "fast" ? "no" : "everysec",
    "maxmemory-policy": "noeviction",
    ...options.settings,
  };
  return Object.entries(settings)
    .map(([name, value]) => `${name} ${value}\n`)
    .join("");
}

async function answers(url: string): Promise<boolean> {
  const client = createClient({
    url,
    socket: { reconnectStrategy: false, connectTimeout: 2_000 },
  });
  client.on("error", () => {});
  try {
    await client.connect();
    return (await client.ping()) === "PONG";
  } catch {
    return false;
  } finally {
    client.destroy();
  }
}
