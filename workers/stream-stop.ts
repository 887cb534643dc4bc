import { setTimeout as sleep } from "node:timers/promises";

/** Waits, at most until `signal`. Never throws. */
export async function untilOver(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined);
}
