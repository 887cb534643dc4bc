import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "@temporalio/client";
import { loadClientConnectConfig } from "@temporalio/envconfig";
import { NativeConnection, Runtime, Worker, type WorkflowBundleOption } from "@temporalio/worker";
import type { Logger } from "pino";
import { v7 as uuidv7 } from "uuid";
import { controlActivities, jobActivities, workActivities } from "../activities/index.ts";
import { createPressure } from "../activities/pressure.ts";
import type { HoldfastConfig } from "../contracts/config.ts";
import { Conflict } from "../contracts/errors.ts";
import { installationOf } from "../db/installation.ts";
import { readStreams } from "../contracts/stream.ts";
import { CONTROL_QUEUE, JOB_QUEUE, WORK_QUEUE } from "../contracts/task-queues.ts";
import { assertInventory } from "../db/inventory-settings.ts";
import { assertSchema } from "../db/migrate.ts";
import { assertReachable, openDb } from "../db/pool.ts";
import { deleteWorker, markWorkerSeen } from "../db/workers.ts";
import { activityTracing } from "./activity-tracing.ts";
import { ensureDoctorSchedule } from "./doctor-schedule.ts";
import { startRelay } from "./relay.ts";
import { startStreams } from "./stream.ts";
import { streamMetrics } from "./stream-metrics.ts";
import { targetWorkers } from "./targets.ts";
import { startUpkeep } from "./upkeep.ts";
import { currentWorkflowCode } from "./workflow-code.ts";
import { VERSION } from "../version.ts";

export interface WorkerOptions {
  databaseUrl: string;
  schema?: string;
  /**
   * Connections for activities. Four fewer slots are for pages, and half as many again for lanes of
   * jobs, which hold a connection only to claim and to post. Default 12.
   */
  poolSize?: number;
  temporalAddress?: string;
  namespace?: string;
  /** Where streams are that the configuration gives no address for. */
  redisUrl?: string | undefined;
  config: HoldfastConfig;
  log: Logger;
  maxRunning?: number;
  maxRunningPerScope?: number;
  /** `host:port` for Prometheus metrics of the Temporal SDK. */
  metricsAddress?: string;
  /** A bundle made before, for tests and releases. Default: bundled at the start. */
  workflowBundle?: WorkflowBundleOption;
  /** Ends the worker: running activities hand back at the end of their page. */
  signal: AbortSignal;
}

/** A dead worker's workflows move to another after this long. */
const STICKY_MS = 3_000;
/** Every heartbeat is passed on, so that a dead worker is known after one timeout and no later. */
const HEARTBEAT_MS = 1_000;
/** Activities may end their page in this time after the signal; then they are cancelled. */
const GRACE_MS = 10_000;
const FORCE_MS = 25_000;

