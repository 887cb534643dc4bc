import { randomBytes } from "node:crypto";
import type { Contention } from "../client/contention.ts";
import { HoldfastError, InvalidInput } from "../contracts/errors.ts";
import type { ClaimedBatch, PostAnswer } from "../contracts/job.ts";
import { Ended, EXIT } from "./failure.ts";
import { asker, type Ask, type Asked } from "./job-load-http.ts";

export interface LoadPlan {
  job: string;
  host: URL;
  /** Results of one post. */
  batch: number;
  concurrency: number;
  rounds: number;
  timeoutMs: number;
  /** Percent of all posts. */
  minSuccess: number;
  token: string | undefined;
  /** Where sessions are looked at meanwhile; absent: they are not. */
  databaseUrl: string | undefined;
}

interface Round {
  ok: number;
  total: number;
  /** Of all posts of the round, those that failed included. */
  p50Ms: number;
  p95Ms: number;
  elapsedMs: number;
}

export interface LoadReport {
  job: string;
  host: string;
  batch: number;
  concurrency: number;
  /** How p50 and p95 are taken. */
  percentiles: "nearest rank";
  rounds: Round[];
  ok: number;
  total: number;
  successPercent: number;
  minSuccess: number;
  /** The first kinds, in order of their first time. */
  errors: { reason: string; times: number }[];
  /** Errors of further kinds. */
  moreErrors: number;
  /** Null when no database was given to look at. */
  contention: Contention | null;
}

const SHOWN_KINDS = 5;

/**
 * Claims what the posts need, posts round by round, and gives back what is left. A post is a success
 * when the server answers that every result of it was accepted. A Ctrl-C ends it after its round.
 * @throws InvalidInput when the job has not enough open items, or the server cannot be asked
 */
export async function runLoad(plan: LoadPlan): Promise<LoadReport> {
  const stop = new AbortController();
  const onSignal = () => stop.abort();
  process.once("SIGINT", onSignal).once("SIGTERM", onSignal);
  try {
    return await load(plan, stop.signal);
  } finally {
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
  }
}

async function load(plan: LoadPlan, stop: AbortSignal): Promise<LoadReport> {
  const ask = asker(plan);
  const watching = plan.databaseUrl === undefined ? undefined : await watch(plan.databaseUrl);
  const errors = new Map<string, number>();
  const rounds: Round[] = [];
  try {
    const items = await claimItems(ask, plan, stop);
    try {
      for (let no = 0; no < plan.rounds && !stop.aborted; no++) {
        const posts = Array.from({ length: plan.concurrency }, () => items.take(plan.batch));
        rounds.push(await oneRound(ask, plan, posts, errors));
      }
    } finally {
      await items.release();
    }
  } catch (error) {
    await watching?.stop();
    throw error;
  }
  const contention = (await watching?.stop()) ?? null;
  const ok = sum(rounds.map((round) => round.ok));
  // Posts that were not made because somebody ended this are no successes.
  const total = plan.rounds * plan.concurrency;
  const kinds = [...errors].map(([reason, times]) => ({ reason, times }));
  return {
    job: plan.job,
    host: plan.host.origin,
    batch: plan.batch,
    concurrency: plan.concurrency,
    percentiles: "nearest rank",
    rounds,
    ok,
    total,
    successPercent: (100 * ok) / total,
    minSuccess: plan.minSuccess,
    errors: kinds.slice(0, SHOWN_KINDS),
    moreErrors: sum(kinds.slice(SHOWN_KINDS).map(({ times }) => times)),
    contention,
  };
}

async function watch(databaseUrl: string) {
  const { watchContention } = await import("../client/contention.ts");
  return watchContention(databaseUrl);
}

interface Item {
  handle: string;
  item: number;
}

async function oneRound(
  ask: Ask,
  plan: LoadPlan,
  posts: readonly Item[][],
  errors: Map<string, number>,
): Promise<Round> {
  const begun = performance.now();
  const made = await Promise.all(
    posts.map(async (items) => {
      const from = performance.now();
      const reason = refusalOf(
        await ask(`/v1/jobs/${plan.job}/results`, bodyOf(items)),
        items.length,
      );
      return { ms: performance.now() - from, reason };
    }),
  );
  for (const { reason } of made) {
    if (reason !== undefined) errors.set(reason, (errors.get(reason) ?? 0) + 1);
  }
  const times = made.map(({ ms }) => ms).toSorted((a, b) => a - b);
  return {
    ok: made.filter(({ reason }) => reason === undefined).length,
    total: made.length,
    p50Ms: nearestRank(times, 50),
    p95Ms: nearestRank(times, 95),
    elapsedMs: performance.now() - begun,
  };
}

