import { setTimeout as sleep } from "node:timers/promises";
import { openDb, type Db } from "../db/pool.ts";

const WATCHER = "bench-watcher";
const LOOK_MS = 5;

/**
 * The longest chain of sessions that wait for each other's rows while `work` is under way, looked for
 * every few milliseconds: 0 when nobody waits, 1 when one waits for another that does not.
 */
export async function longestChain(databaseUrl: string, work: () => Promise<unknown>) {
  const db = openDb({ url: databaseUrl, size: 1, name: WATCHER });
  let ended = false;
  let longest = 0;
  const watching = (async () => {
    while (!ended) {
      longest = Math.max(longest, await chainNow(db));
      await sleep(LOOK_MS);
    }
  })();
  try {
    await work();
  } finally {
    ended = true;
    await watching.finally(() => db.close());
  }
  return longest;
}

// Extending a file is waited for too, by whoever appends anywhere; nobody's row stands behind it.
async function chainNow(db: Db): Promise<number> {
  const { rows } = await db.query<{ pid: number; blockers: number[] }>(
    `select pid, pg_blocking_pids(pid) as blockers from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'
        and wait_event in ('transactionid', 'tuple')`,
  );
  const waits = new Map(rows.map(({ pid, blockers }) => [pid, blockers]));
  const depth = (pid: number, seen: ReadonlySet<number>): number => {
    const blockers = waits.get(pid);
    if (!blockers || blockers.length === 0 || seen.has(pid)) return 0;
    const behind = new Set([...seen, pid]);
    return 1 + Math.max(...blockers.map((blocker) => depth(blocker, behind)));
  };
  return Math.max(0, ...[...waits.keys()].map((pid) => depth(pid, new Set())));
}
