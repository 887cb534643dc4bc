import {
  JobFilter,
  LateResultsFilter,
  LogTextFilter,
  Pipeline,
  ResultsFilter,
  type JobResult,
  type JobView,
  type LateResult,
  type LogText,
  type PipelineView,
  type PullWorkerView,
} from "../contracts/job.ts";
import type { LogLine, Page } from "../contracts/operation.ts";
import { listResults } from "../db/job-results.ts";
import { listJobs, pullersOf } from "../db/job-views.ts";
import { listPullWorkers, listPullWorkersOf } from "../db/job-workers.ts";
import { pipelineDepths } from "../db/job-depth.ts";
import { listLateResults } from "../db/late-results.ts";
import { listLogs } from "../db/logs.ts";
import type { Context } from "./context.ts";
import { parseInput } from "./input.ts";
import { visibleJob } from "./job-find.ts";
import { isAble, viewJobs } from "./job-view.ts";

/** Reads of jobs, which change nothing and mark nobody. */

export async function getJob(context: Context, id: string): Promise<JobView> {
  return (await viewJobs(context.db, [await visibleJob(context, id)]))[0]!;
}

export async function listOfJobs(context: Context, filter: JobFilter): Promise<Page<JobView>> {
  const asked = parseInput(JobFilter, filter);
  const page = await listJobs(context.db, { ...asked, tenants: context.tenants });
  return { ...page, items: await viewJobs(context.db, page.items, { errors: false }) };
}

export async function resultsOf(
  context: Context,
  id: string,
  filter: ResultsFilter,
): Promise<Page<JobResult>> {
  const { after, ...asked } = parseInput(ResultsFilter, filter);
  const job = await visibleJob(context, id);
  return listResults(context.db, job.id, { ...asked, after: numberOf(after) });
}

/** Page after page; a result that comes for an item behind the last one seen is not given. */
export async function* eachResultOf(
  context: Context,
  id: string,
  {
    after,
    errors,
    signal,
  }: {
    after?: string | undefined;
    errors?: boolean | undefined;
    signal?: AbortSignal | undefined;
  },
): AsyncIterable<JobResult> {
  const asked = parseInput(ResultsFilter, { after, errors });
  const job = await visibleJob(context, id);
  for (let next = asked.after; ;) {
    signal?.throwIfAborted();
    const page = await listResults(context.db, job.id, {
      after: numberOf(next),
      limit: 1_000,
      errors: asked.errors,
    });
    yield* page.items;
    if (page.next === undefined) return;
    next = page.next;
  }
}

// Item numbers are 32 bits wide, and a number past the last one is an empty page.
function numberOf(cursor: string | undefined): number | undefined {
  return cursor === undefined ? undefined : Math.min(Number(cursor), 2 ** 31 - 1);
}

export async function lateResultsOf(
  context: Context,
  id: string,
  filter: LateResultsFilter,
): Promise<Page<LateResult>> {
  const { after, limit } = parseInput(LateResultsFilter, filter);
  const job = await visibleJob(context, id);
  const [item = 0, generation = 0, lease = 0] = after?.split(".").map(Number) ?? [];
  return listLateResults(context.db, job.id, { after: { item, generation, lease }, limit });
}

/** The log in the form of two texts, newest first. */
export async function logTextOf(
  context: Context,
  id: string,
  filter: LogTextFilter,
): Promise<LogText> {
  const { limit } = parseInput(LogTextFilter, filter);
  const job = await visibleJob(context, id);
  const { items } = await listLogs(context.db, job.id, { newest: true, limit });
  const newestFirst = items.toReversed();
  return {
    stdout: newestFirst.map(lineOf).join("\n"),
    stderr: newestFirst
      .filter(({ level }) => level === "error")
      .map(({ message }) => message)
      .join("\n"),
  };
}

const LEVELS = { debug: "DEBUG", info: "INFO", warn: "WARNING", error: "ERROR" } as const;

function lineOf({ at, level, message }: LogLine): string {
  return `[${at.slice(0, 19).replace("T", " ")}] ${LEVELS[level]} ${message}`;
}

export async function pullWorkers(
  context: Context,
  filter: { pipeline?: string | undefined },
): Promise<PullWorkerView[]> {
  const pipeline = parseInput(Pipeline.optional(), filter.pipeline, "pipeline");
  const { db, tenants, key } = context;
  const rows = tenants
    ? await listPullWorkersOf(db, tenants, { pipeline, key })
    : await listPullWorkers(db, { pipeline });
  return rows.map((row) => ({
    key: row.key,
    worker: row.worker,
    tenants: row.tenants,
    pipelines: row.pipelines,
    online: row.online,
    held: row.held,
    firstSeenAt: row.first_seen_at.toISOString(),
    seenAt: row.seen_at.toISOString(),
  }));
}

export async function pipelinesOf(context: Context): Promise<PipelineView[]> {
  const depths = await pipelineDepths(context.db, context.tenants);
  const names = [...new Set(depths.map((depth) => depth.pipeline))];
  const pullers = names.length === 0 ? [] : await pullersOf(context.db, names);
  return depths.map(({ oldest_seconds: oldestSeconds, ...depth }) => ({
    ...depth,
    oldestSeconds,
    workersOnline: pullers.filter((puller) => puller.online && isAble(puller, depth)).length,
  }));
}