const bodyOf = (items: readonly Item[]) => ({
  results: items.map((item) => ({ ...item, result: { loadtest: true } })),
});

function refusalOf(asked: Asked<PostAnswer>, results: number): string | undefined {
  if (!asked.ok) return asked.reason;
  const { accepted, duplicate, late, unknown } = asked.answer;
  if (accepted === results) return undefined;
  const told = Object.entries({ duplicate, late, unknown }).filter(([, n]) => n > 0);
  return `not all results accepted: ${told.map(([name]) => name).join(", ")}`;
}

/** The value at rank ceil(p/100 * n): one that was seen. `sorted` ascending, not empty. */
export function nearestRank(sorted: readonly number[], percent: number): number {
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)]!;
}

interface Items {
  take(n: number): Item[];
  release(): Promise<void>;
}

/** Claims in a row that find nothing, and that find batches of other jobs, before this gives up. */
const EMPTY_CLAIMS = 3;
const FOREIGN_CLAIMS = 200;
const CLAIM_LIMIT = 100;
const OPENED_WITHIN_SECONDS = 10;

/** Leases over as many open items of the job as all posts need; each worker may hold a few batches. */
async function claimItems(ask: Ask, plan: LoadPlan, stop: AbortSignal): Promise<Items> {
  const needed = plan.batch * plan.concurrency * plan.rounds;
  const { pipeline } = must(await ask<{ pipeline: string }>(`/v1/jobs/${plan.job}`));
  const name = `loadtest-${randomBytes(4).toString("hex")}`;
  const held = new Set<string>();
  const items: Item[] = [];
  const release = async () => {
    const handles = [...held];
    held.clear();
    for (let at = 0; at < handles.length; at += CLAIM_LIMIT) {
      await ask("/v1/jobs/release", { handles: handles.slice(at, at + CLAIM_LIMIT) });
    }
  };
  try {
    let [empty, foreign] = [0, 0];
    for (let worker = 0; items.length < needed && !stop.aborted; worker++) {
      if (empty === EMPTY_CLAIMS || foreign === FOREIGN_CLAIMS) break;
      const request = {
        pipelines: [pipeline],
        worker: `${name}-${worker}`,
        limit: CLAIM_LIMIT,
        // A job that was submitted just now is opened soon.
        waitSeconds: worker === 0 ? Math.min(OPENED_WITHIN_SECONDS, plan.timeoutMs / 2_000) : 0,
      };
      const { batches } = must(await ask<{ batches: ClaimedBatch[] }>("/v1/jobs/claim", request));
      const ours = batches.filter((batch) => batch.job === plan.job);
      const others = batches.filter((batch) => batch.job !== plan.job);
      if (others.length > 0) {
        await ask("/v1/jobs/release", { handles: others.map(({ handle }) => handle) });
      }
      empty = batches.length > 0 ? 0 : empty + 1;
      foreign = ours.length > 0 || batches.length === 0 ? 0 : foreign + 1;
      for (const batch of ours) {
        held.add(batch.handle);
        for (const { item } of batch.items) items.push({ handle: batch.handle, item });
      }
    }
    if (stop.aborted) throw new Ended(EXIT.interrupted);
    if (items.length < needed) {
      const asked = `${plan.rounds} rounds of ${plan.concurrency} posts with ${plan.batch} results`;
      const message = `only ${items.length} of its items can be claimed now, ${asked} need ${needed}: submit a job with as many, or ask for less`;
      throw new InvalidInput([{ path: "--job", message }]);
    }
  } catch (error) {
    await release();
    throw error;
  }
  let taken = 0;
  return {
    take: (n) => items.slice(taken, (taken += n)),
    release,
  };
}

function must<Answer>(asked: Asked<Answer>): Answer {
  if (asked.ok) return asked.answer;
  const message = `${asked.reason}: nothing was posted`;
  // A call that is wrong, or a server that is away: they end with other exit codes.
  if (asked.refused) throw new InvalidInput([{ path: "--host", message }]);
  throw new HoldfastError("unavailable", 503, message);
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, n) => total + n, 0);
