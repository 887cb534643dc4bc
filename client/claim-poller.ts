import type { Db } from "../db/pool.ts";
import { readyWork, type ReadyWork } from "../db/job-waiting.ts";

/** How long new work may stand before somebody who waits is told. */
const POLL_EVERY_MS = 250;
/** Waiters that claim at the same time, so that others find a connection as well. */
const CLAIMS_AT_ONCE = 8;

/** Whoever waits for work. */
interface Waiter<T> {
  pipelines: readonly string[];
  /** Absent: all. */
  tenants?: readonly string[] | undefined;
  /** Claims; undefined: there was nothing for it after all. */
  claim(): Promise<T | undefined>;
}

interface Waiting {
  pipelines: readonly string[];
  tenants: readonly string[] | undefined;
  attempt(): Promise<boolean>;
  fail(error: unknown): void;
}

/**
 * Looks for work on behalf of everybody who waits in this process: one statement a round, however many
 * they are, and none when nobody waits. Who came first claims first.
 */
export class ClaimPoller {
  readonly #db: Db;
  readonly #waiting = new Set<Waiting>();
  #looking = false;
  #rest: { end(): void } | undefined;

  constructor(db: Db) {
    this.#db = db;
  }

  /** What it claimed; undefined when the time was over first. @throws by `signal`, an AbortError */
  wait<T>(waiter: Waiter<T>, timeMs: number, signal?: AbortSignal): Promise<T | undefined> {
    return new Promise<T | undefined>((resolve, reject) => {
      let over = false;
      let claiming = false;
      const leave = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
        this.#waiting.delete(waiting);
        if (this.#waiting.size === 0) this.#rest?.end();
      };
      const end = (claimed: T | undefined) => {
        leave();
        resolve(claimed);
      };
      const fail = (error: unknown) => {
        leave();
        reject(error);
      };
      // A claim under way is seen to its end: what it brings has to be given to somebody.
      const abort = () => {
        if (!claiming) fail(signal!.reason);
      };
      const timer = setTimeout(() => {
        over = true;
        if (!claiming) end(undefined);
      }, timeMs);
      const attempt = async () => {
        claiming = true;
        try {
          const claimed = await waiter.claim();
          if (claimed === undefined && !over && !signal?.aborted) return false;
          if (claimed === undefined && signal?.aborted) fail(signal.reason);
          else end(claimed);
          return claimed !== undefined;
        } catch (error) {
          fail(error);
          return false;
        } finally {
          claiming = false;
        }
      };
      const { pipelines, tenants } = waiter;
      const waiting: Waiting = { pipelines, tenants, attempt, fail };
      signal?.addEventListener("abort", abort, { once: true });
      this.#waiting.add(waiting);
      if (signal?.aborted) abort();
      else void this.#look();
    });
  }

  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    try {
      while (this.#waiting.size > 0) {
        const claimed = await this.#round();
        if (!claimed && this.#waiting.size > 0) await this.#pause();
      }
    } catch (error) {
      for (const waiting of this.#waiting) waiting.fail(error);
    } finally {
      this.#looking = false;
    }
  }

  /** True when somebody got something: there may be more. */
  async #round(): Promise<boolean> {
    const pipelines = new Set<string>();
    for (const waiting of this.#waiting) for (const name of waiting.pipelines) pipelines.add(name);
    const work = await readyWork(this.#db, [...pipelines], CLAIMS_AT_ONCE);
    if (work.length === 0) return false;
    const claims = firstInLine(this.#waiting, work).map((waiting) => waiting.attempt());
    return (await Promise.all(claims)).some(Boolean);
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.#rest = undefined;
        resolve();
      };
      const timer = setTimeout(end, POLL_EVERY_MS);
      this.#rest = { end };
    });
  }
}

/** Those that a batch is there for, in the order they came. */
function firstInLine(all: Iterable<Waiting>, work: readonly ReadyWork[]): Waiting[] {
  const left = work.map((ready) => ({ ...ready }));
  const first: Waiting[] = [];
  for (const waiting of all) {
    if (first.length === CLAIMS_AT_ONCE) break;
    const fits = left.find(
      ({ pipeline, tenant, ready }) =>
        ready > 0 &&
        waiting.pipelines.includes(pipeline) &&
        (waiting.tenants === undefined || waiting.tenants.includes(tenant)),
    );
    if (!fits) continue;
    fits.ready--;
    first.push(waiting);
  }
  return first;
}

const pollers = new WeakMap<Db, ClaimPoller>();

/** The one of this pool, whoever asks. */
export function claimPollerOf(db: Db): ClaimPoller {
  let poller = pollers.get(db);
  if (!poller) pollers.set(db, (poller = new ClaimPoller(db)));
  return poller;
}
