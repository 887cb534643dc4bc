import { Counter, Gauge, type Registry } from "prom-client";
import { jobCounters } from "../client/job-counters.ts";
import type { ClaimedBatch } from "../contracts/job.ts";
import type { PipelineStats } from "../db/job-stats.ts";

/** Jobs in numbers, by pipeline. */
export interface JobMetrics {
  /** Gauges over Postgres; undefined when it could not be read. */
  show(pipelines: readonly PipelineStats[] | undefined): void;
  /** Batches that this process handed out. */
  handedOut(batches: readonly ClaimedBatch[]): void;
}

/** Anybody who submits may name a pipeline: so many have series of their own, the rest share `other`. */
export const PIPELINES_SHOWN = 50;
const OTHER = "other";

export function jobMetrics(registry: Registry): JobMetrics {
  const label = namedOnce(PIPELINES_SHOWN);
  const gauge = (name: string, help: string) =>
    new Gauge({
      name: `holdfast_job_${name}`,
      help,
      labelNames: ["pipeline"],
      registers: [registry],
    });

  const ready = gauge("batches_ready", "Batches that may be claimed");
  const oldest = gauge("batches_oldest_seconds", "How long the oldest of them has waited");
  const leased = gauge("leases_held", "Batches that a worker holds");
  const workers = gauge("pull_workers_online", "Pull workers seen within 60 s");
  const expired = gauge("leases_expired", "Leases that ended without an answer, of recent jobs");
  const released = gauge("leases_released", "Leases that were given back, of recent jobs");
  const results = new Gauge({
    name: "holdfast_job_results",
    help: "Results of jobs that are open or ended within the last hour",
    labelNames: ["pipeline", "status"],
    registers: [registry],
  });
  const deliveries = new Counter({
    name: "holdfast_job_deliveries_total",
    help: "Batches this process handed out; again: not for the first time",
    labelNames: ["pipeline", "again"],
    registers: [registry],
  });

  countedBeside(
    registry,
    "log_writes_failed_total",
    "Writes of log lines of posts that this process lost; the results stand",
    () => jobCounters.logWritesFailed,
  );
  countedBeside(
    registry,
    "seen_writes_failed_total",
    "Writes of when pull workers were seen that this process lost",
    () => jobCounters.seenWritesFailed,
  );

  countedBeside(
    registry,
    "posts_of_nothing_total",
    "Posts to this process without a key that settled nothing; unless late results came, nothing is kept of them",
    () => jobCounters.postsOfNothing,
  );

  const show: JobMetrics["show"] = (pipelines) => {
    for (const each of [ready, oldest, leased, workers, expired, released, results]) each.reset();
    for (const stats of pipelines ?? []) {
      const pipeline = label(stats.pipeline);
      ready.inc({ pipeline }, stats.ready);
      leased.inc({ pipeline }, stats.leased);
      workers.inc({ pipeline }, stats.workersOnline);
      expired.inc({ pipeline }, stats.expired);
      released.inc({ pipeline }, stats.released);
      for (const status of ["accepted", "duplicate", "late"] as const) {
        results.inc({ pipeline, status }, stats[status]);
      }
    }
    for (const [pipeline, seconds] of oldestOf(pipelines ?? [], label)) {
      oldest.set({ pipeline }, seconds);
    }
  };
  const handedOut: JobMetrics["handedOut"] = (batches) => {
    for (const { pipeline, delivery } of batches) {
      deliveries.inc({ pipeline: label(pipeline), again: delivery > 1 ? "yes" : "no" });
    }
  };
  return { show, handedOut };
}

/** Shown as it stands when it is asked for. */
function countedBeside(registry: Registry, name: string, help: string, read: () => number): void {
  const counter = new Counter({
    name: `holdfast_job_${name}`,
    help,
    collect() {
      this.reset();
      this.inc(read());
    },
    registers: [],
  });
  registry.registerMetric(counter);
}

function oldestOf(
  pipelines: readonly PipelineStats[],
  label: (name: string) => string,
): Map<string, number> {
  const seconds = new Map<string, number>();
  for (const stats of pipelines) {
    const name = label(stats.pipeline);
    seconds.set(name, Math.max(seconds.get(name) ?? 0, stats.oldestSeconds));
  }
  return seconds;
}

/** The first `most` names keep theirs as long as the process lives. */
function namedOnce(most: number): (name: string) => string {
  const names = new Set<string>();
  return (name) => {
    if (!names.has(name) && names.size < most) names.add(name);
    return names.has(name) ? name : OTHER;
  };
}
