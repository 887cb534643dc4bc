import { pino } from "pino";
import { loadConfig, readSettings } from "../config.ts";
import { installRuntime, runWorker } from "../workers/worker.ts";
import { untilInterrupted } from "./interrupt.ts";

/**
 * A worker as a process of its own, for the demo and the crash tests: settings from the environment,
 * the workflow bundle named by its one argument. SIGTERM and SIGINT end it in order.
 */
const [bundle] = process.argv.slice(2);
const settings = readSettings();
const log = pino({ level: settings.HOLDFAST_LOG }, pino.destination({ fd: 1, sync: true }));
const ending = new AbortController();
void untilInterrupted().then(() => ending.abort());

installRuntime(log);
await runWorker({
  databaseUrl: settings.DATABASE_URL,
  schema: settings.HOLDFAST_SCHEMA,
  poolSize: settings.HOLDFAST_POOL,
  temporalAddress: settings.TEMPORAL_ADDRESS,
  namespace: settings.TEMPORAL_NAMESPACE,
  config: await loadConfig(settings.HOLDFAST_CONFIG),
  log,
  maxRunning: settings.HOLDFAST_MAX_RUNNING,
  maxRunningPerScope: settings.HOLDFAST_MAX_RUNNING_PER_SCOPE,
  ...(bundle ? { workflowBundle: { codePath: bundle } } : {}),
  signal: ending.signal,
});
process.exit(0);
