import { rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { realpathSync } from "node:fs";
import { parseArgs } from "node:util";
import { untilInterrupted } from "./interrupt.ts";
import { removed, removeWhenGone } from "./leash.ts";
import { startPostgres } from "./postgres.ts";
import type { Durability, PostgresServer } from "./postgres.ts";
import { startRedis } from "./redis.ts";
import type { RedisServer } from "./redis.ts";
import { keptDirs, temporaryDirs } from "./stack-dirs.ts";
import { claimState, recordState, releaseState, StackRunning } from "./stack-state.ts";
import type { Ports, StackAddresses } from "./stack-state.ts";
import { startTemporal } from "./temporal-server.ts";
import type { TemporalServer } from "./temporal-server.ts";

export { StackRunning };
export type { StackAddresses };

export interface StackOptions {
  /** Directory to keep the state in, such as `.holdfast`. Without it the state goes when the stack stops. */
  persist?: string | undefined;
  /** `false` starts Postgres alone. */
  temporal?: boolean;
  /** `true` starts Redis as well, which only sources in Redis need. */
  redis?: boolean | undefined;
  /** `durable` unless told otherwise; `fast` is for state nobody would miss. */
  durability?: Durability;
  /** Settings of the Temporal server, as in its dynamic configuration. */
  temporalConfig?: Record<string, string>;
  /** Where DATABASE_URL, TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_UI_URL and REDIS_URL are looked up. */
  environment?: NodeJS.ProcessEnv;
  log?: (line: string) => void;
}

export interface Stack extends StackAddresses {
  /** Where its state and logs are. */
  readonly dir: string;
  /** The servers this stack started; undefined when the address was given from outside. */
  readonly postgres: PostgresServer | undefined;
  readonly temporal: TemporalServer | undefined;
  readonly redis: RedisServer | undefined;
  /** Stops what it started, in order, and removes temporary state. May be called twice. */
  stop(): Promise<void>;
}

export type PostgresStack = Omit<Stack, "temporalAddress" | "temporalUiUrl" | "temporal">;

/**
 * Starts what Holdfast stands on: a Postgres server and a Temporal dev server, on loopback and free
 * ports, and waits until both answer. A server whose address is set in the environment (DATABASE_URL,
 * TEMPORAL_ADDRESS) is used instead of starting one. However this process ends, no server outlives it.
 * @throws StackRunning when a stack already runs on the same kept state; Error with the next step when
 *   a server cannot be had or does not start.
 */
export function startStack(options: StackOptions & { temporal: false }): Promise<PostgresStack>;
export function startStack(options?: StackOptions): Promise<Stack>;
export async function startStack(options: StackOptions = {}): Promise<Stack | PostgresStack> {
  const { persist, environment = process.env, durability = "durable" } = options;
  const log = options.log ?? ((line: string) => void process.stderr.write(`${line}\n`));
  const dirs = persist === undefined ? await temporaryDirs() : await keptDirs(persist);
  const before: Ports = persist === undefined ? {} : await claimState(dirs.root);
  if (persist === undefined) removeWhenGone(dirs.root);

  let postgres: PostgresServer | undefined;
  let temporal: TemporalServer | undefined;
  let redis: RedisServer | undefined;
  let stopping: Promise<void> | undefined;
  const stop = () => (stopping ??= stopAll());
  async function stopAll(): Promise<void> {
    await temporal?.kill(persist === undefined ? "SIGKILL" : "SIGTERM");
    await redis?.stop(persist === undefined ? "SIGKILL" : "SIGTERM");
    await postgres?.stop(persist === undefined ? "immediate" : "fast");
    if (persist !== undefined) return releaseState(dirs.root);
    await rm(dirs.root, { recursive: true, force: true, maxRetries: 10 });
    removed(dirs.root);
  }

  const namespace = environment["TEMPORAL_NAMESPACE"] || "default";
  const starts = await Promise.allSettled([
    environment["DATABASE_URL"] ||
      startPostgres({ dir: dirs.postgres, durability, port: before.postgres, log }).then(
        (server) => {
          postgres = server;
          return server.url;
        },
      ),
    environment["TEMPORAL_ADDRESS"] ||
      (options.temporal !== false &&
        startTemporal({
          dir: dirs.temporal,
          port: before.temporal,
          uiPort: before.temporalUi,
          durability,
          namespace,
          dynamicConfig: options.temporalConfig,
          log,
        }).then((server) => {
          temporal = server;
          return server.address;
        })),
    options.redis === true &&
      (environment["REDIS_URL"] ||
        startRedis({ dir: dirs.redis, durability, port: before.redis, environment, log }).then(
          (server) => {
            redis = server;
            return server.url;
          },
        )),
  ]);
  const failure = starts.find((start) => start.status === "rejected");
  if (failure) {
    await stop();
    throw failure.reason;
  }
  const [databaseUrl, temporalAddress, redisUrl] = starts.map(
    (start) => (start.status === "fulfilled" && start.value) || "",
  ) as [string, string, string];
  const addresses = {
    databaseUrl,
    ...(temporalAddress && {
      temporalAddress,
      temporalUiUrl: temporal?.uiUrl ?? environment["TEMPORAL_UI_URL"],
    }),
    namespace,
    ...(redisUrl && { redisUrl }),
  };
  const stack = { ...addresses, dir: dirs.root, postgres, temporal, redis, stop };
  // One that is not started this time keeps its port for the next.
  const ports = { ...before, ...definedPorts(stack) };
  if (persist !== undefined) await recordState(dirs.root, addresses, ports);
  return stack;
}

function definedPorts({ postgres, temporal, redis }: Partial<Stack>): Ports {
  return {
    postgres: postgres?.port,
    temporal: temporal?.port,
    temporalUi: temporal?.uiPort,
    ...(redis && { redis: redis.port }),
  };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      temporary: { type: "boolean", default: false },
      redis: { type: "boolean", default: false },
      state: { type: "string", default: ".holdfast" },
    },
  });
  const stack = await startStack(
    values.temporary
      ? { durability: "fast", redis: values.redis }
      : { persist: values.state, redis: values.redis },
  ).catch((error: Error) => {
    process.stderr.write(`${error.message}\n`);
    process.exit(error instanceof StackRunning ? 3 : 1);
  });
  const { postgres, temporal, redis, stop, ...addresses } = stack;
  const pids = {
    pid: process.pid,
    postgresPid: postgres?.pid,
    temporalPid: temporal?.pid,
    ...(redis && { redisPid: redis.pid }),
  };
  // Whoever reads the line may send a signal at once.
  const interrupted = untilInterrupted();
  process.stdout.write(`${JSON.stringify({ ...addresses, ...pids })}\n`);
  await interrupted;
  await stop();
  process.exit(0);
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url))
  await main();
