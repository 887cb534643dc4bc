import { stat } from "node:fs/promises";
import type { Command } from "commander";
import { InvalidInput } from "../contracts/errors.ts";
import { plugins, settings } from "./connection.ts";
import { examples } from "./declare.ts";
import { Ended, EXIT } from "./failure.ts";
import { interrupted, toItsEnd } from "./interrupt.ts";
import { note, say } from "./output.ts";

export function register(program: Command): void {
  const worker = program
    .command("worker")
    .description("run a worker with its relay and upkeep, until Ctrl-C; logs JSON lines")
    .option("--workflow-bundle <file>", "workflows bundled before, instead of at every start")
    .option("--check", "say whether a worker of this machine is alive, for health checks");
  examples(
    worker,
    "holdfast worker",
    "HOLDFAST_POOL=24 HOLDFAST_LOG=debug holdfast worker",
    "holdfast worker --check",
  ).action(({ check, workflowBundle }) =>
    check ? checkAlive() : toItsEnd(() => run(workflowBundle)),
  );
}

async function run(workflowBundle: string | undefined): Promise<void> {
  // Heard from the first moment: a worker that waits for Temporal must stop as well.
  const signal = interrupted();
  const [at, config] = await Promise.all([settings(), plugins(), assertFile(workflowBundle)]);
  const { startTracing } = await import("../workers/tracing.ts");
  const tracing = await startTracing("holdfast-worker");
  const [{ pino }, { installRuntime, runWorker }] = await Promise.all([
    import("pino"),
    import("../workers/worker.ts"),
  ]);
  const log = pino({ name: "worker", level: at.HOLDFAST_LOG });
  const metricsPort = at.HOLDFAST_METRICS_PORT;
  installRuntime(log, metricsPort > 0 ? `${at.HOLDFAST_HOST}:${metricsPort}` : undefined);
  try {
    await runWorker({
      databaseUrl: at.DATABASE_URL,
      schema: at.HOLDFAST_SCHEMA,
      poolSize: at.HOLDFAST_POOL,
      temporalAddress: at.TEMPORAL_ADDRESS,
      namespace: at.TEMPORAL_NAMESPACE,
      redisUrl: at.REDIS_URL,
      maxRunning: at.HOLDFAST_MAX_RUNNING,
      maxRunningPerScope: at.HOLDFAST_MAX_RUNNING_PER_SCOPE,
      config,
      log,
      ...(workflowBundle && { workflowBundle: { codePath: workflowBundle } }),
      signal,
    });
    log.info("stopped");
  } finally {
    await tracing.stop();
  }
}

async function assertFile(file: string | undefined): Promise<void> {
  if (file === undefined || (await stat(file).catch(() => undefined))?.isFile()) return;
  const message = `there is no file ${file}: leave the option out, and the worker bundles for itself`;
  throw new InvalidInput([{ path: "--workflow-bundle", message }]);
}

async function checkAlive(): Promise<void> {
  const { DATABASE_URL, HOLDFAST_SCHEMA } = await settings();
  const { onlineHere } = await import("../workers/online.ts");
  const alive = await onlineHere({ url: DATABASE_URL, schema: HOLDFAST_SCHEMA });
  for (const identity of alive) say(identity);
  if (alive.length > 0) return;
  note("no worker of this machine has been heard of in the last 30 s");
  throw new Ended(EXIT.failed);
}
