import type { Holdfast } from "../client/index.ts";
import type { ClaimedBatch, PostRequest } from "../contracts/job.ts";
import type { Db } from "../db/pool.ts";
import { aJob, type JobAsked } from "../test/support/jobs.ts";
import { bodyOf, RESULTS_OF_A_POST } from "./job-rival.ts";

export const POSTERS = 10;

/** A job that may be claimed, without Temporal: what its workflow does first is done here. */
export function runningJob(db: Db, asked: JobAsked): Promise<string> {
  return aJob(db, { batchSize: RESULTS_OF_A_POST, ...asked });
}

export type Call = () => Promise<unknown>;

/** Good results for all items of a batch. */
export function resultsOf({ handle, items }: Pick<ClaimedBatch, "handle" | "items">): PostRequest {
  return {
    results: items.map(({ item }) => ({
      handle,
      item,
      result: bodyOf(item),
      counts: { detections: 2, classifications: 1 },
    })),
  };
}

/** Posts of whole batches, claimed from jobs that take turns. */
export async function preparedPosts(
  { db, job }: Holdfast,
  jobs: number,
  posts: number,
): Promise<Call[]> {
  const pipeline = crypto.randomUUID();
  const items = Math.ceil(posts / jobs) * RESULTS_OF_A_POST;
  for (let no = 0; no < jobs; no++) await runningJob(db, { pipeline, items });
  await db.query("analyze holdfast.items, holdfast.job_batches");
  const calls: Call[] = [];
  while (calls.length < posts) {
    const limit = Math.min(100, posts - calls.length);
    const { batches } = await job.claim({ pipelines: [pipeline], limit, worker: "bench" });
    for (const batch of batches) {
      const request = resultsOf(batch);
      calls.push(async () => {
        const { accepted } = await job.post(batch.job, request);
        if (accepted !== batch.items.length) throw new Error("a result was not accepted");
      });
    }
  }
  return calls;
}

/** Ten callers make these calls, each the next one when its last was answered. Milliseconds a call. */
export async function tenCallers(calls: readonly Call[]): Promise<number[]> {
  const took: number[] = [];
  let next = 0;
  const caller = async () => {
    for (let call = calls[next++]; call; call = calls[next++]) {
      const startedAt = performance.now();
      await call();
      took.push(performance.now() - startedAt);
    }
  };
  await Promise.all(Array.from({ length: POSTERS }, caller));
  return took;
}
