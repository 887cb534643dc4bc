import type { Queryable, Tx } from "./pool.ts";

/** Brakes: row facts that hold back whatever they apply to, for incidents. */

export const BRAKE_TARGETS = ["all", "kind", "tenant", "scope", "queue", "target"] as const;
export type BrakeTarget = (typeof BRAKE_TARGETS)[number];

export interface BrakeRow {
  applies_to: BrakeTarget;
  /** Empty for `all`; a scope is written `tenant/scope`. */
  name: string;
  reason: string;
  set_by: string;
  set_at: Date;
}

/** SQL that is true when a brake holds an operation row `op`. */
export const isBraked = (op: string) => `exists (
  select from holdfast.brakes b
   where (b.applies_to = 'all')
      or (b.applies_to = 'kind' and b.name = ${op}.kind)
      or (b.applies_to = 'tenant' and b.name = ${op}.tenant)
      or (b.applies_to = 'scope' and b.name = ${op}.tenant || '/' || ${op}.scope))`;

/** False when it was set before; the first reason stays. */
export async function setBrake(
  tx: Tx,
  brake: { appliesTo: BrakeTarget; name: string; reason: string; by: string },
): Promise<boolean> {
  const { rowCount } = await tx.query(
    `insert into holdfast.brakes (applies_to, name, reason, set_by) values ($1, $2, $3, $4)
     on conflict do nothing`,
    [brake.appliesTo, brake.name, brake.reason, brake.by],
  );
  return rowCount === 1;
}

/** Lifts a brake and wakes every running operation and drain, which look for themselves. */
export async function liftBrake(tx: Tx, appliesTo: BrakeTarget, name: string): Promise<boolean> {
  const { rowCount } = await tx.query(
    "delete from holdfast.brakes where applies_to = $1 and name = $2",
    [appliesTo, name],
  );
  if (rowCount === 0) return false;
  await tx.query(
    `update holdfast.operations set wake_at = clock_timestamp()
      where state = 'running' and paused_at is null`,
  );
  await tx.query(
    "update holdfast.drains set wake_at = clock_timestamp() where wake_at > clock_timestamp()",
  );
  return true;
}

export async function listBrakes(db: Queryable): Promise<BrakeRow[]> {
  const { rows } = await db.query<BrakeRow>(
    "select applies_to, name, reason, set_by, set_at from holdfast.brakes order by set_at",
  );
  return rows;
}

/** What work asks with every page: may it go on? */
export async function readOrders(
  db: Queryable,
  id: string,
  generation: number,
): Promise<"go" | "cancelled" | "paused" | "gone"> {
  const { rows } = await db.query<{
    open: boolean;
    cancelled: boolean;
    paused: boolean;
    braked: boolean;
  }>(
    `select op.state = 'running' and op.generation = $2 as open,
            op.cancel_requested_at is not null as cancelled,
            op.paused_at is not null as paused, ${isBraked("op")} as braked
       from holdfast.operations op where op.id = $1`,
    [id, generation],
  );
  const row = rows[0];
  if (!row?.open) return "gone";
  if (row.cancelled) return "cancelled";
  return row.paused || row.braked ? "paused" : "go";
}
