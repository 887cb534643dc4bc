import type { ObjectId } from "../contracts/inventory.ts";
import { column } from "./columns.ts";
import type { InventoryPlace } from "./inventory-look-up.ts";
import { expectAll } from "./inventory-write.ts";
import type { Queryable, Tx } from "./pool.ts";

/** Objects that go, with their names and what they refer to. */

export interface ObjectRemoval {
  id: ObjectId;
  /** As the plan saw it. */
  version: number;
  keys: readonly string[];
}

/** @throws StalePlan when an object is not as the plan saw it; then nothing of the transaction may stay */
export async function removeObjects(
  tx: Tx,
  place: InventoryPlace,
  removals: readonly ObjectRemoval[],
): Promise<void> {
  if (removals.length === 0) return;
  await deleteKeys(tx, place, removals);
  await tx.query("delete from holdfast.object_refs where from_object = any ($1::bigint[])", [
    removals.map(({ id }) => id),
  ]);
  const { rowCount } = await tx.query(
    `delete from holdfast.objects o
      using rows from (string_to_table($1, e'\\n'), string_to_table($2, e'\\n')) as w(id, version)
      where o.id = w.id::bigint and o.version = w.version::int`,
    [column(removals.map(({ id }) => id)), column(removals.map(({ version }) => String(version)))],
  );
  expectAll(rowCount, removals.length, "objects");
}

async function deleteKeys(
  tx: Tx,
  place: InventoryPlace,
  removals: readonly ObjectRemoval[],
): Promise<void> {
  const keys = removals.flatMap(({ keys }) => keys);
  if (keys.length === 0) return;
  const { rowCount } = await tx.query(
    `delete from holdfast.object_keys where ctid = any (array(
       select k.ctid from string_to_table($3, e'\\n') as d(key)
        cross join lateral (
          select ctid, object from holdfast.object_keys
           where tenant = $1 and branch = $2 and key = d.key collate "C" limit 1) k
        where k.object = any ($4::bigint[])))`,
    [place.tenant, place.branch, column(keys), removals.map(({ id }) => id)],
  );
  expectAll(rowCount, keys.length, "names");
}

/** Ids of what refers to each of these objects. */
export async function referrersOf(
  db: Queryable,
  ids: readonly ObjectId[],
): Promise<Map<ObjectId, ObjectId[]>> {
  const { rows } = await db.query<{ id: string; referrers: string[] }>(
    `select to_object::text as id, array_agg(from_object::text) as referrers
       from holdfast.object_refs where to_object = any ($1::bigint[]) group by 1`,
    [ids],
  );
  return new Map(rows.map(({ id, referrers }) => [id, referrers]));
}
