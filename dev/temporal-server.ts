import type { ChildProcess } from "node:child_process";
import { execFile } from "node:child_process";
import { mkdir, open, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { Connection } from "@temporalio/client";
import { freePort } from "./free-port.ts";
import { spawnLeashed } from "./leash.ts";
import { rememberServer, untilPreviousEnds } from "./process-life.ts";
import { temporalBinary } from "./temporal-binary.ts";
import { until } from "./until.ts";

export interface TemporalOptions {
  /** The server's own directory: database file, log, pid. Made when missing, never removed here. */
  dir: string;
  /** `durable` keeps workflows through a crash of the machine, `fast` only through one of the server. */
  durability?: "durable" | "fast";
  namespace?: string;
  /** Settings of the server, as in its dynamic configuration. */
  dynamicConfig?: Record<string, string> | undefined;
  /** Taken if they are free. */
  port?: number | undefined;
  uiPort?: number | undefined;
  log?: (line: string) => void;
}

export interface TemporalServer {
  /** host:port of the gRPC frontend. The same after every start. */
  readonly address: string;
  readonly uiUrl: string;
  readonly port: number;
  readonly uiPort: number;
  readonly namespace: string;
  /** undefined while it is stopped. */
  readonly pid: number | undefined;
  /** Sends the signal (SIGTERM) and resolves when the process has ended. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again on the same ports with the same data, and waits for an answer. */
  start(): Promise<void>;
}

/** What operations are found by in Temporal's own lists. */
const SEARCH_ATTRIBUTES = ["HoldfastTenant", "HoldfastKind", "HoldfastScope"];

// The limits of the dev server are made for a laptop's first workflow; here they would be what is measured.
const UNLIMITED = [
  "frontend.rps",
  "frontend.namespaceRPS",
  "frontend.namespaceRPS.visibility",
  "frontend.namespaceCount",
  "frontend.persistenceMaxQPS",
  "history.rps",
  "history.persistenceMaxQPS",
  "matching.rps",
  "matching.persistenceMaxQPS",
];
const READY_WITHIN_MS = 60_000;

/**
 * Starts a real Temporal dev server with its UI on loopback and waits until the namespace answers.
 * @throws Error with the end of the server's log when it does not start, or the next step when there is
 *   no server to be had.
 */
export async function startTemporal(options: TemporalOptions): Promise<TemporalServer> {
  const { dir, namespace = "default", log = () => {} } = options;
  await mkdir(dir, { recursive: true });
  const { path, serverVersion } = await temporalBinary({ log });
  const logFile = join(dir, "temporal.log");
  const pidFile = join(dir, "temporal.pid");
  await untilPreviousEnds(pidFile, "SIGKILL");
  const port = await freePort(options.port);
  const uiPort = await freePort(options.uiPort);
  const address = `127.0.0.1:${port}`;
  const args = [
    "server",
    "start-dev",
    "--ip=127.0.0.1",
    `--port=${port}`,
    `--ui-port=${uiPort}`,
    `--namespace=${namespace}`,
    // A server does not migrate the file of another version, so each version has its own.
    `--db-filename=${join(dir, `temporal-${serverVersion}.db`)}`,
    "--sqlite-pragma=journal_mode=WAL",
    `--sqlite-pragma=synchronous=${options.durability === "fast" ? "OFF" : "NORMAL"}`,
    ...UNLIMITED.map((key) => `--dynamic-config-value=${key}=100000`),
    "--dynamic-config-value=matching.enableFairness=true",
    "--dynamic-config-value=system.enableActivityEagerExecution=true",
    ...Object.entries(options.dynamicConfig ?? {}).map(
      ([key, value]) => `--dynamic-config-value=${key}=${value}`,
    ),
    ...SEARCH_ATTRIBUTES.map((name) => `--search-attribute=${name}=Keyword`),
    "--log-level=warn",
    ...(await newsFlag(path)),
  ];
  let child: ChildProcess | undefined;

  async function start(): Promise<void> {
    if (child) return;
    const output = await open(logFile, "w", 0o600);
    const server = spawnLeashed(path, args, {
      cwd: dir,
      stdio: ["ignore", output.fd, output.fd],
      // Its database survives a kill, and the next start is waiting for it to end.
      graceMs: 2_000,
    });
    await output.close();
    await rememberServer(pidFile, server.pid);
    const probe = async () => ended(server) || (await namespaceAnswers(address, namespace));
    const late = () => `Temporal runs but does not answer (its log is ${logFile})`;
    await until(probe, READY_WITHIN_MS, late, 50).catch((cause) => {
      server.kill("SIGKILL");
      throw cause;
    });
    if (ended(server)) {
      const said = (await readFile(logFile, "utf8")).trimEnd().split("\n").slice(-15).join("\n");
      throw new Error(`Temporal did not start:\n${said}`);
    }
    child = server;
    server.once("exit", (code, signal) => {
      if (child !== server) return;
      child = undefined;
      log(`Temporal has ended by itself (${signal ?? `exit code ${code}`}); its log is ${logFile}`);
    });
  }

  async function kill(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    const server = child;
    child = undefined;
    if (server && !ended(server)) {
      const end = new Promise((resolve) => server.once("exit", resolve));
      server.kill(signal);
      await end;
    }
    await rm(pidFile, { force: true });
  }

  await start();
  return {
    address,
    uiUrl: `http://127.0.0.1:${uiPort}`,
    port,
    uiPort,
    namespace,
    get pid() {
      return child?.pid;
    },
    kill,
    start,
  };
}

/** Whether the server at the address answers and has the namespace. */
async function namespaceAnswers(address: string, namespace: string): Promise<boolean> {
  const connection = await Connection.connect({ address, connectTimeout: 1_000 }).catch(
    () => undefined,
  );
  if (!connection) return false;
  try {
    await connection.withDeadline(Date.now() + 2_000, async () => {
      await connection.workflowService.getSystemInfo({});
      await connection.workflowService.describeNamespace({ namespace });
    });
    return true;
  } catch {
    return false;
  } finally {
    await connection.close();
  }
}

const ended = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null;

// Older command lines do not know the flag and refuse what they do not know.
async function newsFlag(path: string): Promise<string[]> {
  const { stdout } = await promisify(execFile)(path, ["server", "start-dev", "--help"]);
  return stdout.includes("--ui-disable-news-fetch") ? ["--ui-disable-news-fetch"] : [];
}
