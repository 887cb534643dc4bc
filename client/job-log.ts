import { setTimeout as pause } from "node:timers/promises";
import { appendLogs, type NewLogLine } from "../db/logs.ts";
import type { Db } from "../db/pool.ts";
import { jobCounters } from "./job-counters.ts";

/** Lines that may wait to be written; more are dropped, and counted. */
const MOST_WAITING = 10_000;
const LINES_AT_ONCE = 1_000;
/** How long a post waits for its lines: a log that is stuck holds up nobody. */
const WAIT_MS = 250;

/** Writes lines after what they tell of was committed, one statement at a time. Never throws. */
export class JobLog {
  readonly #db: Db;
  #waiting: NewLogLine[] = [];
  #underWay = 0;
  #written = 0;
  #writing: Promise<void> | undefined;

  constructor(db: Db) {
    this.#db = db;
  }

  /** Ends when they are written, or soon after if that takes long. */
  async write(lines: readonly NewLogLine[]): Promise<void> {
    if (lines.length === 0) return;
    if (this.#waiting.length + lines.length > MOST_WAITING) {
      jobCounters.logWritesFailed++;
      return;
    }
    this.#waiting.push(...lines);
    await this.end();
  }

  /** Ends when everything so far is written, or soon after if that takes long. */
  async end(): Promise<void> {
    if (this.#waiting.length === 0 && !this.#writing) return;
    const stop = new AbortController();
    await Promise.race([
      this.#writeAll(),
      pause(WAIT_MS, undefined, { signal: stop.signal }).catch(() => undefined),
    ]);
    stop.abort();
  }

  // Not for what others add meanwhile.
  async #writeAll(): Promise<void> {
    const last = this.#written + this.#waiting.length + this.#underWay;
    while (this.#written < last) {
      this.#writing ??= this.#writeSome().finally(() => {
        this.#writing = undefined;
      });
      await this.#writing;
    }
  }

  async #writeSome(): Promise<void> {
    const lines = this.#waiting.splice(0, LINES_AT_ONCE);
    this.#underWay = lines.length;
    try {
      await appendLogs(this.#db, lines);
    } catch {
      jobCounters.logWritesFailed++;
    }
    this.#underWay = 0;
    this.#written += lines.length;
  }
}

const all = new WeakMap<Db, JobLog>();

/** The one of this pool, whoever writes. */
export function jobLogOf(db: Db): JobLog {
  let log = all.get(db);
  if (!log) all.set(db, (log = new JobLog(db)));
  return log;
}
