import { setTimeout as sleep } from "node:timers/promises";
import { lookForContention, type ContentionLook } from "../db/contention.ts";
import { openDb } from "../db/pool.ts";

/** The worst of every look. */
export interface Contention extends ContentionLook {
  looks: number;
}

const EVERY_MS = 20;

/**
 * Looks for sessions that wait for one another, over a connection of its own, until it is stopped.
 * Begins with a first look, so that a database that cannot be reached is said at once.
 */
export async function watchContention(
  databaseUrl: string,
  everyMs = EVERY_MS,
): Promise<{ stop(): Promise<Contention> }> {
  const db = openDb({ url: databaseUrl, size: 1, name: "holdfast-contention" });
  const worst: Contention = { looks: 0, depth: 0, waiting: 0, idleInTransactionMs: 0 };
  const look = async () => {
    const seen = await lookForContention(db);
    worst.looks++;
    worst.depth = Math.max(worst.depth, seen.depth);
    worst.waiting = Math.max(worst.waiting, seen.waiting);
    worst.idleInTransactionMs = Math.max(worst.idleInTransactionMs, seen.idleInTransactionMs);
  };
  try {
    await look();
  } catch (error) {
    await db.close();
    throw error;
  }
  const stopping = new AbortController();
  const watching = (async () => {
    while (!stopping.signal.aborted) {
      await sleep(everyMs, undefined, { signal: stopping.signal }).catch(() => undefined);
      await look();
    }
  })();
  // Whoever stops it hears of a fault.
  watching.catch(() => undefined);
  return {
    stop: async () => {
      stopping.abort();
      await watching.finally(() => db.close());
      return worst;
    },
  };
}
