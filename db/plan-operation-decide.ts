import { createHash } from "node:crypto";
import type { Queryable, Tx } from "./pool.ts";

/** What an approval of a whole plan binds to, and the note of who decided about it. */

export interface WaitingEntity {
  id: string;
  item: number;
  planHash: string;
}

/** What waits for a decision, in order of items. */
export async function waitingEntities(db: Queryable, operation: string): Promise<WaitingEntity[]> {
  const { rows } = await db.query<WaitingEntity>(
    `select id, item, encode(plan_hash, 'hex') as "planHash" from holdfast.entities
      where operation = $1 and state = 2 and approved_hash is null`,
    [operation],
  );
  return rows.toSorted((a, b) => a.item - b.item);
}

/** The same, held until the transaction ends. Locks in order of id, as everybody does. */
export async function holdWaiting(tx: Tx, operation: string): Promise<WaitingEntity[]> {
  const { rows } = await tx.query<WaitingEntity>(
    `select id, item, encode(plan_hash, 'hex') as "planHash" from holdfast.entities
      where operation = $1 and state = 2 and approved_hash is null
      order by id for update`,
    [operation],
  );
  return rows.toSorted((a, b) => a.item - b.item);
}

/** 64 hex digits over the plans of what waits, item by item; null: nothing waits. */
export function hashOfWaiting(waiting: readonly WaitingEntity[]): string | null {
  if (waiting.length === 0) return null;
  const hash = createHash("sha256");
  for (const { item, planHash } of waiting) hash.update(`${item} ${planHash}\n`);
  return hash.digest("hex");
}

/** Who decided last about all that waited. */
export async function noteDecision(
  tx: Tx,
  operation: string,
  what: "approve" | "reject",
  by: string,
  reason: string | undefined,
): Promise<void> {
  await tx.query(
    `update holdfast.plans
        set decision = $2, decided_by = $3, decided_at = clock_timestamp(), reason = $4
      where operation_id = $1`,
    [operation, what, by, reason ?? null],
  );
}

/** Of entities that are named, those that are none of the operation. */
export async function notOfPlan(
  db: Queryable,
  operation: string,
  ids: readonly string[],
): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `select w.id from unnest($2::bigint[]) as w(id)
      where not exists (select from holdfast.entities e where e.id = w.id and e.operation = $1)
      order by 1`,
    [operation, ids],
  );
  return rows.map(({ id }) => id);
}
