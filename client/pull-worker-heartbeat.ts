import type { ClaimedBatch } from "../contracts/job.ts";
import type { PullJobs } from "./jobs-over-http.ts";

/** A batch that a pull worker holds. */
export interface Held {
  batch: ClaimedBatch;
  /** Nothing more of it will count, or the worker stops. */
  abort: AbortController;
  /** Its lease is over, or its job is: there is nothing to give back. */
  ended?: boolean;
}

/** Signs of life within the time between two that a lease allows. */
const BEATS = 3;
const LEAST_MS = 250;

/** Extends what is held, all of it in one request, as often as the most impatient lease asks for. */
export class Heartbeat {
  readonly #jobs: Pick<PullJobs, "extend">;
  readonly #tell: (error: unknown, what: string) => void;
  readonly #held = new Map<string, Held>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #dueAt = Infinity;

  constructor(jobs: Pick<PullJobs, "extend">, tell: (error: unknown, what: string) => void) {
    this.#jobs = jobs;
    this.#tell = tell;
  }

  add(held: Held): void {
    this.#held.set(held.batch.handle, held);
    this.#schedule();
  }

  remove(held: Held): void {
    this.#held.delete(held.batch.handle);
    if (this.#held.size === 0) this.stop();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#dueAt = Infinity;
  }

  #schedule(): void {
    if (this.#held.size === 0) return;
    const seconds = Math.min(
      ...[...this.#held.values()].map(({ batch }) => batch.heartbeatSeconds),
    );
    const afterMs = Math.max(LEAST_MS, (seconds * 1_000) / BEATS);
    const dueAt = Date.now() + afterMs;
    if (dueAt >= this.#dueAt) return;
    clearTimeout(this.#timer);
    this.#dueAt = dueAt;
    this.#timer = setTimeout(() => void this.#beat(), afterMs);
  }

  async #beat(): Promise<void> {
    this.#dueAt = Infinity;
    const handles = [...this.#held.keys()];
    if (handles.length === 0) return;
    // The next one is due whether or not this one is answered in time.
    this.#schedule();
    try {
      const { leases } = await this.#jobs.extend({ handles });
      for (const { handle, status, cancelled } of leases) {
        if (status === "ended" || cancelled) this.#end(handle, cancelled);
      }
    } catch (error) {
      this.#tell(error, "extending leases");
    }
  }

  #end(handle: string, cancelled: boolean): void {
    const held = this.#held.get(handle);
    if (!held) return;
    held.ended = true;
    held.abort.abort(
      new Error(cancelled ? "the job was cancelled or has ended" : "the lease is over"),
    );
    this.remove(held);
  }
}
