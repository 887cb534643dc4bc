import { LRUCache } from "lru-cache";
import type { Holdup, JobView } from "../contracts/job.ts";
import { OUTCOMES, type Outcome } from "../contracts/operation.ts";
import { listBrakes, type BrakeRow } from "../db/brakes.ts";
import {
  pullersOf,
  summarizeErrors,
  type JobOperationRow,
  type PullerRow,
} from "../db/job-views.ts";
import { MOST_COUNTED, readStalls, type JobStanding } from "../db/job-stall.ts";
import { JOB_STAGE, LEASES_STAGE, SUMS_STAGE } from "../db/job-stages.ts";
import type { Queryable } from "../db/pool.ts";
import { readProgress, type Delta } from "../db/progress.ts";
import { onlineWorkers } from "../db/workers.ts";
import { etaSeconds, jobProgress, throughputOf, type JobErrors, type Pace } from "../domain/job.ts";
import { holdupOf } from "../domain/job-stall.ts";
import { shownState } from "../domain/shown-state.ts";
import { holds } from "./operation-view.ts";

/** Batches of one job that are counted for a list. */
const COUNTED_IN_LIST = 100;

interface Facts {
  counts: Partial<Record<Outcome, number>>;
  sums: Record<string, number>;
  leases: Record<string, number>;
}

/**
 * Rows as the outside sees them: a fixed number of statements, however many jobs, and none about logs.
 * `errors`: of one job alone, its messages too.
 */
export async function viewJobs(
  db: Queryable,
  rows: readonly JobOperationRow[],
  { errors: withErrors = true } = {},
): Promise<JobView[]> {
  if (rows.length === 0) return [];
  const ids = rows.map((row) => row.id);
  const most = withErrors ? MOST_COUNTED : COUNTED_IN_LIST;
  const [progress, pullers, open] = await Promise.all([
    readProgress(db, ids),
    pullersOf(db, [...new Set(rows.map((row) => row.pipeline))]),
    lookAtOpen(db, rows, most),
  ]);
  const errors = withErrors ? await errorsOf(db, rows[0]!, progress.get(ids[0]!)) : [];
  return rows.map((row) => {
    const standing = open.standings.get(row.id);
    const online = pullers.filter((puller) => puller.online && isAble(puller, row)).length;
    const holdup = holdupIn(standing);
    const alone =
      row.state === "accepted" ? open.starters === 0 : holdup?.kind === "no workers online";
    const shown = shownState({
      state: row.state,
      cancelRequested: row.cancel_requested_at !== null,
      paused: row.paused_at !== null,
      braked: open.brakes.some((brake) => holds(brake, row)),
      notBefore: row.state === "accepted" ? row.start_after : null,
      workersOnline: alone ? 0 : 1,
      now: new Date(),
    });
    return viewOf(row, {
      shown,
      facts: factsOf(progress.get(row.id) ?? []),
      batches: batchesOf(row, standing, most),
      pace: paceOf(row, standing),
      workersOnline: online,
      holdup,
      errors,
    });
  });
}

interface Open {
  standings: Map<string, JobStanding>;
  brakes: BrakeRow[];
  /** Workers of ours, which start what is accepted. */
  starters: number;
}

// What has ended needs none of it.
async function lookAtOpen(
  db: Queryable,
  rows: readonly JobOperationRow[],
  most: number,
): Promise<Open> {
  const ids = rows.filter((row) => row.finished_at === null).map((row) => row.id);
  if (ids.length === 0) return { standings: new Map(), brakes: [], starters: 0 };
  const [standings, brakes, online] = await Promise.all([
    readStalls(db, ids, most),
    listBrakes(db),
    onlineWorkers(db),
  ]);
  return { standings, brakes, starters: online.length };
}

/**
 * Batches by what is with them. Where more are ready than are counted, as many as the open items that
 * nobody holds fill. Done: the others it was cut into, once it is handed out.
 */
function batchesOf(
  row: JobOperationRow,
  standing: JobStanding | undefined,
  most: number,
): JobView["batches"] {
  if (row.finished_at !== null) return { ready: 0, leased: 0, done: row.batches };
  if (!standing || row.open_generation !== row.generation) return { ready: 0, leased: 0, done: 0 };
  const { leased, open } = standing;
  const filled = Math.ceil(open / row.batch_size) - leased;
  const ready = standing.ready < most ? standing.ready : Math.max(most, filled);
  return { ready, leased, done: Math.max(0, row.batches - ready - leased) };
}

/** Whether a worker takes work of this pipeline and tenant. */
export function isAble(
  puller: PullerRow,
  row: Pick<JobOperationRow, "pipeline" | "tenant">,
): boolean {
  if (!puller.pipelines.includes(row.pipeline)) return false;
  return puller.tenants === null || puller.tenants.includes(row.tenant);
}

