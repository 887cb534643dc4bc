import {
  condition,
  continueAsNew,
  defineSignal,
  setHandler,
  sleep,
  workflowInfo,
} from "@temporalio/workflow";
import { WAKE_SIGNAL, type Drained, type DrainRef } from "../contracts/messages.ts";

/**
 * The drain shape: a standing workflow that empties a queue of rows, then ends. The relay starts it
 * again, or signals it, when rows are due.
 */

const wake = defineSignal(WAKE_SIGNAL);

/** Rows of one burst are taken together. */
const DEBOUNCE_MS = 200;
/** A row due later than this is left to the relay. */
const LONGEST_REST_MS = 60_000;

export function drain(once: (ref: DrainRef) => Promise<Drained>) {
  return async (ref: DrainRef): Promise<void> => {
    let woken = false;
    setHandler(wake, () => void (woken = true), { description: "rows are due" });
    await sleep(DEBOUNCE_MS);
    for (;;) {
      woken = false;
      const { more, nextDueAt } = await once(ref);
      if (workflowInfo().continueAsNewSuggested) await continueAsNew(ref);
      if (more || woken) continue;
      const rest = nextDueAt === undefined ? Infinity : nextDueAt - Date.now();
      if (rest > LONGEST_REST_MS) return;
      await condition(() => woken, Math.max(1, rest));
    }
  };
}
