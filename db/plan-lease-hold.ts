import { ENTITY_STATES } from "../contracts/inventory.ts";
import { isClaimed } from "./plan-lease-due.ts";
import type { Queryable, Tx } from "./pool.ts";

/** What a worker does with its claim: keep it, note what it is about to do, end it, give it back. */

const { queued, applying, pending_retry, planning } = ENTITY_STATES;

/** Somebody else has claimed these since. Nothing was written. */
export class LeaseLost extends Error {
  override readonly name = "LeaseLost";
  constructor(lost: number, of: number) {
    super(`${lost} of ${of} entities are claimed by another worker`);
  }
}

/** Puts the end of a claim off. Answers how many entities it still holds. */
export async function extendLease(
  db: Queryable,
  token: string,
  ids: readonly string[],
  leaseSeconds: number,
): Promise<number> {
  const { rowCount } = await db.query(
    `update holdfast.entities
        set lease_until = clock_timestamp() + $3::float8 * interval '1 second'
      where id = any ($2::bigint[]) and token = $1 and lease_until is not null`,
    [token, ids, leaseSeconds],
  );
  return rowCount ?? 0;
}

/** Ends the claim on these, in the transaction that writes what came of them. @throws LeaseLost */
export async function endLease(tx: Tx, token: string, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  const { rowCount } = await tx.query(
    `update holdfast.entities e set token = null, lease_until = null
       from (select id from holdfast.entities where id = any ($2::bigint[]) order by id for update) own
      where e.id = own.id and e.token = $1`,
    [token, ids],
  );
  if (rowCount !== ids.length) throw new LeaseLost(ids.length - (rowCount ?? 0), ids.length);
}

/** Gives these back as they were: due at once, nothing charged. Those that were lost stay lost. */
export async function releaseLease(
  db: Queryable,
  token: string,
  ids?: readonly string[],
): Promise<number> {
  const { rowCount } = await db.query(
    `update holdfast.entities
        set state = ${queued}, token = null, lease_until = null, waits_for = null
      where token = $1 and ${isClaimed()} and state in (${planning}, ${applying})
        and ($2::bigint[] is null or id = any ($2))`,
    [token, ids ?? null],
  );
  return rowCount ?? 0;
}

export interface Applying {
  id: string;
  planHash: string | undefined;
  rule: string | undefined;
}

/** Notes that these are about to be applied, under their claim. @throws LeaseLost */
export async function markApplying(
  tx: Tx,
  token: string,
  those: readonly Applying[],
  leaseSeconds: number,
): Promise<void> {
  if (those.length === 0) return;
  const { rowCount } = await tx.query(
    `update holdfast.entities e
        set state = ${applying}, rule = a.rule,
            plan_hash = coalesce(decode(a.hash, 'hex'), e.plan_hash),
            plans = e.plans + (a.hash is not null)::int,
            planned_at = case when a.hash is null then e.planned_at else clock_timestamp() end,
            planned_xid = case when a.hash is null then e.planned_xid else pg_current_xact_id() end,
            lease_until = clock_timestamp() + $5::float8 * interval '1 second'
       from unnest($2::bigint[], $3::text[], $4::text[]) as a(id, hash, rule)
      where e.id = a.id and e.token = $1`,
    [
      token,
      those.map(({ id }) => id),
      those.map(({ planHash }) => planHash ?? null),
      those.map(({ rule }) => rule ?? null),
      leaseSeconds,
    ],
  );
  if (rowCount !== those.length) throw new LeaseLost(those.length - (rowCount ?? 0), those.length);
}

/** What was approved stays approved, though it has to be tried again. */
export async function keepApproved(
  tx: Tx,
  those: readonly { id: string; approved: string }[],
): Promise<void> {
  if (those.length === 0) return;
  await tx.query(
    `update holdfast.entities e set approved_hash = decode(a.hash, 'hex')
       from unnest($1::bigint[], $2::text[]) as a(id, hash)
      where e.id = a.id and e.state = ${pending_retry}`,
    [those.map(({ id }) => id), those.map(({ approved }) => approved)],
  );
}
