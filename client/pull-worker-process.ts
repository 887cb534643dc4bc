import { Deferred, Refused } from "../contracts/errors.ts";
import { PostedResult, type ClaimedBatch } from "../contracts/job.ts";
import type { ProcessedItem } from "../contracts/plugins.ts";
import { isBlank, kept } from "../contracts/text.ts";
import type { PullWorkerOptions } from "./pull-worker.ts";
import type { Held } from "./pull-worker-heartbeat.ts";

export interface Came {
  results: PostedResult[];
  /** What has no result is to be given back. */
  givenBack?: boolean;
  /** And not taken again before then. */
  until?: Date;
}

type Process = PullWorkerOptions["process"];

/** What came of a batch: a result for every item, but for those given back or that will not count. */
export async function resultsOf(
  held: Held,
  process: Process,
  tell: (error: unknown, what: string) => void,
): Promise<Came> {
  const { batch, abort } = held;
  const { signal } = abort;
  try {
    const processed = await process(batch, { signal });
    return { results: resultsFor(batch, processed, tell) };
  } catch (error) {
    if (signal.aborted) return { results: [], givenBack: !held.ended };
    if (error instanceof Deferred) return { results: [], givenBack: true, until: error.until };
    tell(error, `working batch ${batch.batch} of job ${batch.job}`);
    const refused = error instanceof Refused;
    if (refused || batch.items.length === 1) {
      return { results: batch.items.map(({ item }) => failure(batch, item, error)) };
    }
  }
  return oneByOne(held, process, tell);
}

// One of them threw; which, is found by trying each alone.
async function oneByOne(
  held: Held,
  process: Process,
  tell: (error: unknown, what: string) => void,
): Promise<Came> {
  const results: PostedResult[] = [];
  for (const item of held.batch.items) {
    const alone = { ...held, batch: { ...held.batch, items: [item] } };
    const came = await resultsOf(alone, process, tell);
    results.push(...came.results);
    if (held.abort.signal.aborted) return { results, givenBack: !held.ended };
    if (came.givenBack) return { ...came, results };
  }
  return { results };
}

function resultsFor(
  batch: ClaimedBatch,
  processed: readonly ProcessedItem[],
  tell: (error: unknown, what: string) => void,
): PostedResult[] {
  const answers = new Map<number, ProcessedItem>();
  for (const answer of processed) {
    if (!answers.has(answer.item)) answers.set(answer.item, answer);
  }
  const results = batch.items.map(({ item }): PostedResult => {
    const answer = answers.get(item);
    answers.delete(item);
    if (!answer) return failure(batch, item, new Error("the worker gave no answer for this item"));
    const parsed = PostedResult.safeParse({ ...answer, handle: batch.handle });
    if (parsed.success) return parsed.data;
    const { path, message } = parsed.error.issues[0]!;
    const why = new Error(`its answer cannot be posted: ${path.join(".")} ${message}`);
    tell(why, `item ${item} of job ${batch.job}`);
    return failure(batch, item, why);
  });
  if (answers.size > 0) {
    const others = [...answers.keys()].slice(0, 10).join(", ");
    tell(
      undefined,
      `answers for items that batch ${batch.batch} of job ${batch.job} does not hold: ${others}`,
    );
  }
  return results;
}

/** Code units that take at most 2,000 bytes. */
const ERROR_LENGTH = 600;

function failure({ handle }: ClaimedBatch, item: number, error: unknown): PostedResult {
  const message = error instanceof Error ? error.message || error.name : String(error);
  // Half a character becomes one that can be stored.
  const text = Buffer.from(kept(message, ERROR_LENGTH)).toString();
  return { handle, item, error: isBlank(text) ? "failed without a message" : text };
}
