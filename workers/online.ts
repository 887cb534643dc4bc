import { hostname } from "node:os";
import { assertReachable, openDb } from "../db/pool.ts";
import { onlineWorkers } from "../db/workers.ts";

/**
 * Workers of this machine that have said within the last 30 s that they live: what a container's
 * health check asks. @throws Unavailable
 */
export async function onlineHere(at: { url: string; schema?: string }): Promise<string[]> {
  const db = openDb({ ...at, size: 1, name: "holdfast-check" });
  try {
    await assertReachable(db);
    const here = `holdfast@${hostname()}#`;
    const workers = await onlineWorkers(db);
    return workers.map(({ identity }) => identity).filter((name) => name.startsWith(here));
  } finally {
    await db.close();
  }
}
