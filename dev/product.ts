import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { pino } from "pino";
import { loadConfig, readSettings } from "../config.ts";
import type { HoldfastConfig } from "../contracts/config.ts";
import { migrate } from "../db/migrate.ts";
import { startServer, type RunningServer } from "../server/listen.ts";
import { temporalProbe } from "../workers/temporal-probe.ts";
import { freePort } from "./free-port.ts";
import { recordConsole, type StackAddresses } from "./stack-state.ts";
import { startStack, StackRunning, type Stack } from "./stack.ts";
import { keepWorker, type KeptWorker } from "./keep-worker.ts";
import { installSearch } from "./product-search.ts";

export { StackRunning };

export interface ProductOptions {
  /** Directory to keep the state in. Without it everything goes at the end. */
  persist?: string | undefined;
  /** `true` starts Redis as well. */
  redis?: boolean | undefined;
  log: (line: string) => void;
  /** Ends a start that is under way. */
  signal: AbortSignal;
}

export interface Product {
  readonly addresses: StackAddresses & { consoleUrl: string };
  readonly worker: KeptWorker;
  /** The state directory. */
  readonly dir: string;
  /** Stops worker, server and stack, in this order. */
  stop(): Promise<void>;
}

/**
 * Starts the stack, brings its schema up to date, and runs server and worker on it: the whole product
 * on one machine. Undefined when `signal` aborted first; end the process then. The server listens on loopback and asks
 * nobody for a key; its log and the worker's are in the state directory.
 * @throws StackRunning, and what the parts throw; nothing is left running then.
 */
export async function startProduct(options: ProductOptions): Promise<Product | undefined> {
  const { persist, redis, log, signal } = options;
  const starting = startStack(
    persist === undefined ? { durability: "fast", redis, log } : { persist, redis, log },
  );
  // Getting a server may take minutes; who ends this process before has the leash clean up.
  const stack = await Promise.race([starting, untilAborted(signal)]);
  if (!stack) return undefined;
  const parts: { stop(): Promise<void> }[] = [stack];
  const stop = async () => {
    for (const part of parts.splice(0).toReversed()) await part.stop();
  };
  try {
    const environment = environmentOf(stack);
    const { databaseUrl } = stack;
    const schema = environment["HOLDFAST_SCHEMA"] || "holdfast";
    const { applied } = await migrate(databaseUrl, { schema });
    for (const name of applied) log(`applied migration ${name}`);
    const config = await loadConfig(environment["HOLDFAST_CONFIG"] || undefined);
    await installSearch({ databaseUrl, schema, config }, log);
    if (signal.aborted) {
      await stop();
      return undefined;
    }

    const server = await serve(stack, environment, config);
    parts.push(server);
    if (persist !== undefined) await recordConsole(stack.dir, server.url);
    const worker: KeptWorker = keepWorker({
      environment,
      logFile: join(stack.dir, "worker.log"),
      log,
    });
    parts.push(worker);
    await Promise.race([worker.ready, untilAborted(signal)]);
    if (signal.aborted) {
      await stop();
      return undefined;
    }
    const { temporalAddress, temporalUiUrl, namespace, redisUrl } = stack;
    return {
      addresses: {
        databaseUrl,
        temporalAddress,
        temporalUiUrl,
        namespace,
        ...(redisUrl && { redisUrl }),
        consoleUrl: server.url,
      },
      worker,
      dir: stack.dir,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function environmentOf(stack: Stack): NodeJS.ProcessEnv {
  return {
    ...process.env,
    DATABASE_URL: stack.databaseUrl,
    TEMPORAL_ADDRESS: stack.temporalAddress,
    TEMPORAL_NAMESPACE: stack.namespace,
    ...(stack.temporalUiUrl ? { TEMPORAL_UI_URL: stack.temporalUiUrl } : {}),
    ...(stack.redisUrl ? { REDIS_URL: stack.redisUrl } : {}),
  };
}

const USUAL_PORT = 4_780;

async function serve(
  stack: Stack,
  environment: NodeJS.ProcessEnv,
  config: HoldfastConfig,
): Promise<RunningServer> {
  const settings = readSettings({
    ...environment,
    HOLDFAST_HOST: "127.0.0.1",
    HOLDFAST_AUTH: environment["HOLDFAST_AUTH"] || "off",
    // Who names a port means it; otherwise the usual one gives way to whoever has it.
    HOLDFAST_PORT: environment["HOLDFAST_PORT"] || String(await freePort(USUAL_PORT)),
  });
  const logFile = createWriteStream(join(stack.dir, "server.log"), { flags: "a" });
  const probe = temporalProbe({ address: stack.temporalAddress, namespace: stack.namespace });
  const server = await startServer({
    settings,
    config,
    log: pino({ name: "server", level: settings.HOLDFAST_LOG }, logFile),
    temporalReachable: probe.reachable,
  });
  return {
    ...server,
    stop: async () => {
      await server.stop();
      await probe.close();
      logFile.end();
    },
  };
}

function untilAborted(signal: AbortSignal): Promise<undefined> {
  if (signal.aborted) return Promise.resolve(undefined);
  return new Promise((resolve) =>
    signal.addEventListener("abort", () => resolve(undefined), { once: true }),
  );
}
