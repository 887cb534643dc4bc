import type { Fields, InventoryObject } from "../../contracts/inventory.ts";
import type { InventoryPlace } from "../../db/inventory-look-up.ts";
import type { Queryable } from "../../db/pool.ts";
import { parseExactJson } from "../../domain/exact-json.ts";
import type { Registry } from "../../domain/registry.ts";
import { inventoryFaults, inventoryOf } from "./inventory-database.ts";
import { createOracle } from "./inventory-oracle.ts";
import { contentOf } from "./memory-inventory.ts";

/**
 * Says what is wrong with a branch in which everything has ended, by other means than the ones that
 * brought it there: the entities in order of acceptance, told to the oracle one by one. For branches
 * where rules apply everything, and what waits for a parent is given up at once.
 */
export interface InventoryCheck {
  registry: Registry;
  seed: readonly InventoryObject[];
  isReference: (type: string, field: string) => boolean;
  /** Entities that were sent, each message once. */
  sent: number;
}

const ENDS: Record<number, string> = { 3: "changed", 5: "unchanged", 4: "refused", 7: "refused" };
const SUPERSEDED = 11;
const SHOWN = 5;

export async function inventoryProblems(
  db: Queryable,
  place: InventoryPlace,
  check: InventoryCheck,
): Promise<string[]> {
  return [
    ...(await unaccounted(db, place, check.sent)),
    ...(await otherwiseThanOracle(db, place, check)),
    ...(await inventoryFaults(db, check.registry, place)),
    ...(await countedTwice(db, place)),
    ...(await notOnce(db, place)),
    ...(await backwards(db, place)),
  ];
}

/** Every entity that was sent has a row, or is counted as a copy of one. */
async function unaccounted(
  db: Queryable,
  { tenant }: InventoryPlace,
  sent: number,
): Promise<string[]> {
  const { rows } = await db.query<{ entities: number; copies: number }>(
    `select (select count(*)::int from holdfast.entities where tenant = $1 and not removal) as entities,
            (select coalesce(sum(c.n), 0)::int from holdfast.entity_copies c
               join holdfast.ingest_requests r on r.id = c.request where r.tenant = $1) as copies`,
    [tenant],
  );
  const { entities, copies } = rows[0]!;
  if (entities + copies === sent) return [];
  return [`${sent} entities were sent, ${entities} are there and ${copies} are counted as copies`];
}

/** Each entity ended as the oracle says, and so did the inventory. */
async function otherwiseThanOracle(
  db: Queryable,
  place: InventoryPlace,
  { registry, seed, isReference }: InventoryCheck,
): Promise<string[]> {
  const { rows } = await db.query<{ id: string; type: string; fields: string; state: number }>(
    `select id, type, fields::text as fields, state from holdfast.entities
      where tenant = $1 and branch = $2 order by id`,
    [place.tenant, place.branch],
  );
  const everything = createOracle(registry, seed);
  // What was left out is not told: leaving it out must not have changed what the others came to.
  const applied = createOracle(registry, seed);
  const problems: string[] = [];
  for (const { id, type, fields, state } of rows) {
    const entity = { type, fields: parseExactJson(fields) as Fields };
    everything.apply(entity);
    if (state === SUPERSEDED) continue;
    const end = applied.apply(entity);
    const wanted = end === "changed" || end === "unchanged" ? end : "refused";
    const got = ENDS[state] ?? `in state ${state}`;
    if (got !== wanted) problems.push(`entity ${id} is ${got}, the oracle says ${wanted}`);
  }
  const wanted = contentOf(everything.objects, isReference);
  const got = contentOf(await inventoryOf(db, place), isReference);
  return [...problems.slice(0, SHOWN), ...unlike(wanted, got)];
}

function unlike(wanted: readonly string[], got: readonly string[]): string[] {
  const lacking = wanted.filter((object) => !got.includes(object));
  const tooMuch = got.filter((object) => !wanted.includes(object));
  if (wanted.join("\n") === got.join("\n")) return [];
  return [
    `the inventory holds ${got.length} objects, the oracle ${wanted.length}`,
    ...lacking.slice(0, SHOWN).map((object) => `lacks ${object}`),
    ...tooMuch.slice(0, SHOWN).map((object) => `has ${object}`),
  ];
}

/** An entity equal to the newest version that was still to come has no row of its own. */
async function countedTwice(db: Queryable, place: InventoryPlace): Promise<string[]> {
  const { rows } = await db.query<{ id: string; before: string }>(
    `select id, before from (
       select id, hash, accepted_at,
              lag(id) over versions as before, lag(hash) over versions as said,
              lag(settled_at) over versions as ended
         from holdfast.entities where tenant = $1 and branch = $2
       window versions as (partition by identity order by id)) v
      where hash = said and (ended is null or ended > accepted_at)
      order by id limit ${SHOWN}`,
    [place.tenant, place.branch],
  );
  return rows.map(({ id, before }) => `entity ${id} says what ${before} was still to say`);
}

/** What was applied has one change set that was, the one that stands; what was not has none. */
async function notOnce(db: Queryable, place: InventoryPlace): Promise<string[]> {
  const { rows } = await db.query<{ id: string; state: number; applied: number }>(
    `select e.id, e.state, count(c.applied_at)::int as applied
       from holdfast.entities e left join holdfast.change_sets c on c.entity = e.id
      where e.tenant = $1 and e.branch = $2
      group by e.id
     having count(c.applied_at) <> (e.state = 3)::int
         or (e.state = 3 and bool_or(c.applied_at is not null and c.hash <> e.plan_hash))
      order by e.id limit ${SHOWN}`,
    [place.tenant, place.branch],
  );
  return rows.map(
    ({ id, state, applied }) => `entity ${id} in state ${state} was applied ${applied} times`,
  );
}

/**
 * Versions of an object come one after the other, each by an entity accepted no earlier. What a batch has
 * changed and changed back is in the journal, and no version of the object.
 */
async function backwards(db: Queryable, place: InventoryPlace): Promise<string[]> {
  const { rows } = await db.query<{ object: string; version: number; entity: string }>(
    `select object, version, entity from (
       select j.object, j.version, j.entity, o.version as last,
              lag(j.version, 1, 0) over entries as before,
              lag(j.entity, 1, 0::bigint) over entries as by,
              row_number() over (partition by j.object order by j.id desc) as from_end
         from holdfast.object_journal j
         join holdfast.objects o on o.id = j.object and o.tenant = $1 and o.branch = $2
       window entries as (partition by j.object order by j.id)) e
      where version not in (before, before + 1) or entity < by or (from_end = 1 and version not in (last, last + 1))
      order by object, version limit ${SHOWN}`,
    [place.tenant, place.branch],
  );
  return rows.map(
    ({ object, version, entity }) =>
      `version ${version} of object ${object} by entity ${entity} is out of order`,
  );
}
