import { setImmediate } from "node:timers/promises";
import type { Fields, InventoryObject, ObjectId } from "../contracts/inventory.ts";
import { parseExactJson } from "../domain/exact-json.ts";
import type { Found, Wanted } from "../domain/plan-overlay.ts";
import { column } from "./columns.ts";
import type { Queryable, Tx } from "./pool.ts";

/** What a plan asks the built-in inventory: one statement a question. */

/** A branch is a set of objects of its own: nothing is looked for in another. */
export interface InventoryPlace {
  tenant: string;
  branch: string;
  /** Only what is approved of this plan operation. */
  operation?: string;
}

interface Row {
  key: string | null;
  id: string;
  type: string | null;
  version: number | null;
  data: string | null;
}

/**
 * Probe by probe, which the limits see to: what is known of a tenant that is new, or of tables that have
 * just grown, would have everything of the branch read for each question.
 */
export async function lookUp(db: Queryable, place: InventoryPlace, wanted: Wanted): Promise<Found> {
  if (wanted.keys.length + wanted.ids.length === 0) {
    // A long plan: heartbeats and other work of the process have their turn.
    await setImmediate();
    return { keys: new Map(), objects: [] };
  }
  const { rows } = await db.query<Row>(
    `with held as materialized (
       select w.key, k.object
         from (select distinct key from string_to_table($3, e'\\n', '') as key) w
        cross join lateral (
          select object from holdfast.object_keys
           where tenant = $1 and branch = $2 and key = w.key collate "C" limit 1) k
     )
     select key, object::text as id, null as type, null::int as version, null as data from held
     union all
     select null, o.id::text, o.type, o.version, o.data::text
       from (select object as id from held union select unnest($4::bigint[])) w
      cross join lateral (select * from holdfast.objects where id = w.id limit 1) o
      where o.tenant = $1 and o.branch = $2`,
    [place.tenant, place.branch, column(wanted.keys), wanted.ids],
  );
  const keys = new Map<string, ObjectId>();
  const objects: InventoryObject[] = [];
  for (const { key, id, type, version, data } of rows) {
    if (key !== null) keys.set(key, id);
    else
      objects.push({ id, type: type!, version: version!, data: parseExactJson(data!) as Fields });
  }
  return { keys, objects };
}

/** Ids for what a plan creates: without end, and nobody else's. */
export async function objectIds(tx: Tx): Promise<() => ObjectId> {
  const { rows } = await tx.query<{ block: string }>(
    "select nextval('holdfast.object_id_blocks') as block",
  );
  let last = BigInt(rows[0]!.block) * IDS_OF_A_BLOCK;
  return () => (last++).toString();
}

/** More than the objects that a batch can name, however often it is planned. */
const IDS_OF_A_BLOCK = 1n << 24n;

export async function countObjects(db: Queryable, place: InventoryPlace): Promise<number> {
  const { rows } = await db.query<{ n: string }>(
    "select count(*) as n from holdfast.objects where tenant = $1 and branch = $2",
    [place.tenant, place.branch],
  );
  return Number(rows[0]!.n);
}