function isCollecting(row: JobOperationRow): boolean {
  return row.collector !== null && row.collected_at === null;
}

function factsOf(deltas: readonly Delta[]): Facts {
  const facts: Facts = { counts: {}, sums: {}, leases: {} };
  for (const { stage, outcome, n } of deltas) {
    if (stage === JOB_STAGE) facts.counts[outcome as Outcome] = n;
    else if (stage === SUMS_STAGE) facts.sums[outcome] = n;
    else if (stage === LEASES_STAGE) facts.leases[outcome] = n;
  }
  return facts;
}

function holdupIn(facts: JobStanding | undefined): Holdup | null {
  const holdup = facts && holdupOf(facts, facts.now.getTime());
  return holdup ? { kind: holdup.kind, text: holdup.text } : null;
}

// Of what has ended, over all of its time; a generation after the first counts no items of its own.
function paceOf(row: JobOperationRow, standing: JobStanding | undefined): Pace {
  if (standing && row.state === "running") {
    const { settled, settledSince, now } = standing;
    return { settled, fromMs: settledSince?.getTime() ?? now.getTime(), toMs: now.getTime() };
  }
  const { started_at: from, finished_at: to } = row;
  if (!from || !to || row.generation > 1) return { settled: 0, fromMs: 0, toMs: 0 };
  const settled = Object.entries(row.result ?? {})
    .filter(([outcome]) => outcome !== "cancelled")
    .reduce((sum, [, n]) => sum + Number(n), 0);
  return { settled, fromMs: from.getTime(), toMs: to.getTime() };
}

/** By job, generation and number of errors: they are read again only when there are others. */
const knownErrors = new LRUCache<string, JobErrors[]>({ max: 200 });

async function errorsOf(
  db: Queryable,
  row: JobOperationRow,
  deltas: readonly Delta[] = [],
): Promise<readonly JobErrors[]> {
  const { failed = 0, lost = 0 } = factsOf(deltas).counts;
  if (failed + lost === 0) return [];
  const name = `${row.id}/${row.generation}/${failed}/${lost}`;
  const known = knownErrors.get(name);
  if (known) return known;
  const errors = await summarizeErrors(db, row.id, row.generation);
  knownErrors.set(name, errors);
  return errors;
}

function viewOf(
  row: JobOperationRow,
  seen: {
    shown: JobView["shown"];
    facts: Facts;
    batches: JobView["batches"];
    pace: Pace;
    workersOnline: number;
    holdup: Holdup | null;
    errors: readonly JobErrors[];
  },
): JobView {
  const { facts, batches, pace } = seen;
  const collecting = isCollecting(row);
  const settled = Object.values(facts.counts).reduce((sum, n) => sum + n, 0);
  return {
    id: row.id,
    tenant: row.tenant,
    pipeline: row.pipeline,
    key: row.key,
    state: row.state,
    shown: seen.shown,
    outcome: outcomeOf(row, seen.shown),
    generation: row.generation,
    total: row.total,
    counts: Object.fromEntries(
      OUTCOMES.flatMap((outcome) =>
        facts.counts[outcome] ? [[outcome, facts.counts[outcome]]] : [],
      ),
    ),
    progress: jobProgress({
      state: row.state,
      total: row.total,
      counts: facts.counts,
      sums: facts.sums,
      collecting:
        row.collector === null ? undefined : { collected: row.collected, done: !collecting },
      errors: seen.errors,
    }),
    throughput: throughputOf(pace),
    eta:
      row.finished_at !== null ? 0 : collecting ? "unknown" : etaSeconds(row.total - settled, pace),
    batches,
    leases: {
      deliveries: facts.leases["deliveries"] ?? 0,
      redeliveries: facts.leases["redeliveries"] ?? 0,
      expiries: facts.leases["expiries"] ?? 0,
      releases: facts.leases["releases"] ?? 0,
      duplicates: facts.leases["duplicates"] ?? 0,
      late: facts.leases["late"] ?? 0,
    },
    workersOnline: seen.workersOnline,
    holdup: seen.holdup,
    reason: row.reason,
    acceptedAt: row.accepted_at.toISOString(),
    startedAt: row.started_at?.toISOString() ?? null,
    finishedAt: row.finished_at?.toISOString() ?? null,
  };
}

function outcomeOf(row: JobOperationRow, shown: JobView["shown"]): string {
  if (row.finished_at === null) return shown;
  if (row.reason === null) return row.state;
  return row.reason.startsWith(row.state) ? row.reason : `${row.state}: ${row.reason}`;
}
