import type { OnResults, Processor } from "../contracts/plugins.ts";
import type { ClaimedItem, PostedResult } from "../contracts/job.ts";
import type { OperationRef, WorkReport } from "../contracts/messages.ts";
import { claimBatches, loadClaimedItems, type ClaimedLease } from "../db/job-claim.ts";
import { endLease, endOwnLeases, OWN_KEY, releaseOwnLeases } from "../db/job-lanes.ts";
import { expireDueLeases, extendLeases, releaseLeases } from "../db/job-leases.ts";
import { postResults } from "../db/job-post.ts";
import { closeSettledBatches, wakeSettledJobs } from "../db/job-settled.ts";
import { type JobRow } from "../db/jobs.ts";
import { appendLogs, type NewLogLine } from "../db/logs.ts";
import type { Db } from "../db/pool.ts";
import { linesOfPost } from "../domain/job-log.ts";
import { backoffMs, classify, deferredUntil } from "../domain/faults.ts";
import { inTime } from "./in-time.ts";
import { answersOf, errorText } from "./job-answers.ts";
import { patiently } from "./patience.ts";
import type { Solitude } from "./solitude.ts";

/**
 * A processor's batches: claimed, extended and posted as any pull worker's, of one job only. What a
 * crash means for its items is what an expired lease means.
 */

export interface LaneContext {
  db: Db;
  ref: OperationRef;
  job: JobRow;
  processor: Processor;
  onResults: OnResults | undefined;
  /** False: nothing is logged in the database. */
  persistLogs: boolean;
  /** Of the worker. */
  identity: string;
  /** 1-based; one call of our own workers has it at a time. */
  lane: number;
  solitude: Solitude;
  signal: AbortSignal;
  draining: AbortSignal | undefined;
  log?: { warn(fields: object, message: string): void } | undefined;
}

/** One call works about this long, then answers how far it came. */
const SLICE_MS = 120_000;
const BATCH_TIMEOUT_MS = 3_600_000;
const MOST_BATCH_TIMEOUT_MS = 86_400_000;
/** A sign of life at least this often: it also tells of a cancel when Temporal cannot. */
const EXTEND_MS = 5_000;
/** A lane holds one batch of a job; how many jobs there are is not for the claim to bound. */
const MANY = 1_000_000;
/** Ready batches that nobody hands out are looked at again after this long. */
const NOTHING_MS = 5_000;

const STOPPING = Symbol("the worker stops, or the call was cancelled");

type Worked = "next" | { stop: "cancelled" } | { nextDueAt: number; waitsFor: string };

/** The lease is nobody's any more, or the job is not to be worked: there is nothing to answer. */
class Ended extends Error {
  readonly cancelled: boolean;
  constructor(cancelled: boolean) {
    super(cancelled ? "the job was cancelled" : "the lease has ended");
    this.cancelled = cancelled;
  }
}

export class JobLane {
  readonly #context: LaneContext;
  readonly #beat: (details: unknown) => void;
  #done = 0;
  #alone = false;

  constructor(context: LaneContext, beat: (details: unknown) => void) {
    this.#context = context;
    this.#beat = beat;
  }

