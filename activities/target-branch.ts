import { learnDefaultBranch } from "../db/targets.ts";
import type { Db } from "../db/pool.ts";
import type { Target } from "../domain/target.ts";

export interface BranchDeps {
  db: Db;
  name: string;
  target: Target;
  log?: { warn(fields: object, message: string): void };
}

/** While the branch is not known nothing of what names none can happen: it is asked for soon again. */
const UNKNOWN_MS = 5_000;
const CALL_MS = 30_000;

/**
 * Keeps what is known of a target's default branch up to date; it alone asks. An answer that cannot be
 * had changes nothing. What all read is a row.
 */
export class DefaultBranch {
  readonly #deps: BranchDeps;
  readonly #ended = new AbortController();
  #known: string | undefined;
  #loop: Promise<void> | undefined;
  #asking: Promise<void> | undefined;
  #wake: (() => void) | undefined;

  constructor(deps: BranchDeps) {
    this.#deps = deps;
  }

  /** As last heard, without asking; undefined: not known yet. */
  get known(): string | undefined {
    return this.#known;
  }

  /** Asks at once, and then ever again. A second start does nothing. */
  start(): void {
    this.#loop ??= this.#run();
  }

  /** Has it asked now; many such wishes are one call. Does not wait. */
  soon(): void {
    this.#wake?.();
  }

  /** Asks now. Never throws: what is wrong is logged, and what was known stays known. */
  refresh(): Promise<void> {
    this.#asking ??= this.#ask().finally(() => (this.#asking = undefined));
    return this.#asking;
  }

  async stop(): Promise<void> {
    this.#ended.abort();
    this.#wake?.();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { signal } = this.#ended;
    const { settings } = this.#deps.target;
    const everyMs = "branchRefreshMs" in settings ? settings.branchRefreshMs : 3_600_000;
    while (!signal.aborted) {
      await this.refresh();
      if (signal.aborted) return;
      const waitMs = this.#known === undefined ? Math.min(UNKNOWN_MS, everyMs) : everyMs;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, waitMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = undefined;
    }
  }

  async #ask(): Promise<void> {
    const { db, name, target, log } = this.#deps;
    try {
      const signal = AbortSignal.any([this.#ended.signal, AbortSignal.timeout(CALL_MS)]);
      const branch = await target.defaultBranch(signal);
      await learnDefaultBranch(db, name, branch);
      this.#known = branch;
    } catch (error) {
      if (this.#ended.signal.aborted) return;
      const why = error instanceof Error ? error.message : String(error);
      log?.warn({ target: name, known: this.#known }, `the default branch cannot be read: ${why}`);
    }
  }
}
