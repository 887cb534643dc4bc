import type { ObjectId } from "../contracts/inventory.ts";
import { column } from "./columns.ts";
import { expectAll } from "./inventory-write.ts";
import type { Queryable, Tx } from "./pool.ts";

/** Objects that go, with their names and what they refer to. */

export interface ObjectRemoval {
  id: ObjectId;
  /** As the plan saw it. */
  version: number;
}

/** @throws StalePlan when an object is not as the plan saw it; then nothing of the transaction may stay */
export async function removeObjects(tx: Tx, removals: readonly ObjectRemoval[]): Promise<void> {
  if (removals.length === 0) return;
  const ids = removals.map(({ id }) => id);
  await tx.query("delete from holdfast.object_keys where object = any ($1::bigint[])", [ids]);
  await tx.query("delete from holdfast.object_refs where from_object = any ($1::bigint[])", [ids]);
  const { rowCount } = await tx.query(
    `delete from holdfast.objects o
      using rows from (string_to_table($1, e'\\n'), string_to_table($2, e'\\n')) as w(id, version)
      where o.id = w.id::bigint and o.version = w.version::int`,
    [column(ids), column(removals.map(({ version }) => String(version)))],
  );
  expectAll(rowCount, removals.length, "objects");
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
