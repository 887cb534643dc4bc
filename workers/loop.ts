import type { Logger } from "pino";
import { setTimeout as sleep } from "node:timers/promises";

/** A thing done again and again until it is stopped; a fault is logged and waited out. */
export interface Loop {
  /** Does the next round at once. */
  nudge(): void;
  /** Ends after the round at hand. */
  stop(): Promise<void>;
}

const AFTER_FAULT_MS = 2_000;

/** `round` answers how long to wait before the next one, ms. */
export function loop(name: string, log: Logger, round: () => Promise<number>): Loop {
  let stopped = false;
  let rest = new AbortController();
  let faults = 0;
  const run = async () => {
    while (!stopped) {
      let waitMs: number;
      try {
        waitMs = await round();
        faults = 0;
      } catch (error) {
        faults++;
        // The first fault of a row is news, the hundredth is not.
        if (Math.log2(faults) % 1 === 0) log.warn({ err: error, faults }, `${name} failed`);
        waitMs = AFTER_FAULT_MS;
      }
      if (!stopped) await sleep(waitMs, undefined, { signal: rest.signal }).catch(() => undefined);
      rest = new AbortController();
    }
  };
  const ended = run();
  return {
    nudge: () => rest.abort(),
    stop: () => {
      stopped = true;
      rest.abort();
      return ended;
    },
  };
}
