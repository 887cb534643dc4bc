import type { ChildProcess } from "node:child_process";
import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { freePort } from "./free-port.ts";
import { spawnLeashed } from "./leash.ts";
import { rememberServer, untilPreviousEnds } from "./process-life.ts";
import { postgresBinaries } from "./postgres-binaries.ts";
import { DATABASE_OWNER, ensureCluster, serverEnvironment } from "./postgres-cluster.ts";
import type { Durability } from "./postgres-cluster.ts";
import { until } from "./until.ts";

export type { Durability };

export interface PostgresOptions {
  /** The server's own directory: data, password and log. Made when missing, never removed here. */
  dir: string;
  durability?: Durability;
  /** Taken if it is free. */
  port?: number | undefined;
  maxConnections?: number;
  /** More server settings, as in postgresql.conf. */
  settings?: Record<string, string>;
  log?: (line: string) => void;
}

/** How to stop: wait for sessions to end, end them, let go at once (as a crash, but in order), or SIGKILL. */
type StopMode = "smart" | "fast" | "immediate" | "kill";

export interface PostgresServer {
  /** Of the database `holdfast`, as superuser, on loopback. The same after every start. */
  readonly url: string;
  readonly port: number;
  /** undefined while it is stopped. */
  readonly pid: number | undefined;
  /** Resolves when the server process has ended. */
  stop(mode?: StopMode): Promise<void>;
  /** Starts it again on the same port, through crash recovery if that is needed, and waits for an answer. */
  start(): Promise<void>;
  restart(mode?: StopMode): Promise<void>;
}

const DATABASE = "holdfast";
// Recovery after a crash may take long; as long as the process lives it is worth waiting for.
const READY_WITHIN_MS = 120_000;
// What an earlier server on the same data leaves while it, or its last backend, is still ending.
const STILL_ENDING =
  /lock file "postmaster\.pid" already exists|pre-existing shared memory block|Address already in use/;
const SIGNALS = {
  smart: "SIGTERM",
  fast: "SIGINT",
  immediate: "SIGQUIT",
  kill: "SIGKILL",
} as const;

const SPEED: Record<Durability, Record<string, string>> = {
  durable: {},
  fast: { fsync: "off", synchronous_commit: "off", full_page_writes: "off" },
};

/**
 * Starts a real Postgres server on loopback and waits until it answers.
 * Works as root (the server then runs as another user) and as anybody else.
 * @throws Error with the end of the server's log when it does not start.
 */
export async function startPostgres(options: PostgresOptions): Promise<PostgresServer> {
  const { dir, log = () => {} } = options;
  const binaries = await postgresBinaries();
  const data = join(dir, "data");
  const logFile = join(dir, "postgres.log");
  const pidFile = join(dir, "postgres.pid");
  const password = await ensureCluster(dir, data, binaries, options.durability ?? "durable");
  await untilPreviousEnds(pidFile, "SIGQUIT");
  const port = await freePort(options.port);
  const url = `postgres://${DATABASE_OWNER}:${password}@127.0.0.1:${port}/${DATABASE}`;
  const args = serverArgs(data, port, options);
  let child: ChildProcess | undefined;

  async function launch(): Promise<ChildProcess> {
    const output = await open(logFile, "w", 0o600);
    const server = spawnLeashed(binaries.postgres, args, {
      ...binaries.user,
      cwd: dir,
      env: serverEnvironment(),
      stdio: ["ignore", output.fd, output.fd],
      stopSignal: "SIGINT",
      graceMs: 15_000,
    });
    await output.close();
    await rememberServer(pidFile, server.pid);
    return server;
  }

  async function start(): Promise<void> {
    if (child) return;
    const server = await until(
      attempt,
      30_000,
      () => `Another Postgres is still running on ${data}; stop it first. It was there`,
      100,
    );
    child = server;
    server.once("exit", (code, signal) => {
      if (child !== server) return;
      child = undefined;
      log(`Postgres has ended by itself (${signal ?? `exit code ${code}`}); its log is ${logFile}`);
    });
  }

  /** undefined when it is worth trying again. */
  async function attempt(): Promise<ChildProcess | undefined> {
    const server = await launch();
    const answered = await answers(server, url).catch((cause) => {
      server.kill("SIGQUIT");
      throw cause;
    });
    if (answered) return server;
    const said = await readFile(logFile, "utf8");
    if (STILL_ENDING.test(said)) return undefined;
    throw new Error(`Postgres did not start:\n${said.trimEnd().split("\n").slice(-15).join("\n")}`);
  }

  async function stop(mode: StopMode = "fast"): Promise<void> {
    const server = child;
    child = undefined;
    if (!server || ended(server)) return;
    const end = new Promise((resolve) => server.once("exit", resolve));
    server.kill(SIGNALS[mode]);
    await end;
  }

  await start();
  await createDatabase(url).catch(async (cause) => {
    await stop("immediate");
    throw cause;
  });
  return {
    url,
    port,
    get pid() {
      return child?.pid;
    },
    start,
    stop,
    async restart(mode) {
      await stop(mode);
      await start();
    },
  };
}

function serverArgs(data: string, port: number, options: PostgresOptions): string[] {
  const settings = {
    listen_addresses: "127.0.0.1",
    unix_socket_directories: "",
    max_connections: String(options.maxConnections ?? 200),
    max_wal_size: "4GB",
    timezone: "UTC",
    log_timezone: "UTC",
    ...SPEED[options.durability ?? "durable"],
    ...options.settings,
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  return ["-D", data, "-p", String(port), ...flags];
}

const ended = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null;

/** @returns false when the process ended before it answered. */
async function answers(server: ChildProcess, url: string): Promise<boolean> {
  const admin = adminUrl(url);
  const probe = async () => ended(server) || (await ping(admin));
  await until(probe, READY_WITHIN_MS, () => "Postgres runs but does not answer");
  return !ended(server);
}

async function ping(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 });
  client.on("error", () => {});
  try {
    await client.connect();
    await client.query("select 1");
    return true;
  } catch (cause) {
    // A password that does not match its cluster never will, so waiting on would only hide it.
    if ((cause as { code?: string }).code === "28P01") throw cause;
    return false;
  } finally {
    await client.end().catch(() => {});
  }
}

async function createDatabase(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: adminUrl(url) });
  await client.connect();
  try {
    const { rowCount } = await client.query("select from pg_database where datname = $1", [
      DATABASE,
    ]);
    if (rowCount === 0) await client.query(`create database ${DATABASE}`);
  } finally {
    await client.end();
  }
}

function adminUrl(url: string): string {
  const admin = new URL(url);
  admin.pathname = "/postgres";
  return admin.href;
}
