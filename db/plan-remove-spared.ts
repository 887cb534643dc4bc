import type { InventoryObject, ObjectId } from "../contracts/inventory.ts";
import { driveAsync } from "../domain/plan-batch.ts";
import { identitiesOf } from "../domain/plan-removal-names.ts";
import type { Registry } from "../domain/registry.ts";
import { column } from "./columns.ts";
import { lookUp, type InventoryPlace } from "./inventory-look-up.ts";
import type { Tx } from "./pool.ts";

/**
 * Who still speaks of what is to be removed, by whatever name. One object has as many identities in the
 * inbox as there are ways to name it, and a removal knows only the one that its snapshot had used.
 */

/** A removal, and what it would remove. */
export interface Going {
  id: string;
  /** Its own. */
  identity: string;
  object: InventoryObject | undefined;
}

export interface Spared {
  /** Another member of a scope names the object, and is not missing or not for too long. */
  byMember: ReadonlySet<string>;
  /** Something newer has been said of the object. */
  saidSince: ReadonlySet<string>;
}

export async function sparedOf(
  tx: Tx,
  place: InventoryPlace,
  registry: Registry,
  removals: readonly Going[],
): Promise<Spared> {
  const objects = new Map(removals.flatMap(({ object }) => (object ? [[object.id, object]] : [])));
  const identities = await identitiesHere(tx, place, registry, [...objects.values()]);
  const named = removals.flatMap(({ id, identity, object }) =>
    [...new Set([identity, ...((object && identities.get(object.id)) ?? [])])].map(
      (identity) => [id, identity] as const,
    ),
  );
  const names: readonly [string, string] = [
    column(named.map(([id]) => id)),
    column(named.map(([, identity]) => identity)),
  ];
  const byName = await namedByMembers(tx, place, names);
  const bySaying = await saidByMembers(tx, place, removals);
  return {
    byMember: new Set([...byName, ...bySaying]),
    saidSince: await saidSince(tx, place, names),
  };
}

/** Ids of those objects that have a removal of their own, which has not ended. */
export async function goingByThemselves(
  tx: Tx,
  place: InventoryPlace,
  registry: Registry,
  ids: readonly ObjectId[],
): Promise<Set<ObjectId>> {
  if (ids.length === 0) return new Set();
  const { objects } = await lookUp(tx, place, { keys: [], ids });
  const known = objects.filter(({ type }) => registry.types.has(type));
  const identities = await identitiesHere(tx, place, registry, known);
  const named = [...identities].flatMap(([id, all]) => all.map((one) => [id, one] as const));
  const { rows } = await tx.query<{ object: string }>(
    `select distinct w.object
       from rows from (string_to_table($3, e'\\n'), string_to_table($4, e'\\n'))
              as w(object, identity)
      cross join lateral (
        select removal, state from holdfast.entities
         where tenant = $1 and branch = $2 and identity = decode(w.identity, 'hex')
           and operation is null
         order by id desc limit 1) e
      where e.removal and e.state in (1, 2, 9)`,
    [
      place.tenant,
      place.branch,
      column(named.map(([id]) => id)),
      column(named.map(([, identity]) => identity)),
    ],
  );
  return new Set(rows.map(({ object }) => object));
}

function identitiesHere(
  tx: Tx,
  place: InventoryPlace,
  registry: Registry,
  objects: readonly InventoryObject[],
): Promise<Map<ObjectId, readonly string[]>> {
  return driveAsync(identitiesOf(registry, objects), (wanted) => lookUp(tx, place, wanted));
}

/** SQL: member `m` of scope `s` is there for all that is known, as long as its grace period lasts. */
const MAY_BE_THERE = `(m.missing_since is null
   or m.removal is null
      and m.missing_since > clock_timestamp() - s.grace_seconds * interval '1 second')`;

async function namedByMembers(
  tx: Tx,
  { tenant, branch }: InventoryPlace,
  names: readonly [string, string],
): Promise<string[]> {
  const { rows } = await tx.query<{ id: string }>(
    `select distinct w.id
       from rows from (string_to_table($3, e'\\n'), string_to_table($4, e'\\n')) as w(id, identity)
      cross join holdfast.inventory_scopes s
      cross join lateral (
        select missing_since, removal from holdfast.scope_members
         where tenant = $1 and branch = $2 and scope = s.scope
           and identity = decode(w.identity, 'hex') limit 1) m
      where s.tenant = $1 and s.branch = $2
        and m.removal is distinct from w.id::bigint and ${MAY_BE_THERE}`,
    [tenant, branch, ...names],
  );
  return rows.map(({ id }) => id);
}

/** Changes of one object that are looked at, newest first. */
const MOST_CHANGES = 100;

/** The same of members that have made or changed the object, though it is called otherwise by now. */
async function saidByMembers(
  tx: Tx,
  { tenant, branch }: InventoryPlace,
  removals: readonly Going[],
): Promise<string[]> {
  const some = removals.flatMap(({ id, object }) => (object ? [{ id, object }] : []));
  const { rows } = await tx.query<{ id: string }>(
    `select distinct w.id
       from rows from (string_to_table($3, e'\\n'), string_to_table($4, e'\\n'),
                       string_to_table($5, e'\\n')) as w(id, object, type)
      cross join lateral (
        select entity from holdfast.object_journal
         where object = w.object::bigint order by id desc limit ${MOST_CHANGES}) j
      cross join lateral (
        select scope, missing_since, removal from holdfast.scope_members
         where entity = j.entity and tenant = $1 and branch = $2) m
       join holdfast.inventory_scopes s
         on s.tenant = $1 and s.branch = $2 and s.scope = m.scope
       join holdfast.entities e on e.id = j.entity and e.type = w.type
      where m.removal is distinct from w.id::bigint and ${MAY_BE_THERE}`,
    [
      tenant,
      branch,
      column(some.map(({ id }) => id)),
      column(some.map(({ object }) => object.id)),
      column(some.map(({ object }) => object.type)),
    ],
  );
  return rows.map(({ id }) => id);
}

async function saidSince(
  tx: Tx,
  { tenant, branch }: InventoryPlace,
  names: readonly [string, string],
): Promise<Set<string>> {
  const { rows } = await tx.query<{ id: string }>(
    `select distinct w.id
       from rows from (string_to_table($3, e'\\n'), string_to_table($4, e'\\n')) as w(id, identity)
      where exists (select from holdfast.entities e
                     where e.tenant = $1 and e.branch = $2
                       and e.identity = decode(w.identity, 'hex') and e.operation is null
                       and e.id > w.id::bigint and not e.removal)`,
    [tenant, branch, ...names],
  );
  return new Set(rows.map(({ id }) => id));
}
