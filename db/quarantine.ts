import { kept } from "../contracts/text.ts";
import type { Queryable, Tx } from "./pool.ts";

/** Keys that keep failing in a drain: counted, and held once they have failed often enough. */

/** Counts a failure. Answers how many there are; at `cap` the key is held, visibly. */
export async function countFailure(
  tx: Tx,
  failure: { queue: string; scope: string; key: string; reason: string; cap: number },
): Promise<number> {
  const { rows } = await tx.query<{ attempts: number }>(
    `insert into holdfast.quarantine as q (queue, scope, key, reason, held)
     values ($1, $2, $3, $4, $5 <= 1)
     on conflict (queue, scope, key) do update
        set attempts = q.attempts + 1, reason = excluded.reason, held = q.attempts + 1 >= $5,
            at = clock_timestamp()
     returning attempts`,
    [failure.queue, failure.scope, failure.key, kept(failure.reason), failure.cap],
  );
  return rows[0]!.attempts;
}

/** Keys that went well after all. */
export async function forgetFailures(
  tx: Tx,
  queue: string,
  scope: string,
  keys: readonly string[],
): Promise<void> {
  await tx.query(
    "delete from holdfast.quarantine where queue = $1 and scope = $2 and key = any($3)",
    [queue, scope, keys],
  );
}

export interface HeldKey {
  queue: string;
  scope: string;
  key: string;
  reason: string;
  attempts: number;
  at: Date;
}

export async function listHeld(db: Queryable, limit: number): Promise<HeldKey[]> {
  const { rows } = await db.query<HeldKey>(
    `select queue, scope, key, reason, attempts, at from holdfast.quarantine
      where held order by at desc limit $1`,
    [limit],
  );
  return rows;
}
