import type { DrainRef } from "../contracts/messages.ts";
import type { Db } from "../db/pool.ts";
import { markDrainSeen } from "../db/relay.ts";

/** Well within what `markDrainSeen` asks of the relay. */
const EVERY_MS = 10_000;

/**
 * Runs a drain's work and says all the while that it is at it, however long one step takes: the relay
 * need not wake what looks again anyway. Nothing is said after this has answered.
 */
export async function atWork<T>(
  db: Db,
  drain: DrainRef,
  work: () => Promise<T>,
  everyMs = EVERY_MS,
): Promise<T> {
  await markDrainSeen(db, drain, false);
  let saying: Promise<void> = Promise.resolve();
  const timer = setInterval(() => {
    // Unsaid, it costs the workflow one needless look.
    saying = saying.then(() => markDrainSeen(db, drain, false)).catch(() => undefined);
  }, everyMs);
  try {
    return await work();
  } finally {
    clearInterval(timer);
    await saying;
  }
}
