import type { Fields } from "../contracts/inventory.ts";
import { parseExactJson } from "../domain/exact-json.ts";
import { objectKeys } from "../domain/plan-keys.ts";
import { keyRules, typesToKeyAgain } from "../domain/registry-keys.ts";
import type { Registry } from "../domain/registry.ts";
import { column } from "./columns.ts";
import type { InventoryPlace } from "./inventory-look-up.ts";
import type { Tx } from "./pool.ts";

/**
 * Names of stored objects, when the registry has other matchers than those they were written by. A plan
 * looks for objects by their names, so none is made before all of a branch are as the registry says. What
 * nobody is called any more goes first: it may stand in the way of who is called that now.
 */

interface Keyed {
  fingerprint: string;
  types: Record<string, string>;
  stage: "drop" | "add" | "done";
  /** Types that are keyed again. */
  again: string[];
  after_type: string;
  after_object: string;
}

/** Objects of one transaction. */
const PAGE = 2_000;

/**
 * Whether names are as this registry makes them, by whoever holds the inventory of the branch. When not,
 * the next page of objects is named anew: commit, and ask again until it is true.
 */
export async function namesAreKept(
  tx: Tx,
  place: InventoryPlace,
  registry: Registry,
): Promise<boolean> {
  const rules = keyRules(registry);
  const before = await readKeyed(tx, place);
  if (before?.stage === "done" && before.fingerprint === rules.fingerprint) return true;
  if (!before) {
    await writeKeyed(tx, place, { ...rules, ...DONE });
    return true;
  }
  if (before.fingerprint === rules.fingerprint) return nextPage(tx, place, registry, before);
  const unfinished = before.stage === "done" ? [] : before.again;
  const again = [...new Set([...unfinished, ...typesToKeyAgain(rules, before.types)])];
  return nextPage(tx, place, registry, { ...rules, ...DONE, stage: "drop", again });
}

const DONE = { stage: "done" as const, again: [], after_type: "", after_object: "0" };

async function nextPage(
  tx: Tx,
  place: InventoryPlace,
  registry: Registry,
  keyed: Keyed,
): Promise<boolean> {
  const page = await objectsAfter(tx, place, keyed);
  const names = page.flatMap(({ id, type: name, data }) => {
    const type = registry.types.get(name);
    if (!type) return [];
    const keys = new Set(objectKeys(type, parseExactJson(data) as Fields).values());
    return [...keys].map((key) => ({ id, key }));
  });
  if (keyed.stage === "drop") await dropOthers(tx, page, names);
  else await addMissing(tx, place, names);
  const last = page.at(-1);
  if (last && page.length === PAGE) {
    await writeKeyed(tx, place, { ...keyed, after_type: last.type, after_object: last.id });
    return false;
  }
  const next = { ...keyed, after_type: "", after_object: "0" };
  if (keyed.stage === "drop") return nextPage(tx, place, registry, { ...next, stage: "add" });
  await writeKeyed(tx, place, { ...next, ...DONE });
  return true;
}

async function readKeyed(tx: Tx, { tenant, branch }: InventoryPlace): Promise<Keyed | undefined> {
  const { rows } = await tx.query<Keyed>(
    `select encode(fingerprint, 'hex') as fingerprint, types, stage, again, after_type, after_object
       from holdfast.inventory_keyed where tenant = $1 and branch = $2`,
    [tenant, branch],
  );
  return rows[0];
}

async function writeKeyed(tx: Tx, place: InventoryPlace, keyed: Keyed): Promise<void> {
  await tx.query(
    `insert into holdfast.inventory_keyed
       (tenant, branch, fingerprint, types, stage, again, after_type, after_object)
     values ($1, $2, decode($3, 'hex'), $4, $5, $6, $7, $8)
     on conflict (tenant, branch) do update
        set fingerprint = excluded.fingerprint, types = excluded.types, stage = excluded.stage,
            again = excluded.again, after_type = excluded.after_type,
            after_object = excluded.after_object`,
    [
      place.tenant,
      place.branch,
      keyed.fingerprint,
      JSON.stringify(keyed.types),
      keyed.stage,
      keyed.again,
      keyed.after_type,
      keyed.after_object,
    ],
  );
}

interface Stored {
  id: string;
  type: string;
  data: string;
}

async function objectsAfter(
  tx: Tx,
  { tenant, branch }: InventoryPlace,
  { again, after_type, after_object }: Keyed,
): Promise<Stored[]> {
  const { rows } = await tx.query<Stored>(
    `select id, type, data::text as data from holdfast.objects
      where tenant = $1 and branch = $2 and type = any ($3) and (type, id) > ($4, $5)
      order by type, id limit ${PAGE}`,
    [tenant, branch, again, after_type, after_object],
  );
  return rows;
}

interface ObjectName {
  id: string;
  key: string;
}

async function dropOthers(
  tx: Tx,
  page: readonly Stored[],
  names: readonly ObjectName[],
): Promise<void> {
  await tx.query(
    `delete from holdfast.object_keys
      where object = any ($1::bigint[])
        and (object, key) not in (
          select n.object::bigint, n.key collate "C"
            from rows from (string_to_table($2, e'\\n'), string_to_table($3, e'\\n'))
              as n(object, key))`,
    [page.map(({ id }) => id), ...columnsOf(names)],
  );
}

// Two objects may be called the same by a matcher that is new: the older one is then.
async function addMissing(
  tx: Tx,
  { tenant, branch }: InventoryPlace,
  names: readonly ObjectName[],
): Promise<void> {
  await tx.query(
    `insert into holdfast.object_keys (tenant, branch, key, object)
     select $1, $2, key, object::bigint
       from rows from (string_to_table($3, e'\\n'), string_to_table($4, e'\\n')) as n(object, key)
     on conflict do nothing`,
    [tenant, branch, ...columnsOf(names)],
  );
}

function columnsOf(names: readonly ObjectName[]): [string, string] {
  return [column(names.map(({ id }) => id)), column(names.map(({ key }) => key))];
}
