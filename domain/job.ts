import type { JobProgress, JobStage } from "../contracts/job.ts";
import type { State } from "../contracts/operation.ts";
import { verdictOf, type CauseCount, type OutcomeCounts, type Verdict } from "./verdict.ts";

/** What is decided about jobs: their end, whose turn it is, how far they are. */

/** Ids named in one message of `errors`. */
const NAMED_ITEMS = 10;
const MAX_ERRORS = 20;

/**
 * The end of a job: `cancelled` when items were; `failed` when more than `maxFailedShare` of all items
 * failed or were lost (exactly that share is no failure); else `completed`, with its errors named.
 */
export function jobVerdict(
  counts: OutcomeCounts,
  maxFailedShare: number,
  cancelRequested: boolean,
  causes: readonly CauseCount[] = [],
): Verdict {
  const total = sum(counts);
  const { failed = 0, lost = 0, cancelled = 0 } = counts;
  if (cancelled > 0 || total === 0) {
    return verdictOf(
      { ...counts, failed: 0, lost: 0, succeeded: total - cancelled },
      cancelRequested,
    );
  }
  if ((failed + lost) / total > maxFailedShare) return verdictOf(counts, cancelRequested, causes);
  const errors = failed + lost;
  if (errors === 0) return { state: "completed" };
  return { state: "completed", reason: `completed with ${errors} error${errors === 1 ? "" : "s"}` };
}

function sum(counts: OutcomeCounts): number {
  return Object.values(counts).reduce((total, n) => total + n, 0);
}

/** Weight and priority (1, first, to 5) as the one number that turns go by; at least 1. */
export function turnWeight(weight: number, priority: number): number {
  return weight * 2 ** (5 - priority);
}

/** A job in turn with others of its pipeline. */
export interface JobTurn {
  id: string;
  weight: number;
  /** What it has been served, divided by its weight. */
  served: number;
  /** `served` as it was when it was served last. */
  started: number;
}

/** The time of a pipeline: where a job begins that comes to it. */
export function pipelineTime(turns: readonly JobTurn[]): number {
  return turns.reduce((time, turn) => Math.max(time, turn.started), 0);
}

/** Of the jobs that have something ready, the one that was served least. */
export function nextTurn(
  turns: readonly JobTurn[],
  isReady: (turn: JobTurn) => boolean,
): JobTurn | undefined {
  let next: JobTurn | undefined;
  for (const turn of turns) {
    if (isReady(turn) && (!next || turn.served < next.served)) next = turn;
  }
  return next;
}

/**
 * A job after one batch of it was handed out. One that was away (paused, or nothing ready) is brought
 * up to one turn behind its pipeline: it does not get what it missed.
 */
export function afterTurn(turn: JobTurn, time: number): JobTurn {
  const started = Math.max(turn.served, time - 1);
  return { ...turn, started, served: started + 1 / turn.weight };
}

/** Jain's index of fairness: 1 when all shares are equal, 1/n when one has all. */
export function fairnessOf(shares: readonly number[]): number {
  const total = shares.reduce((sum, share) => sum + share, 0);
  const squares = shares.reduce((sum, share) => sum + share * share, 0);
  return squares === 0 ? 1 : (total * total) / (shares.length * squares);
}

/** Items settled between two moments, in milliseconds since the epoch. */
export interface Pace {
  settled: number;
  fromMs: number;
  toMs: number;
}

/** Items a minute; unknown before an item was settled. */
export function throughputOf(pace: Pace): number | "unknown" {
  const minutes = (pace.toMs - pace.fromMs) / 60_000;
  if (pace.settled <= 0 || minutes <= 0) return "unknown";
  const perMinute = pace.settled / minutes;
  return perMinute >= 10 ? Math.round(perMinute) : Math.round(perMinute * 100) / 100;
}

/** Whole seconds until what remains is settled at this pace; unknown while the pace is. */
export function etaSeconds(remaining: number, pace: Pace): number | "unknown" {
  if (remaining <= 0) return 0;
  if (pace.settled <= 0 || pace.toMs <= pace.fromMs) return "unknown";
  return Math.ceil((remaining * (pace.toMs - pace.fromMs)) / pace.settled / 1_000);
}

export interface JobErrors {
  reason: string;
  /** How many items, and the first of them by their keys or numbers. */
  count: number;
  items: readonly string[];
}

/** One line a reason, at most ten items named in each and twenty lines in all. */
export function errorLines(errors: readonly JobErrors[]): string[] {
  const lines = errors.slice(0, MAX_ERRORS).map(({ reason, count, items }) => {
    const named = items.slice(0, NAMED_ITEMS);
    const more = count - named.length;
    const which = named.length === 0 ? `${count} items` : named.join(", ");
    return `${reason}: ${which}${more > 0 && named.length > 0 ? ` and ${more} more` : ""}`;
  });
  const rest = errors.length - lines.length;
  return rest > 0 ? [...lines, `and ${rest} more reasons`] : lines;
}

export interface JobFacts {
  state: State;
  total: number;
  counts: OutcomeCounts;
  /** Sums of what results counted, by name. */
  sums: Readonly<Record<string, number>>;
  /** Undefined: its items came with it. */
  collecting?: { collected: number; done: boolean } | undefined;
  errors: readonly JobErrors[];
}

/** How far a job is, in the shape that readers know. Everything follows from counts of the ledger. */
export function jobProgress(facts: JobFacts): JobProgress {
  const { state, total, counts } = facts;
  const processed = Math.min(total, sum(counts));
  const collected = facts.collecting === undefined || facts.collecting.done;
  const ended = state === "completed" || state === "failed" || state === "cancelled";
  const share = total === 0 ? (ended ? 1 : 0) : processed / total;
  const worked = collected ? share : 0;
  const atWork = state === "running" && !collected ? "accepted" : state;
  const stages: JobStage[] = [
    {
      key: "collect",
      name: "Collect",
      status: collected && state !== "accepted" ? "completed" : state,
      progress: collected ? 1 : 0,
      params: [param("Total items", "total", collected ? total : facts.collecting!.collected)],
    },
    {
      key: "process",
      name: "Process",
      status: atWork,
      progress: worked,
      params: [
        param("Processed", "processed", processed),
        param("Remaining", "remaining", collected ? total - processed : ""),
        param("Succeeded", "succeeded", counts.succeeded ?? 0),
        param("Failed", "failed", counts.failed ?? 0),
        param("Lost", "lost", counts.lost ?? 0),
        param("Cancelled", "cancelled", counts.cancelled ?? 0),
      ],
    },
    {
      key: "results",
      name: "Results",
      status: atWork,
      progress: worked,
      params: Object.entries(facts.sums).map(([key, value]) => param(nameOf(key), key, value)),
    },
  ];
  const mean = stages.reduce((progress, stage) => progress + stage.progress, 0) / stages.length;
  return {
    summary: { status: state, progress: mean, status_label: labelOf(state, mean) },
    stages,
    errors: errorLines(facts.errors),
    logs: [],
  };
}

function param(name: string, key: string, value: number | "") {
  return { name, key, category: "stage", value };
}

function nameOf(key: string): string {
  return key.charAt(0).toUpperCase() + key.slice(1).replaceAll("_", " ");
}

function labelOf(state: State, progress: number): string {
  if (state === "accepted") return "Waiting to start";
  if (state === "failed" || state === "cancelled") return state;
  return `${Math.floor(progress * 100)}% complete`;
}
