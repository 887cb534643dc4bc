import type { Fields, InventoryObject, ObjectId } from "../../contracts/inventory.ts";
import { objectIds, type InventoryPlace } from "../../db/inventory-look-up.ts";
import { writeObjects } from "../../db/inventory-write.ts";
import type { Db, Queryable } from "../../db/pool.ts";
import { parseExactJson } from "../../domain/exact-json.ts";
import { objectKeys } from "../../domain/plan-keys.ts";
import type { Registry } from "../../domain/registry.ts";

/** Puts objects that refer to nothing into a branch. */
export async function seedInventory(
  db: Db,
  registry: Registry,
  place: InventoryPlace,
  seed: readonly InventoryObject[],
): Promise<void> {
  await db.transaction(async (tx) => {
    const newId = await objectIds(tx);
    const writes = seed.map(({ type, data }) => ({
      id: newId(),
      type,
      version: 0,
      data,
      fields: Object.keys(data),
      addedKeys: [...objectKeys(registry.types.get(type)!, data).values()],
      droppedKeys: [],
      refs: [],
    }));
    await writeObjects(tx, place, writes);
  });
}

export async function inventoryOf(
  db: Queryable,
  place: InventoryPlace,
): Promise<Map<ObjectId, InventoryObject>> {
  const { rows } = await db.query<Omit<InventoryObject, "data"> & { data: string }>(
    `select id, type, version, data::text as data from holdfast.objects
      where tenant = $1 and branch = $2 order by id`,
    [place.tenant, place.branch],
  );
  return new Map(rows.map((row) => [row.id, { ...row, data: parseExactJson(row.data) as Fields }]));
}

/** What is wrong with names and references of a branch; nothing when all is well. */
export async function inventoryFaults(
  db: Queryable,
  registry: Registry,
  place: InventoryPlace,
): Promise<string[]> {
  const objects = await inventoryOf(db, place);
  const wantedKeys = new Set<string>();
  const wantedRefs = new Set<string>();
  for (const { id, type: name, data } of objects.values()) {
    const type = registry.types.get(name)!;
    for (const key of objectKeys(type, data).values()) wantedKeys.add(`${id} ${key}`);
    for (const field of type.fields.values()) {
      const value = data[field.name];
      if (value === undefined || !field.kind.startsWith("reference")) continue;
      const ids = Array.isArray(value) ? (value as string[]) : [value as string];
      for (const to of ids) wantedRefs.add(`${id} refers to ${to}`);
    }
  }
  const { rows: keys } = await db.query<{ text: string }>(
    `select object || ' ' || key as text from holdfast.object_keys where tenant = $1 and branch = $2`,
    [place.tenant, place.branch],
  );
  const { rows: refs } = await db.query<{ text: string }>(
    `select from_object || ' refers to ' || to_object as text from holdfast.object_refs
      where from_object = any ($1::bigint[])`,
    [[...objects.keys()]],
  );
  return [
    ...differences(wantedKeys, new Set(keys.map(({ text }) => text))),
    ...differences(wantedRefs, new Set(refs.map(({ text }) => text))),
  ];
}

function differences(wanted: ReadonlySet<string>, found: ReadonlySet<string>): string[] {
  return [
    ...[...wanted].filter((one) => !found.has(one)).map((one) => `missing: ${one}`),
    ...[...found].filter((one) => !wanted.has(one)).map((one) => `too much: ${one}`),
  ];
}

/** The states of a tenant's entities, in order of acceptance. */
export async function statesOf(db: Queryable, tenant: string): Promise<number[]> {
  const { rows } = await db.query<{ state: number }>(
    "select state from holdfast.entities where tenant = $1 order by id",
    [tenant],
  );
  return rows.map(({ state }) => state);
}
