import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import { HoldfastError, InvalidInput } from "../contracts/errors.ts";
import type { ClaimedBatch } from "../contracts/job.ts";
import type { ProcessedItem } from "../contracts/plugins.ts";
import { backoffMs } from "../domain/faults.ts";
import type { PullJobs } from "./jobs-over-http.ts";
import { Heartbeat, type Held } from "./pull-worker-heartbeat.ts";
import { postAll, retryAfterMs, type Tally } from "./pull-worker-post.ts";
import { resultsOf } from "./pull-worker-process.ts";

export interface PullWorkerOptions {
  /** `holdfast.job`, or `jobsOverHttp({ url, token })`. */
  jobs: PullJobs;
  pipelines: readonly string[];
  /** Its name, 1 to 100 characters. Default: host, process and something random. */
  worker?: string;
  /**
   * Answers for the items of a batch; one without an answer has failed. What throws is tried again item
   * by item, so that one bad item spoils no other; an item that throws alone has failed with the
   * message. Throw `Refused` for "none of these, never", `Deferred` for "not now": the batch is given
   * back, and none is claimed until then. Obey `signal`: nothing more of the batch will count.
   */
  process(
    batch: ClaimedBatch,
    context: { signal: AbortSignal },
  ): readonly ProcessedItem[] | Promise<readonly ProcessedItem[]>;
  /** Batches worked at the same time, 1 to 50. Default 1. */
  batches?: number;
  /** Batches held beside those, so that none waits for a claim, 0 to 50. Default 1. */
  prefetch?: number;
  /** How long one claim waits for work, up to 60. Default 20. */
  waitSeconds?: number;
  /** Ends it: what has not begun is given back, what has is finished. */
  signal?: AbortSignal;
  /** How long that may take before it is aborted and given back. Default 30,000. */
  graceMs?: number;
  /** Told of everything that went wrong, in words. Default: nobody. */
  onError?(error: unknown, what: string): void;
}

/** Items by what came of them. `dropped`: answers that were never taken; `onError` was told. */
export interface PullWorkerReport extends Tally {
  batches: number;
  /** Batches given back. */
  released: number;
}

/**
 * Claims, works and posts until `signal`; then answers what it did. Holds its leases by heartbeats. A
 * post is repeated with its key until it is answered. Waits between tries, longer each time and never
 * two workers alike, while the server is away.
 * @throws what a claim was refused with (400 to 404), when what it had is finished
 */
export async function runPullWorker(options: PullWorkerOptions): Promise<PullWorkerReport> {
  return new PullWorker(options).run();
}

const BASE_MS = 500;
const CAP_MS = 30_000;
/** Between claims where nothing comes and nothing waits, and while it may hold no more. */
const IDLE_MS = 1_000;
/** What does not end when it is aborted is left behind after this. */
const LEAVE_MS = 1_000;
const FATAL = new Set([400, 401, 403, 404, 405, 413, 415]);

