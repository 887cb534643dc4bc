import { LRUCache } from "lru-cache";
import { JOB_LIMITS } from "../contracts/job.ts";
import {
  markPullWorkersSeen,
  PULL_WORKER_ONLINE_SECONDS,
  workersOfHandles,
  type PullWorkerSeen,
} from "../db/job-workers.ts";
import type { Db } from "../db/pool.ts";
import { jobCounters } from "./job-counters.ts";

/** A worker is written down at most this often; sooner when it asks for a pipeline that it had not. */
const EVERY_MS = 30_000;
const NEW_PIPELINE_MS = 5_000;
const WORKERS = 10_000;
const HANDLES = 20_000;

interface Noted {
  /** Written at, and what. */
  atMs: number;
  written: ReadonlySet<string>;
  /** When it asked for each pipeline last, the latest at the end. */
  asked: Map<string, number>;
}

/**
 * Notes who was seen, beside requests and never in one: what fails here is counted, and nobody is told.
 */
export class Liveness {
  readonly #db: Db;
  readonly #noted = new LRUCache<string, Noted>({ max: WORKERS });
  /** Whose a handle is, by key and handle; empty as long as nobody knows. */
  readonly #workers = new LRUCache<string, string>({ max: HANDLES });
  readonly #due = new Map<string, PullWorkerSeen>();
  #writing: Promise<void> | undefined;

  constructor(db: Db) {
    this.#db = db;
  }

  /** A worker asked for work. */
  seen({ key, worker, tenants, pipelines }: PullWorkerSeen): void {
    const name = `${key}/${worker}`;
    const now = Date.now();
    const noted = this.#noted.get(name) ?? { atMs: 0, asked: new Map(), written: new Set() };
    this.#noted.set(name, noted);
    const asksNew = pipelines.some((pipeline) => !noted.written.has(pipeline));
    remember(noted.asked, pipelines, now);
    if (now - noted.atMs < (asksNew ? NEW_PIPELINE_MS : EVERY_MS)) return;
    noted.atMs = now;
    noted.written = new Set(noted.asked.keys());
    this.#due.set(name, { key, worker, tenants, pipelines: [...noted.written] });
    this.#write();
  }

  /** These are held by a worker, which is known by them from here on. */
  holds(handles: readonly string[], { key, worker }: { key: string; worker: string }): void {
    for (const handle of handles) this.#workers.set(`${key}/${handle}`, worker);
  }

  /** A worker spoke of what it holds. */
  spoke(handles: readonly string[], key: string, tenants?: readonly string[]): void {
    const names = new Map(
      handles.map((handle) => [handle, this.#workers.get(`${key}/${handle}`)] as const),
    );
    for (const worker of new Set(names.values())) {
      if (worker) this.seen({ key, worker, tenants, pipelines: [] });
    }
    const unknown = [...names].flatMap(([handle, worker]) => (worker === undefined ? handle : []));
    if (unknown.length > 0) void this.#ask(unknown, key, tenants);
  }

  /** Ends when everything is written that was seen before. */
  async written(): Promise<void> {
    while (this.#writing) await this.#writing;
  }

  async #ask(handles: readonly string[], key: string, tenants?: readonly string[]): Promise<void> {
    // Known from here on, as nobody's until the answer: one question a handle.
    for (const handle of handles) this.#workers.set(`${key}/${handle}`, "");
    try {
      const workers = await workersOfHandles(this.#db, handles, key);
      for (const [index, worker] of workers.entries()) {
        if (worker === null) continue;
        this.#workers.set(`${key}/${handles[index]}`, worker);
        this.seen({ key, worker, tenants, pipelines: [] });
      }
    } catch {
      jobCounters.seenWritesFailed++;
    }
  }

  #write(): void {
    this.#writing ??= this.#writeAll().finally(() => {
      this.#writing = undefined;
    });
  }

  async #writeAll(): Promise<void> {
    while (this.#due.size > 0) {
      const due = [...this.#due.values()];
      this.#due.clear();
      try {
        await markPullWorkersSeen(this.#db, due);
      } catch {
        jobCounters.seenWritesFailed++;
        for (const { key, worker } of due) this.#noted.delete(`${key}/${worker}`);
      }
    }
  }
}

// What it has not asked for in a while it does not serve, and names are bounded as those of a request.
function remember(asked: Noted["asked"], pipelines: readonly string[], now: number): void {
  for (const pipeline of pipelines) {
    asked.delete(pipeline);
    asked.set(pipeline, now);
  }
  for (const [pipeline, atMs] of asked) {
    const isKept = now - atMs < PULL_WORKER_ONLINE_SECONDS * 1_000;
    if (isKept && asked.size <= JOB_LIMITS.pipelines) return;
    // Signs of life without a claim change nothing of what it serves.
    if (pipelines.length > 0) asked.delete(pipeline);
  }
}

const all = new WeakMap<Db, Liveness>();

/** The one of this pool, whoever asks. */
export function livenessOf(db: Db): Liveness {
  let liveness = all.get(db);
  if (!liveness) all.set(db, (liveness = new Liveness(db)));
  return liveness;
}
