import { collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { WAITED_BOUNDS, waitedOf, type LaneRow } from "../db/index-lanes.ts";
import type { Db } from "../db/pool.ts";
import { readStats, type Stats } from "../db/stats.ts";
import type { ServerDeps } from "./deps.ts";
import { inventoryMetrics } from "./inventory-metrics.ts";
import { jobMetrics, type JobMetrics } from "./job-metrics.ts";

/** Prometheus metrics of one server process, and gauges of the whole installation. */
export interface Metrics {
  /** One request: method, route pattern, status, seconds to the answer's head. */
  observe(request: { method: string; route: string; status: number; seconds: number }): void;
  /** Batches that this process handed out. */
  handedOut: JobMetrics["handedOut"];
  /** The text Prometheus scrapes. Answers without Postgres too, and says so. */
  scrape(): Promise<{ text: string; contentType: string }>;
}

// Several scrapers, or an eager one, cost Postgres one read in this time.
const KEEP_STATS_MS = 5_000;

export function newMetrics(db: Db, log: ServerDeps["log"]): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const seconds = new Histogram({
    name: "holdfast_http_request_seconds",
    help: "Time from a request to the head of its answer",
    labelNames: ["method", "route", "status"],
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers: [registry],
  });
  const jobs = jobMetrics(registry);
  const show = statsGauges(registry, jobs);
  const refresh = atMostEvery(KEEP_STATS_MS, async () => {
    try {
      show(await readStats(db), new Date());
    } catch (error) {
      log.warn({ err: error }, "gauges: Postgres did not answer");
      show(undefined, new Date());
    }
  });
  return {
    handedOut: jobs.handedOut,
    observe: ({ seconds: took, ...labels }) => seconds.observe(labels, took),
    scrape: async () => {
      await refresh();
      return { text: await registry.metrics(), contentType: registry.contentType };
    },
  };
}

/** Gauges over Postgres. What could not be read is absent, never an old number. */
function statsGauges(
  registry: Registry,
  jobs: JobMetrics,
): (stats: Stats | undefined, now: Date) => void {
  const gauge = <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Gauge({ name: `holdfast_${name}`, help, labelNames, registers: [registry] });

  const up = gauge("database_up", "1 when Postgres answered for these gauges");
  const open = gauge("operations_open", "Open operations", ["kind", "state"]);
  const ended = gauge("operations_ended_last_hour", "Operations ended within the last hour", [
    "kind",
    "state",
  ]);
  const toStart = gauge("operations_to_start", "Operations that are due and not started");
  const lag = gauge("relay_lag_seconds", "How long the oldest of them has waited");
  const depth = gauge("marks", "Marks in a queue", ["queue"]);
  const age = gauge("marks_oldest_due_seconds", "For how long the oldest due mark is due", [
    "queue",
  ]);
  const pending = gauge("deliveries_pending", "Webhook deliveries not made yet");
  const pendingAge = gauge(
    "deliveries_oldest_due_seconds",
    "For how long the oldest due one is due",
  );
  const indexMarks = gauge("index_marks", "Rows of marks that wait for search, up to 10,000", [
    "lane",
  ]);
  const indexAge = gauge("index_marks_oldest_seconds", "How long the oldest of them has waited", [
    "lane",
  ]);
  const indexFailing = gauge(
    "index_failing_seconds",
    "For how long a lane has failed; 0: it works",
    ["lane"],
  );
  const indexed = gauge("index_objects_applied", "Objects brought up to date for search", ["lane"]);
  const findings = gauge("findings_open", "Open findings of the doctor");
  const workers = gauge("workers_online", "Workers seen within 30 s");

  const visible = visibleAfter(registry);
  const inventory = inventoryMetrics(registry);

  return (stats, now) => {
    const labelled = [open, ended, depth, age, indexMarks, indexAge, indexFailing, indexed];
    for (const each of labelled) each.reset();
    for (const each of [toStart, lag, pending, pendingAge, findings, workers]) each.remove();
    visible.show(stats?.index);
    jobs.show(stats?.pipelines);
    inventory(stats?.inventory, now);
    up.set(stats ? 1 : 0);
    if (!stats) return;
    const secondsSince = (moment: Date | null) =>
      moment ? Math.max(0, (now.getTime() - moment.getTime()) / 1_000) : 0;
    for (const { n, ...labels } of stats.open) open.set(labels, n);
    for (const { n, ...labels } of stats.ended) ended.set(labels, n);
    toStart.set(stats.toStart.n);
    lag.set(secondsSince(stats.toStart.oldest));
    for (const { queue, ...mark } of stats.marks) {
      depth.set({ queue }, mark.depth);
      age.set({ queue }, secondsSince(mark.oldest));
    }
    pending.set(stats.deliveries.pending);
    pendingAge.set(secondsSince(stats.deliveries.oldest));
    for (const { lane, ...stood } of stats.index) {
      indexMarks.set({ lane }, stood.marks);
      indexAge.set({ lane }, secondsSince(stood.oldestMarkAt));
      indexFailing.set({ lane }, secondsSince(stood.failingSince));
      indexed.set({ lane }, stood.applied);
    }
    findings.set(stats.openFindings);
    workers.set(stats.workersOnline);
  };
}

/** Counted in Postgres by whoever applied the marks; shown here as the histogram it is. */
function visibleAfter(registry: Registry): { show(lanes: readonly LaneRow[] | undefined): void } {
  const name = "holdfast_index_visible_seconds";
  let lanes: readonly LaneRow[] | undefined;
  const metric = new Histogram({
    name,
    help: "Time from a write to the moment search finds it",
    buckets: [...WAITED_BOUNDS],
    registers: [registry],
  });
  const sample = (suffix: string, labels: object, value: number) => ({
    metricName: `${name}${suffix}`,
    labels,
    value,
    exemplar: null,
  });
  const get = () => {
    const all = lanes ?? [];
    let below = 0;
    const waited = waitedOf(all).map((n) => (below += n));
    const bounds = [...WAITED_BOUNDS, "+Inf"];
    const seconds = all.reduce((sum, { waitedSeconds }) => sum + waitedSeconds, 0);
    const values = [
      ...waited.map((n, bucket) => sample("_bucket", { le: bounds[bucket] }, n)),
      sample("_sum", {}, seconds),
      sample("_count", {}, below),
    ];
    const { help, type, aggregator } = metric as unknown as Described;
    return Promise.resolve({ name, help, type, aggregator, values: lanes ? values : [] });
  };
  // The registry asks by either name.
  Object.assign(metric, { get, getForPromString: get });
  return { show: (latest) => void (lanes = latest) };
}

interface Described {
  help: string;
  type: string;
  aggregator: string;
}

/** Callers within the time share one run. */
function atMostEvery(ms: number, work: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  let startedAt = -Infinity;
  return () => {
    if (!running || performance.now() - startedAt > ms) {
      startedAt = performance.now();
      running = work();
    }
    return running;
  };
}
