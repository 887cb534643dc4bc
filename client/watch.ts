import { setTimeout as sleep } from "node:timers/promises";

const WATCH_EVERY_MS = 500;

/**
 * Each change of a view until it is terminal, that one included. Polls: one look a turn, no session
 * state, and no reader costs a writer anything. Ends early, with an AbortError, by `signal`.
 */
export async function* watch<V extends { finishedAt: string | null }>(
  look: () => Promise<V>,
  { signal, everyMs = WATCH_EVERY_MS }: { signal?: AbortSignal; everyMs?: number },
): AsyncIterable<V> {
  let before = "";
  for (;;) {
    const seen = await look();
    const now = JSON.stringify(seen);
    if (now !== before) yield seen;
    before = now;
    if (seen.finishedAt !== null) return;
    await sleep(everyMs, undefined, signal ? { signal } : {});
  }
}