class PullWorker {
  readonly #options: PullWorkerOptions;
  readonly #name: string;
  readonly #atOnce: number;
  readonly #most: number;
  readonly #heartbeat: Heartbeat;
  readonly #queue: Held[] = [];
  readonly #working = new Map<Held, Promise<void>>();
  /** No more claims. */
  readonly #stop = new AbortController();
  /** The grace is over. */
  readonly #over = new AbortController();
  #notBefore = 0;
  #freed: (() => void) | undefined;
  readonly #report: PullWorkerReport = {
    batches: 0,
    accepted: 0,
    failed: 0,
    duplicate: 0,
    late: 0,
    unknown: 0,
    dropped: 0,
    released: 0,
  };

  constructor(options: PullWorkerOptions) {
    this.#options = options;
    this.#name =
      options.worker ??
      `${hostname().slice(0, 60)}/${process.pid}/${randomBytes(4).toString("hex")}`;
    this.#atOnce = bounded("batches", options.batches ?? 1, 1);
    this.#most = this.#atOnce + bounded("prefetch", options.prefetch ?? 1, 0);
    this.#heartbeat = new Heartbeat(options.jobs, (error, what) => this.#tell(error, what));
  }

  async run(): Promise<PullWorkerReport> {
    const { signal } = this.#options;
    const stop = () => this.#stop.abort(new Error("the worker stops"));
    signal?.addEventListener("abort", stop, { once: true });
    if (signal?.aborted) stop();
    try {
      await this.#claimAll();
    } finally {
      signal?.removeEventListener("abort", stop);
      stop();
      await this.#drain();
      this.#heartbeat.stop();
    }
    return this.#report;
  }

  async #claimAll(): Promise<void> {
    for (let failures = 0; !this.#stop.signal.aborted;) {
      const room = this.#most - this.#working.size - this.#queue.length;
      if (room <= 0) {
        await this.#untilFreed();
        continue;
      }
      await this.#rest(this.#notBefore - Date.now());
      if (this.#stop.signal.aborted) return;
      const began = Date.now();
      try {
        const taken = await this.#claim(room);
        failures = 0;
        // A server that does not wait is not asked again and again.
        if (taken === 0 && Date.now() - began < IDLE_MS) await this.#rest(jittered(IDLE_MS));
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        if (error instanceof HoldfastError && FATAL.has(error.status)) throw error;
        failures++;
        this.#tell(error, "claiming");
        await this.#rest(Math.max(backoff(failures), retryAfterMs(error)));
      }
    }
  }

  async #claim(room: number): Promise<number> {
    const { jobs, pipelines, waitSeconds = 20 } = this.#options;
    const { batches } = await jobs.claim(
      {
        pipelines: [...pipelines],
        limit: room,
        waitSeconds,
        worker: this.#name,
        heartbeat: true,
      },
      { signal: this.#stop.signal },
    );
    for (const batch of batches) {
      const held: Held = { batch, abort: new AbortController() };
      this.#heartbeat.add(held);
      this.#queue.push(held);
    }
    this.#begin();
    return batches.length;
  }

  #begin(): void {
    while (this.#working.size < this.#atOnce && !this.#stop.signal.aborted) {
      const held = this.#queue.shift();
      if (!held) return;
      // Its lease ended while it waited here: it is somebody else's.
      if (held.abort.signal.aborted) continue;
      const work = this.#work(held).catch((error: unknown) => this.#tell(error, "working a batch"));
      const done = work.finally(() => {
        this.#heartbeat.remove(held);
        this.#working.delete(held);
        this.#freed?.();
        this.#begin();
      });
      this.#working.set(held, done);
    }
  }

  async #work(held: Held): Promise<void> {
    const { jobs, process } = this.#options;
    const came = await resultsOf(held, process, (error, what) => this.#tell(error, what));
    if (came.results.length > 0) {
      this.#report.batches++;
      await postAll(jobs, held.batch.job, came.results, {
        tally: this.#report,
        give: this.#over.signal,
        tell: (error, what) => this.#tell(error, what),
      });
    }
    if (!came.givenBack) return;
    this.#notBefore = Math.max(this.#notBefore, came.until?.getTime() ?? 0);
    await this.#release([held]);
  }

  async #drain(): Promise<void> {
    const { graceMs = 30_000 } = this.#options;
    const waiting = this.#queue.splice(0).filter((held) => !held.abort.signal.aborted);
    await this.#release(waiting);
    const all = () => Promise.all(this.#working.values());
    if (await endsWithin(all(), graceMs)) return;
    this.#over.abort();
    for (const held of this.#working.keys()) held.abort.abort(new Error("the worker stops"));
    await endsWithin(all(), LEAVE_MS);
    const left = [...this.#working.keys()];
    if (left.length > 0) this.#tell(undefined, `leaving ${left.length} batches that do not end`);
    await this.#release(left);
  }

  async #release(all: readonly Held[]): Promise<void> {
    if (all.length === 0) return;
    const handles = all.map(({ batch }) => batch.handle);
    for (let tries = 1; ; tries++) {
      try {
        const { leases } = await this.#options.jobs.release({ handles });
        this.#report.released += leases.filter(({ status }) => status === "released").length;
        break;
      } catch (error) {
        this.#tell(error, "giving batches back");
        // They come back by themselves when nobody speaks for them.
        if (tries === 3) break;
        await pause(backoff(tries));
      }
    }
    for (const held of all) this.#heartbeat.remove(held);
  }

  async #untilFreed(): Promise<void> {
    const { signal } = this.#stop;
    await new Promise<void>((resolve) => {
      const end = () => {
        signal.removeEventListener("abort", end);
        this.#freed = undefined;
        resolve();
      };
      this.#freed = end;
      signal.addEventListener("abort", end, { once: true });
      if (signal.aborted) end();
    });
  }

  async #rest(forMs: number): Promise<void> {
    if (forMs <= 0) return;
    const { signal } = this.#stop;
    await pause(forMs, undefined, { signal }).catch(() => undefined);
  }

  #tell(error: unknown, what: string): void {
    try {
      this.#options.onError?.(error, what);
    } catch {
      // Whoever is told has no say in the work.
    }
  }
}

async function endsWithin(work: Promise<unknown>, forMs: number): Promise<boolean> {
  const stop = new AbortController();
  const over = pause(forMs, false, { signal: stop.signal }).catch(() => false);
  const ended = await Promise.race([work.then(() => true), over]);
  stop.abort();
  return ended;
}

function bounded(path: string, value: number, least: number): number {
  if (Number.isInteger(value) && value >= least && value <= 50) return value;
  throw new InvalidInput([{ path, message: `must be a whole number from ${least} to 50` }]);
}

function backoff(failures: number): number {
  return backoffMs(failures, { baseMs: BASE_MS, capMs: CAP_MS, jitter: Math.random() });
}

function jittered(forMs: number): number {
  return forMs * (0.5 + Math.random() / 2);
}