  async run(): Promise<WorkReport> {
    const { signal, draining } = this.#context;
    await this.#afterCrash();
    const sliceEnds = Date.now() + SLICE_MS;
    while (Date.now() < sliceEnds && !draining?.aborted) {
      signal.throwIfAborted();
      const worked = await this.#admitted(() => this.#oneBatch());
      this.#beat({ done: this.#done });
      if (worked === "stopping") continue;
      if (worked === undefined) {
        const nextDueAt = Date.now() + NOTHING_MS;
        return { ...this.#report(), ...(this.#done === 0 && { nextDueAt }) };
      }
      if (worked !== "next") return { ...this.#report(), ...worked };
    }
    return this.#report();
  }

  /** Behind whoever is alone, or has to be. A worker that stops begins nothing any more. */
  async #admitted<T>(work: () => Promise<T>): Promise<T | "stopping"> {
    const { solitude, signal, draining } = this.#context;
    const stopping = new AbortController();
    const stop = () => stopping.abort(STOPPING);
    // By hand, for the worker lives long: what `AbortSignal.any` hangs on it is never taken off.
    for (const each of [signal, draining]) {
      if (each?.aborted) stop();
      each?.addEventListener("abort", stop, { once: true });
    }
    try {
      return await solitude.enter(this.#alone, work, stopping.signal);
    } catch (error) {
      if (error !== STOPPING) throw error;
      return "stopping";
    } finally {
      for (const each of [signal, draining]) each?.removeEventListener("abort", stop);
    }
  }

  #report(): WorkReport {
    return { done: this.#done, complete: false };
  }

  // A lease of this lane was another call's, which did not come back: its worker died, or stands still.
  async #afterCrash(): Promise<void> {
    const { db, ref, lane } = this.#context;
    if ((await endOwnLeases(db, ref, lane)) > 0) await expireDueLeases(db);
  }

  /** Undefined when there was none. */
  async #oneBatch(): Promise<Worked | undefined> {
    const { db, ref, job, signal } = this.#context;
    const lease = await this.#claim();
    if (!lease) return undefined;
    // What crashed a worker once is not to take others along: its last time it is alone in its process.
    const suspect = lease.delivery > 1 && lease.delivery >= job.deliveries;
    if (suspect && !this.#alone) {
      this.#alone = true;
      await this.#release(lease);
      return "next";
    }
    this.#alone = false;
    const items = (await patiently(signal, () => loadClaimedItems(db, [lease])))[0]!;
    if (items.length === 0) {
      await patiently(signal, () => closeSettledBatches(db, ref.id, ref.generation, [lease.batch]));
      await wakeSettledJobs(db, ref.id);
      return "next";
    }
    return this.#work(lease, items);
  }

