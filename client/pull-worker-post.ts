import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { HoldfastError } from "../contracts/errors.ts";
import { JOB_LIMITS, type PostedResult } from "../contracts/job.ts";
import { kept } from "../contracts/text.ts";
import { backoffMs, classify } from "../domain/faults.ts";
import type { PullJobs } from "./jobs-over-http.ts";

/** Items by what came of them. */
export interface Tally {
  /** Counted, of which `failed` as errors. */
  accepted: number;
  failed: number;
  duplicate: number;
  late: number;
  unknown: number;
  dropped: number;
}

export interface Posting {
  tally: Tally;
  /** From here on, each is tried once more and no longer. */
  give: AbortSignal;
  tell(error: unknown, what: string): void;
}

/** Bytes of results in one post, about. */
const POST_BYTES = 4 * 1024 * 1024;
/** Times that a server which is there may fail at a post before it is given up. */
const MOST_FAULTS = 10;
const BASE_MS = 250;
const CAP_MS = 30_000;

/** Posts results in as few requests as may be; ends when each was answered, or given up and told. */
export async function postAll(
  jobs: Pick<PullJobs, "post">,
  job: string,
  results: readonly PostedResult[],
  posting: Posting,
): Promise<void> {
  for (const some of cut(results)) await postOnce(jobs, job, some, posting);
}

// The key makes one post of all tries, whichever of them was written.
async function postOnce(
  jobs: Pick<PullJobs, "post">,
  job: string,
  results: PostedResult[],
  { tally, give, tell }: Posting,
): Promise<void> {
  const key = randomUUID();
  for (let tries = 1, faults = 0; ; tries++) {
    const last = give.aborted;
    try {
      const answer = await jobs.post(job, { results, key });
      answer.results.forEach(({ status }, at) => {
        tally[status]++;
        if (status === "accepted" && results[at]?.error !== undefined) tally.failed++;
      });
      return;
    } catch (error) {
      tell(error, `posting ${results.length} results of job ${job}`);
      const others = afterRefusal(results, error);
      if (others) {
        for (const some of others) await postOnce(jobs, job, some, { tally, give, tell });
        return;
      }
      if (!isAway(error)) faults++;
      if (last || isRefused(error) || faults === MOST_FAULTS) {
        tally.dropped += results.length;
        tell(error, `dropping ${results.length} results of job ${job}, which were never taken`);
        return;
      }
      const waitMs = backoffMs(tries, { baseMs: BASE_MS, capMs: CAP_MS, jitter: Math.random() });
      const atLeast = Math.max(waitMs, retryAfterMs(error));
      await pause(atLeast, undefined, { signal: give }).catch(() => undefined);
    }
  }
}

// What is wrong with one result is no reason to lose the others: they go by halves, and the one that is
// refused alone ends as its item's error.
function afterRefusal(
  results: readonly PostedResult[],
  error: unknown,
): PostedResult[][] | undefined {
  if (!(error instanceof HoldfastError) || !WRONG_IN_ITSELF.has(error.status)) return undefined;
  const [only, ...more] = results;
  if (more.length > 0) {
    const middle = Math.ceil(results.length / 2);
    return [results.slice(0, middle), results.slice(middle)];
  }
  if (!only || only.error !== undefined) return undefined;
  const why = `its result was refused: ${error.message}`;
  return [[{ handle: only.handle, item: only.item, error: kept(why, MOST_SAID) }]];
}

/** Code points of a refusal that become the error of an item. */
const MOST_SAID = 500;
const WRONG_IN_ITSELF = new Set([400, 413]);

function* cut(results: readonly PostedResult[]): Iterable<PostedResult[]> {
  let some: PostedResult[] = [];
  let bytes = 0;
  for (const result of results) {
    const size = Buffer.byteLength(JSON.stringify(result));
    if (some.length === JOB_LIMITS.results || (some.length > 0 && bytes + size > POST_BYTES)) {
      yield some;
      some = [];
      bytes = 0;
    }
    some.push(result);
    bytes += size;
  }
  if (some.length > 0) yield some;
}

/** Statuses that mean: the same, later. */
const LATER = new Set([408, 425, 429]);

function isRefused(error: unknown): boolean {
  if (!(error instanceof HoldfastError)) return false;
  return error.status < 500 && !LATER.has(error.status);
}

// The server, its database, or what stands before it: whoever answers knows nothing of this post.
function isAway(error: unknown): boolean {
  if (!(error instanceof HoldfastError)) return classify(error) === "infrastructure";
  return LATER.has(error.status) || [502, 503, 504].includes(error.status);
}

/** How long the server asked to be left alone. */
export function retryAfterMs(error: unknown): number {
  if (!(error instanceof HoldfastError)) return 0;
  return (Number(error.details?.["retryAfterSeconds"]) || 0) * 1_000;
}
