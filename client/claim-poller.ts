import type { Db } from "../db/pool.ts";
import { readyWork, type ReadyWork } from "../db/job-waiting.ts";

/** How long new work may stand before somebody who waits is told. */
const POLL_EVERY_MS = 250;
/** Waiters that claim at the same time, so that others find a connection as well. */
const CLAIMS_AT_ONCE = 8;

/** What is known of the work there is may be this old, and still stand for a look of one's own. */
const KNOWN_FOR_MS = 2 * POLL_EVERY_MS;

interface Wanted {
  pipelines: readonly string[];
  /** Absent: all. */
  tenants?: readonly string[] | undefined;
}

/** Whoever waits for work. */
interface Waiter<T> extends Wanted {
  /** Asked about before it waits: who may hold no more has nothing to wait for. Absent: it may. */
  holder?: string | undefined;
  /** Told what its holder holds; not undefined: that is the answer. */
  full?(batches: number): T | undefined;
  /** Claims; undefined: there was nothing for it after all. */
  claim(): Promise<T | undefined>;
}

interface Waiting extends Wanted {
  /** Undefined when it was asked about. */
  holder: string | undefined;
  holds(batches: number): void;
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
  /** What the last look saw. */
  #known: { atMs: number; pipelines: ReadonlySet<string>; ready: readonly ReadyWork[] } | undefined;

  constructor(db: Db) {
    this.#db = db;
  }

  /** How many wait. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** A look a moment ago, for those who wait already, has seen nothing for it either. */
  knowsNothingFor(wanted: Wanted): boolean {
    const known = this.#known;
    if (!this.#looking || !known || Date.now() - known.atMs > KNOWN_FOR_MS) return false;
    if (!wanted.pipelines.every((pipeline) => known.pipelines.has(pipeline))) return false;
    return !known.ready.some((work) => isFor(work, wanted));
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
      const { pipelines, tenants, holder } = waiter;
      const holds = (batches: number) => {
        const answer = waiter.full?.(batches);
        if (answer !== undefined && !claiming) end(answer);
      };
      const waiting: Waiting = { pipelines, tenants, holder, holds, attempt, fail };
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
    const asked = new Map<Waiting, string>();
    for (const waiting of this.#waiting) {
      for (const name of waiting.pipelines) pipelines.add(name);
      if (waiting.holder !== undefined) asked.set(waiting, waiting.holder);
    }
    const holders = [...new Set(asked.values())];
    const { ready, held } = await readyWork(this.#db, [...pipelines], CLAIMS_AT_ONCE, holders);
    this.#known = { atMs: Date.now(), pipelines, ready };
    for (const [waiting, holder] of asked) {
      waiting.holder = undefined;
      waiting.holds(held.get(holder) ?? 0);
    }
    if (ready.length === 0) return false;
    const claims = firstInLine(this.#waiting, ready).map((waiting) => waiting.attempt());
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
    const fits = left.find((some) => some.ready > 0 && isFor(some, waiting));
    if (!fits) continue;
    fits.ready--;
    first.push(waiting);
  }
  return first;
}

function isFor({ pipeline, tenant }: ReadyWork, { pipelines, tenants }: Wanted): boolean {
  return pipelines.includes(pipeline) && (tenants === undefined || tenants.includes(tenant));
}

const pollers = new WeakMap<Db, ClaimPoller>();

/** The one of this pool, whoever asks. */
export function claimPollerOf(db: Db): ClaimPoller {
  let poller = pollers.get(db);
  if (!poller) pollers.set(db, (poller = new ClaimPoller(db)));
  return poller;
}
