import { countObjects, type InventoryPlace } from "./inventory-look-up.ts";
import type { Queryable, Tx } from "./pool.ts";

/** How much has changed of a branch in the window that is open, and whether it is held. */

export interface GuardWindow {
  /** Objects when the window began. */
  objects: number;
  changed: number;
  heldBecause?: string | undefined;
}

const WINDOW_SECONDS = 3_600;

/** The open window; a new one when there is none, or it is over and nothing is held. */
export async function openWindow(tx: Tx, place: InventoryPlace): Promise<GuardWindow> {
  const { rows } = await tx.query<{
    objects: string;
    changed: string;
    held_because: string | null;
  }>(
    `select objects, changed, held_because from holdfast.inventory_guards
      where tenant = $1 and branch = $2
        and (held_at is not null or window_at > clock_timestamp() - $3 * interval '1 second')`,
    [place.tenant, place.branch, WINDOW_SECONDS],
  );
  const row = rows[0];
  if (row) {
    const heldBecause = row.held_because ?? undefined;
    return { objects: Number(row.objects), changed: Number(row.changed), heldBecause };
  }
  const objects = await countObjects(tx, place);
  await tx.query(
    `insert into holdfast.inventory_guards (tenant, branch, objects) values ($1, $2, $3)
     on conflict (tenant, branch) do update
        set window_at = clock_timestamp(), objects = excluded.objects, changed = 0`,
    [place.tenant, place.branch, objects],
  );
  return { objects, changed: 0 };
}

/** Counts what a batch changed, and holds the branch when there is a reason to. */
export async function countChanged(
  tx: Tx,
  place: InventoryPlace,
  changed: number,
  heldBecause: string | undefined,
): Promise<void> {
  if (changed === 0 && heldBecause === undefined) return;
  await tx.query(
    `update holdfast.inventory_guards
        set changed = changed + $3, held_because = $4,
            held_at = case when $4::text is not null then clock_timestamp() end
      where tenant = $1 and branch = $2`,
    [place.tenant, place.branch, changed, heldBecause ?? null],
  );
}

/** Lets a held branch go on, with a new window. False when it is not held. */
export async function liftHold(db: Queryable, place: InventoryPlace, by: string): Promise<boolean> {
  const { rowCount } = await db.query(
    `update holdfast.inventory_guards
        set held_at = null, held_because = null, changed = 0, window_at = clock_timestamp(),
            objects = (select count(*) from holdfast.objects where tenant = $1 and branch = $2),
            lifted_by = $3, lifted_at = clock_timestamp()
      where tenant = $1 and branch = $2 and held_at is not null`,
    [place.tenant, place.branch, by],
  );
  return rowCount === 1;
}
