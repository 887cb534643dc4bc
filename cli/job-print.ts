import type { JobView, PipelineView, PullWorkerView } from "../contracts/job.ts";
import { moment, printFields, printTable, say, text, type Cell } from "./output.ts";

/** How jobs and who works them look as text. */

interface Look<T> {
  head: string[];
  row: (item: T) => Cell[];
  none: string;
}

export const JOBS: Look<JobView> = {
  head: ["ID", "PIPELINE", "STATE", "DONE", "FAILED", "SPEED", "TENANT", "ACCEPTED", "OUTCOME"],
  row: (view) => [
    view.id,
    view.pipeline,
    view.shown,
    `${doneOf(view)}/${view.total}`,
    (view.counts.failed ?? 0) + (view.counts.lost ?? 0),
    view.finishedAt === null && view.throughput !== "unknown" ? perMinute(view.throughput) : "",
    view.tenant,
    moment(view.acceptedAt),
    view.finishedAt === null ? view.holdup?.text : view.outcome,
  ],
  none: 'no job found: "holdfast job submit" makes one',
};

export const WORKERS: Look<PullWorkerView> = {
  head: ["WORKER", "ONLINE", "HOLDS", "SEEN", "KEY", "PIPELINES"],
  row: (worker) => [
    worker.worker,
    worker.online ? "yes" : "no",
    worker.held,
    moment(worker.seenAt),
    worker.key ?? "-",
    worker.pipelines.join(", "),
  ],
  none: "no worker has asked for work yet: see docs/pull-workers.md",
};

export const PIPELINES: Look<PipelineView> = {
  head: ["PIPELINE", "TENANT", "JOBS", "READY", "OLDEST", "WORKERS ONLINE"],
  row: (one) => [
    one.pipeline,
    one.tenant,
    one.jobs,
    one.ready,
    one.ready > 0 ? duration(one.oldestSeconds) : "",
    one.workersOnline,
  ],
  none: "no pipeline has work",
};

/** Items that have an outcome. */
export function doneOf({ counts }: JobView): number {
  return Object.values(counts).reduce((sum, n) => sum + n, 0);
}

/** `1200/min, 40 s left, 3 workers online`; `unknown` where nothing is known yet. */
export function speedOf(view: JobView): string {
  const { throughput, eta, workersOnline: n } = view;
  const speed = throughput === "unknown" ? "speed unknown" : perMinute(throughput);
  const left = eta === "unknown" ? "end unknown" : `${duration(eta)} left`;
  return `${speed}, ${left}, ${n} ${n === 1 ? "worker" : "workers"} online`;
}

function perMinute(throughput: number): string {
  return `${throughput < 10 ? Math.round(throughput * 10) / 10 : Math.round(throughput)}/min`;
}

/** `45 s`, `12 min`, `3 h 5 min`. */
function duration(seconds: number): string {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h${minutes % 60 > 0 ? ` ${minutes % 60} min` : ""}`;
}

export async function printJob(view: JobView): Promise<void> {
  const ended = view.finishedAt !== null;
  const { leases, batches, throughput, eta } = view;
  printFields({
    id: view.id,
    pipeline: view.pipeline,
    state: view.shown === view.state ? view.state : `${view.shown} (stored: ${view.state})`,
    outcome: ended ? view.outcome : undefined,
    "held up": view.holdup?.text,
    reason: view.reason,
    tenant: view.tenant,
    key: view.key,
    generation: view.generation,
    items: `${doneOf(view)} of ${view.total}${countsOf(view.counts)}`,
    throughput: throughput === "unknown" ? throughput : perMinute(throughput),
    eta: ended ? undefined : eta === "unknown" ? eta : duration(eta),
    "workers online": ended ? undefined : view.workersOnline,
    batches: `${batches.ready} ready, ${batches.leased} leased, ${batches.done} done`,
    leases: countsIn(leases),
    accepted: moment(view.acceptedAt),
    started: view.startedAt && moment(view.startedAt),
    finished: view.finishedAt && moment(view.finishedAt),
  });
  say();
  await printTable(
    ["STAGE", "STATE", "PROGRESS", "COUNTS"],
    view.progress.stages.map((stage) => [
      stage.name,
      stage.status,
      `${Math.floor(stage.progress * 100)}%`,
      stage.params
        .filter(({ value }) => value !== "")
        .map(({ name, value }) => `${name.toLowerCase()} ${value}`)
        .join(", "),
    ]),
  );
  for (const line of view.progress.errors) say(text(line));
  if (!ended) return;
  say();
  say(`what came of it   holdfast job results ${view.id}`);
  if ((view.counts.failed ?? 0) + (view.counts.lost ?? 0) + (view.counts.cancelled ?? 0) > 0) {
    say(`run it again      holdfast job retry ${view.id}`);
  }
}

function countsOf(counts: JobView["counts"]): string {
  const said = Object.entries(counts).filter(([, n]) => n > 0);
  return said.length > 0 ? ` (${said.map(([name, n]) => `${n} ${name}`).join(", ")})` : "";
}

function countsIn({ deliveries, ...rest }: JobView["leases"]): string {
  const trouble = Object.entries(rest).filter(([, n]) => n > 0);
  return [`deliveries ${deliveries}`, ...trouble.map(([name, n]) => `${name} ${n}`)].join(", ");
}