  /** A claim whose answer was lost may hold a batch. Nothing of it was begun, so it goes back first. */
  #claim(): Promise<ClaimedLease | undefined> {
    const { db, ref, job, identity, lane, signal } = this.#context;
    const worker = `${identity}/${lane}`;
    return patiently(signal, async (failures) => {
      if (failures > 0) await releaseOwnLeases(db, ref, worker);
      const { leases } = await claimBatches(db, {
        pipelines: [job.pipeline],
        operation: ref.id,
        limit: 1,
        key: OWN_KEY,
        worker,
        held: MANY,
        heartbeat: true,
      });
      return leases[0];
    });
  }

  async #work(lease: ClaimedLease, items: readonly ClaimedItem[]): Promise<Worked> {
    const extending = this.#extending(lease);
    try {
      const results = await this.#ask(lease, items, extending.signal);
      await this.#post(lease, results);
      return "next";
    } catch (error) {
      return await this.#afterFault(lease, error);
    } finally {
      extending.stop();
    }
  }

  async #ask(
    lease: ClaimedLease,
    items: readonly ClaimedItem[],
    signal: AbortSignal,
  ): Promise<PostedResult[]> {
    const { processor, ref, job } = this.#context;
    const answer = await inTime(
      "processor",
      Math.min(processor.batchTimeoutMs ?? BATCH_TIMEOUT_MS, MOST_BATCH_TIMEOUT_MS),
      signal,
      async (bounded) =>
        processor.process(items, {
          tenant: ref.tenant,
          operationId: ref.id,
          pipeline: job.pipeline,
          generation: ref.generation,
          batch: lease.batch,
          delivery: lease.delivery,
          signal: bounded,
        }),
    );
    return answersOf(lease.handle, items, answer);
  }

  /** Postgres may be away for a while; the key makes a post that was lost and one that was not the same. */
  async #post(lease: ClaimedLease, results: readonly PostedResult[]): Promise<void> {
    const { db, ref, onResults, signal } = this.#context;
    const repeatKey = `${lease.generation}/${lease.batch}/${lease.lease}/${results[0]!.item ?? "all"}`;
    const post = { operationId: ref.id, key: OWN_KEY, repeatKey, results };
    const { answer, settled, closed } = await patiently(signal, () =>
      postResults(db, post, onResults),
    );
    this.#done += settled.length;
    if (!answer) return;
    await this.#tell(linesOfPost({ job: ref.id, key: OWN_KEY, answer, settled, closed }));
  }

  // After the commit, and never a reason to fail.
  async #tell(lines: readonly NewLogLine[]): Promise<void> {
    const { db, persistLogs, log } = this.#context;
    if (!persistLogs || lines.length === 0) return;
    await appendLogs(db, lines).catch((err: unknown) =>
      log?.warn({ err }, "a log was not written"),
    );
  }

  /** Signs of life while a batch is worked; its signal says when to stop, and why. */
  #extending(lease: ClaimedLease): { signal: AbortSignal; stop: () => void } {
    const { db, job, signal } = this.#context;
    const ended = new AbortController();
    const shortest = Math.min(job.heartbeat_seconds, job.lease_seconds) * 1_000;
    const extend = async () => {
      const [answer] = await extendLeases(db, [lease.handle], OWN_KEY);
      if (answer!.cancelled) ended.abort(new Ended(true));
      else if (answer!.status === "ended") ended.abort(new Ended(false));
    };
    // Where Postgres is away, the lease runs on, and out if it stays away.
    const timer = setInterval(
      () => void extend().catch(() => undefined),
      Math.min(EXTEND_MS, shortest / 3),
    );
    return { signal: AbortSignal.any([signal, ended.signal]), stop: () => clearInterval(timer) };
  }

  async #afterFault(lease: ClaimedLease, error: unknown): Promise<Worked> {
    const { signal, job } = this.#context;
    if (signal.aborted) {
      await this.#release(lease);
      throw signal.reason;
    }
    if (error instanceof Ended) return error.cancelled ? { stop: "cancelled" } : "next";
    const waitsFor = `${job.pipeline}: ${errorText(error).slice(0, 200)}`;
    switch (classify(error)) {
      case "infrastructure": {
        await this.#release(lease);
        const waitMs = backoffMs(lease.lease, { baseMs: 1_000, capMs: 30_000 });
        return { nextDueAt: Date.now() + waitMs, waitsFor };
      }
      case "deferred": {
        await this.#release(lease);
        const until = deferredUntil(error)?.getTime() ?? 0;
        return { nextDueAt: Math.max(until, Date.now() + 1_000), waitsFor };
      }
      case "refused":
        await this.#fail(lease, error);
        return "next";
      default:
        this.#context.log?.warn(
          { err: error, job: lease.operationId, batch: lease.batch },
          "processor failed",
        );
        if (lease.delivery >= job.deliveries) await this.#fail(lease, error);
        else await this.#giveUp(lease);
        return "next";
    }
  }

  // Whoever writes rows of their own may refuse this, too: then the lease ends as a crash ends it.
  async #fail(lease: ClaimedLease, error: unknown): Promise<void> {
    const result = { handle: lease.handle, error: errorText(error) };
    try {
      await this.#post(lease, [result]);
    } catch {
      const { signal } = this.#context;
      if (!signal.aborted) return this.#giveUp(lease);
      await this.#release(lease);
      throw signal.reason;
    }
  }

  async #giveUp(lease: ClaimedLease): Promise<void> {
    const { db } = this.#context;
    if (await endLease(db, lease)) await expireDueLeases(db);
  }

  // One that cannot be given back while there is time runs out.
  async #release(lease: ClaimedLease): Promise<void> {
    const { db, signal } = this.#context;
    await patiently(signal, () => releaseLeases(db, [lease.handle], OWN_KEY)).catch(
      () => undefined,
    );
  }
}
