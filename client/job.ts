import {
  RunAgain,
  type Claim,
  type ClaimRequest,
  type ExtendAnswer,
  type ExtendRequest,
  type JobFilter,
  type JobHeaderInput,
  type JobResult,
  type JobSubmit,
  type JobView,
  type LateResult,
  type LateResultsFilter,
  type LogText,
  type LogTextFilter,
  type PipelineView,
  type PostAnswer,
  type PostRequest,
  type PullWorkerView,
  type ReleaseAnswer,
  type ReleaseRequest,
  type ResultsFilter,
} from "../contracts/job.ts";
import type { Accepted, Page } from "../contracts/operation.ts";
import type { SubmitOptions } from "./accept.ts";
import { asking, type Context } from "./context.ts";
import { claim, type ClaimOptions } from "./job-claim.ts";
import { visibleJob } from "./job-find.ts";
import { extend, post, release } from "./job-post.ts";
import {
  eachResultOf,
  getJob,
  lateResultsOf,
  listOfJobs,
  logTextOf,
  pipelinesOf,
  pullWorkers,
  resultsOf,
} from "./job-read.ts";
import { submitJob, submitJobLines } from "./job-submit.ts";
import { parseInput } from "./input.ts";
import { changed } from "./operation-change.ts";
import { operationClient } from "./operation.ts";
import { runAgain } from "./run-again.ts";
import { watch } from "./watch.ts";

/** How to hand in jobs, follow them, and work them. Pause and resume as any operation. */
export interface JobClient {
  /**
   * Accepts a job of up to 1,000,000 items in one transaction, the caller's if one is given, and answers
   * at once. With `key`, a repeat answers the same job.
   * @throws InvalidInput, TooLarge, Conflict, LimitExceeded, Unavailable
   */
  submit(job: JobSubmit, options?: SubmitOptions): Promise<Accepted>;
  /**
   * The same from NDJSON, one item a line, without holding payloads in memory. The source is read to its
   * end before the transaction begins: a dropped upload leaves nothing.
   */
  submitLines(
    header: JobHeaderInput,
    source: AsyncIterable<Uint8Array | string>,
    options?: SubmitOptions,
  ): Promise<Accepted>;
  /** @throws NotFound, InvalidInput */
  get(id: string): Promise<JobView>;
  /** Newest first, 50 a page unless `limit` (1 to 200) says otherwise. Without messages of errors. */
  list(filter?: JobFilter): Promise<Page<JobView>>;
  /** Each change of the view until the job is terminal, that one included. */
  watch(id: string, options?: { signal?: AbortSignal; everyMs?: number }): AsyncIterable<JobView>;
  /** The terminal view. Ends early, with an AbortError, by `signal`. */
  wait(id: string, options?: { signal?: AbortSignal; everyMs?: number }): Promise<JobView>;
  /** Nothing is handed out any more, at once; a second cancel changes nothing. @throws Conflict when terminal */
  cancel(id: string): Promise<JobView>;
  /** The next generation, over unfinished items unless `again` says otherwise. @throws Conflict when open, or none fits */
  retry(id: string, again?: RunAgain): Promise<JobView>;
  /** In order of items, of each the newest; 200 a page unless `limit` (1 to 1,000) says otherwise. */
  results(id: string, filter?: ResultsFilter): Promise<Page<JobResult>>;
  /** All of them, page after page. */
  eachResult(
    id: string,
    options?: { after?: string; errors?: boolean; signal?: AbortSignal },
  ): AsyncIterable<JobResult>;
  /** What came for items that were lost, cancelled, or of an older generation. */
  lateResults(id: string, filter?: LateResultsFilter): Promise<Page<LateResult>>;
  /** The newest lines of its log as two texts, 1,000 unless `limit` (1 to 5,000) says otherwise. */
  logText(id: string, filter?: LogTextFilter): Promise<LogText>;
  /**
   * Batches of the jobs that were served least, held by this worker from here on. Waits up to
   * `waitSeconds` for some; a worker that holds as many as it may is told so at once.
   * All payloads of one claim are at most 16 MB, or those of one batch.
   * @throws by `signal`, an AbortError: then nothing is held; LimitExceeded past 1,000 names of workers
   */
  claim(request: ClaimRequest, options?: ClaimOptions): Promise<Claim>;
  /** Signs of life, answered in the order of the handles. */
  extend(request: ExtendRequest): Promise<{ leases: ExtendAnswer[] }>;
  /** Gives batches back, which costs no delivery. */
  release(request: ReleaseRequest): Promise<{ leases: ReleaseAnswer[] }>;
  /** Results of items of one job, in one transaction; what came of each is answered in their order. */
  post(id: string, request: PostRequest): Promise<PostAnswer>;
  /** Whoever pulls, last seen first; at most 1,000. */
  workers(filter?: { pipeline?: string }): Promise<PullWorkerView[]>;
  /** What may be claimed now, for autoscalers. */
  pipelines(): Promise<PipelineView[]>;
}

export function jobClient(context: Context): JobClient {
  const operations = operationClient(context);
  const client: JobClient = {
    submit: (job, options = {}) => asking(() => submitJob(context, job, options)),
    submitLines: (header, source, options = {}) =>
      asking(() => submitJobLines(context, header, source, options)),
    get: (id) => asking(() => getJob(context, id)),
    list: (filter = {}) => asking(() => listOfJobs(context, filter)),
    watch: (id, options = {}) => watch(() => client.get(id), options),
    wait: async (id, options) => {
      let last: JobView | undefined;
      for await (const seen of client.watch(id, options)) last = seen;
      return last!;
    },
    cancel: (id) =>
      asking(async () => {
        await visibleJob(context, id);
        await operations.cancel(id);
        return getJob(context, id);
      }),
    retry: (id, again = {}) =>
      asking(async () => {
        const { items } = parseInput(RunAgain, again);
        await visibleJob(context, id);
        await changed(context, id, "operation.retry", runAgain(items));
        return getJob(context, id);
      }),
    results: (id, filter = {}) => asking(() => resultsOf(context, id, filter)),
    eachResult: (id, options = {}) => eachResultOf(context, id, options),
    lateResults: (id, filter = {}) => asking(() => lateResultsOf(context, id, filter)),
    logText: (id, filter = {}) => asking(() => logTextOf(context, id, filter)),
    claim: (request, options) => asking(() => claim(context, request, options)),
    extend: (request) => asking(() => extend(context, request)),
    release: (request) => asking(() => release(context, request)),
    post: (id, request) => asking(() => post(context, id, request)),
    workers: (filter = {}) => asking(() => pullWorkers(context, filter)),
    pipelines: () => asking(() => pipelinesOf(context)),
  };
  return client;
}
