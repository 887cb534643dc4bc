import type { Leased } from "../db/plan-lease.ts";
import { extendLease, LeaseLost, releaseLease } from "../db/plan-lease-hold.ts";
import type { Db } from "../db/pool.ts";

/**
 * A claim in this process: kept alive while its work goes on, and known to be over by this process's
 * own clock, which runs on while the process stands still. Its signal ends calls that are on their way.
 */
export class TargetLease {
  readonly token: string;
  readonly signal: AbortSignal;
  readonly #db: Db;
  readonly #seconds: number;
  readonly #held: Set<string>;
  readonly #over = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #goodUntil: number;
  #extending: Promise<void> | undefined;

  constructor(db: Db, leased: Leased, seconds: number, signal: AbortSignal, claimedAt: number) {
    this.#db = db;
    this.token = leased.token;
    this.#seconds = seconds;
    this.#held = new Set(leased.entities.map(({ id }) => id));
    this.#goodUntil = claimedAt + seconds * 1_000;
    this.signal = AbortSignal.any([signal, this.#over.signal]);
    this.#timer = setInterval(() => this.#tick(), (seconds * 1_000) / 4);
  }

  get seconds(): number {
    return this.#seconds;
  }

  /** Asked before every call: from here on the effect may be somebody else's. @throws LeaseLost */
  assertHeld(): void {
    this.signal.throwIfAborted();
    if (performance.now() < this.#goodUntil) return;
    this.#over.abort(new LeaseLost(this.#held.size, this.#held.size));
    this.signal.throwIfAborted();
  }

  /** What came of these is written: they are held no more. */
  drop(ids: readonly string[]): void {
    for (const id of ids) this.#held.delete(id);
  }

  /** Gives back what is left. False when that could not be written. */
  async end(): Promise<boolean> {
    clearInterval(this.#timer);
    await this.#extending;
    if (this.#held.size === 0) return true;
    return releaseLease(this.#db, this.token).then(
      () => true,
      () => false,
    );
  }

  #tick(): void {
    if (performance.now() >= this.#goodUntil) {
      this.#over.abort(new LeaseLost(this.#held.size, this.#held.size));
      return;
    }
    this.#extending ??= this.#extend().finally(() => (this.#extending = undefined));
  }

  // Not said, it ends at its time.
  async #extend(): Promise<void> {
    const from = performance.now();
    const held = [...this.#held];
    try {
      const left = await extendLease(this.#db, this.token, held, this.#seconds);
      const wanted = held.filter((id) => this.#held.has(id)).length;
      if (left < wanted) this.#over.abort(new LeaseLost(wanted - left, wanted));
      else this.#goodUntil = from + this.#seconds * 1_000;
    } catch {
      return;
    }
  }
}
