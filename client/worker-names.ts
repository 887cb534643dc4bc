import { LRUCache } from "lru-cache";
import { LimitExceeded } from "../contracts/errors.ts";
import { JOB_LIMITS } from "../contracts/job.ts";
import { PULL_WORKER_ONLINE_SECONDS, workersAtWork } from "../db/job-workers.ts";
import type { Db } from "../db/pool.ts";

/** What is known of a key's workers may be this old. */
const KNOWN_FOR_MS = 30_000;
const KEYS = 1_000;

interface Names {
  atMs: number;
  /** When each was last at work, as far as this process knows. */
  seen: Map<string, number>;
}

/**
 * Bounds how many workers one key has, for each of them may hold batches of its own. Asked of Postgres
 * once in half a minute and key; what other processes have let in since is known at the next time.
 */
export class WorkerNames {
  readonly #db: Db;
  readonly #keys = new LRUCache<string, Promise<Names>>({ max: KEYS });

  constructor(db: Db) {
    this.#db = db;
  }

  /** @throws LimitExceeded when the key has as many workers as it may, and this is none of them */
  async admit(key: string, worker: string): Promise<void> {
    const { seen } = await this.#known(key);
    if (!seen.has(worker) && seen.size >= JOB_LIMITS.workersOfKey) {
      throw new LimitExceeded(
        `${JOB_LIMITS.workersOfKey} workers of this key are at work: let each process keep its name, or use another key`,
        PULL_WORKER_ONLINE_SECONDS,
      );
    }
    seen.set(worker, Date.now());
  }

  async #known(key: string): Promise<Names> {
    const before = this.#keys.get(key);
    const known = await before;
    if (known && Date.now() - known.atMs < KNOWN_FOR_MS) return known;
    // Whoever came first asks for all.
    let asking = this.#keys.get(key);
    if (asking === before || !asking) {
      asking = this.#ask(key, known);
      this.#keys.set(key, asking);
    }
    return asking;
  }

  async #ask(key: string, before: Names | undefined): Promise<Names> {
    const atMs = Date.now();
    const seen = new Map<string, number>();
    // Who cannot be asked about is let in: the claim itself says when Postgres is away.
    const asked = workersAtWork(this.#db, key, JOB_LIMITS.workersOfKey).catch(() => []);
    for (const worker of await asked) seen.set(worker, atMs);
    // Those who came a moment ago are not written down yet.
    for (const [worker, at] of before?.seen ?? []) {
      if (at > atMs - PULL_WORKER_ONLINE_SECONDS * 1_000 && !seen.has(worker)) seen.set(worker, at);
    }
    return { atMs, seen };
  }
}

const all = new WeakMap<Db, WorkerNames>();

/** Those of this pool, whoever asks. */
export function workerNamesOf(db: Db): WorkerNames {
  let names = all.get(db);
  if (!names) all.set(db, (names = new WorkerNames(db)));
  return names;
}