/** Runs a worker, its relay and its upkeep until `signal`. Waits for Temporal as long as it takes. */
export async function runWorker(options: WorkerOptions): Promise<void> {
  const { log, config, signal } = options;
  assertInventory(config);
  const streams = readStreams(config.inventory?.streams, options.redisUrl);
  const poolSize = options.poolSize ?? 12;
  const at = { url: options.databaseUrl, ...(options.schema ? { schema: options.schema } : {}) };
  const db = openDb({ ...at, size: poolSize, name: "holdfast-worker" });
  // Relay and upkeep must go on when activities hold every connection.
  const ownDb = openDb({ ...at, size: 4, name: "holdfast-upkeep" });
  // Taking in goes on when planning holds every connection.
  const streamDb = openDb({
    ...at,
    size: Math.max(1, streams.length * 2),
    name: "holdfast-stream",
  });
  const identity = `holdfast@${hostname()}#${process.pid}`;
  const worker = { id: uuidv7(), identity, version: VERSION };
  try {
    await assertReachable(ownDb);
    await assertSchema(ownDb);
    await markWorkerSeen(ownDb, worker);
    const loops = startUpkeep({ db: ownDb, config, log, worker });
    const pressure = createPressure();
    if (streams.length > 0) {
      const metrics = streamMetrics(Runtime.instance().metricMeter);
      const reading = startStreams(
        { db: streamDb, config, log, identity, pressure, metrics },
        streams,
      );
      const stopReading = () => reading.forEach((one) => void one.stop());
      signal.addEventListener("abort", stopReading, { once: true });
      loops.push(...reading);
    }
    try {
      const connection = await connectTemporal(options);
      if (!connection) return;
      try {
        const client = new Client({
          connection,
          ...(options.namespace ? { namespace: options.namespace } : {}),
          identity,
        });
        const limits = {
          batch: 50,
          maxRunning: options.maxRunning ?? 200,
          maxRunningPerScope: options.maxRunningPerScope ?? 4,
        };
        loops.push(startRelay({ db: ownDb, client, log, limits }));
        await ensureDoctorSchedule(client, await installationOf(ownDb)).catch((error: unknown) => {
          if (error instanceof Conflict) throw error;
          log.warn({ err: error }, "the doctor's schedule could not be made");
        });
        const deps = { db, config, identity, client, log, limits, draining: signal, pressure };
        const common = {
          connection,
          namespace: client.options.namespace,
          identity,
          shutdownGraceTime: GRACE_MS,
          shutdownForceTime: FORCE_MS,
          maxHeartbeatThrottleInterval: HEARTBEAT_MS,
          defaultHeartbeatThrottleInterval: HEARTBEAT_MS,
          interceptors: { activity: [activityTracing] },
        };
        const control = await Worker.create({
          ...common,
          taskQueue: CONTROL_QUEUE,
          ...(options.workflowBundle
            ? { workflowBundle: options.workflowBundle }
            : currentWorkflowCode()),
          maxCachedWorkflows: 300,
          stickyQueueScheduleToStartTimeout: STICKY_MS,
          activities: controlActivities(deps),
          maxConcurrentActivityTaskExecutions: 4,
        });
        const work = await Worker.create({
          ...common,
          taskQueue: WORK_QUEUE,
          activities: workActivities(deps),
          maxConcurrentActivityTaskExecutions: Math.max(1, poolSize - 4),
        });
        const jobs = await Worker.create({
          ...common,
          taskQueue: JOB_QUEUE,
          activities: jobActivities(deps),
          maxConcurrentActivityTaskExecutions: Math.max(1, Math.floor((poolSize - 4) / 2)),
        });
        const targets = await targetWorkers({ db, config, log, draining: signal }, common);
        const workers = [control, work, jobs, ...targets.workers];
        log.info({ identity, version: VERSION }, "worker is ready");
        const stop = () => {
          for (const one of workers) if (one.getState() === "RUNNING") one.shutdown();
        };
        signal.addEventListener("abort", stop, { once: true });
        const running = Promise.all(workers.map((one) => one.run()));
        if (signal.aborted) stop();
        await running.finally(() => targets.stop());
      } finally {
        await connection.close();
      }
    } finally {
      await Promise.all(loops.map((one) => one.stop()));
      await deleteWorker(ownDb, worker.id).catch(() => undefined);
    }
  } finally {
    await Promise.all([db.close(), ownDb.close(), streamDb.close()]);
  }
}

const RETRY_MS = 2_000;

// Accepting goes on without Temporal, so a worker that starts before it waits, and says so.
async function connectTemporal(options: WorkerOptions): Promise<NativeConnection | undefined> {
  const configured = loadClientConnectConfig().connectionOptions;
  const address = options.temporalAddress ?? configured.address ?? "127.0.0.1:7233";
  for (let attempt = 0; !options.signal.aborted; attempt++) {
    try {
      return await NativeConnection.connect({ ...configured, address });
    } catch (error) {
      if (Math.log2(attempt + 1) % 1 === 0) {
        options.log.warn({ address, err: error }, "waiting for Temporal");
      }
      await sleep(RETRY_MS, undefined, { signal: options.signal }).catch(() => undefined);
    }
  }
  return undefined;
}

/** Once per process, before any worker: structured logs of the SDK, and its metrics if asked for. */
export function installRuntime(log: Logger, metricsAddress?: string): void {
  Runtime.install({
    logger: {
      log: (level, message, meta) => log[pinoLevel(level)](meta ?? {}, message),
      trace: (message, meta) => log.trace(meta ?? {}, message),
      debug: (message, meta) => log.debug(meta ?? {}, message),
      info: (message, meta) => log.debug(meta ?? {}, message),
      warn: (message, meta) => log.warn(meta ?? {}, message),
      error: (message, meta) => log.error(meta ?? {}, message),
    },
    // Signals are ours: the process decides in which order its parts stop.
    shutdownSignals: [],
    telemetryOptions: {
      logging: { filter: "WARN", forward: {} },
      ...(metricsAddress
        ? {
            metrics: {
              prometheus: {
                bindAddress: metricsAddress,
                unitSuffix: true,
                useSecondsForDurations: true,
              },
            },
          }
        : {}),
    },
  });
}

function pinoLevel(level: string): "trace" | "debug" | "info" | "warn" | "error" {
  const lower = level.toLowerCase();
  return lower === "trace" || lower === "debug" || lower === "warn" || lower === "error"
    ? lower
    : "debug";
}
