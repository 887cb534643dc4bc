import { v7 as uuidv7 } from "uuid";
import type { InventoryPlace } from "./inventory-look-up.ts";
import { ownInboxes } from "./locks.ts";
import type { Db, Queryable, Tx } from "./pool.ts";

/**
 * Removals of what snapshots no longer name, made when the grace period of the scope is over: entities of
 * their own, planned and decided about like all others.
 */

/**
 * SQL: member `m` of scope `s` has been missing for longer than it may, and nobody speaks of it: no other
 * scope names it, or has not missed it for too long yet.
 */
const IS_DUE = `m.missing_since <= clock_timestamp() - s.grace_seconds * interval '1 second'
  and m.removal is null
  and exists (select from holdfast.entities said where said.id = m.entity)
  and not exists (
    select from holdfast.inventory_scopes other
      join holdfast.scope_members o on o.tenant = other.tenant and o.branch = other.branch
       and o.scope = other.scope and o.identity = m.identity
       and (o.missing_since is null
            or o.removal is null
               and o.missing_since > clock_timestamp() - other.grace_seconds * interval '1 second')
     where other.tenant = m.tenant and other.branch = m.branch and other.scope <> m.scope)`;

const PLACES = 100;
/** Members of one transaction, while which nothing is taken into the branch. */
const AT_ONCE = 1_000;

/** Makes what is due, branch after branch in turns. Answers how many. */
export async function makeRemovals(db: Db): Promise<number> {
  let made = 0;
  for (let places = await placesWithMissing(db); places.length > 0;) {
    const more: InventoryPlace[] = [];
    for (const place of places) {
      const some = await db.transaction(async (tx) => {
        await ownInboxes(tx, place.tenant, [place.branch]);
        await forgetSeen(tx, place);
        return insertRemovals(tx, place);
      });
      made += some.made;
      if (some.members === AT_ONCE) more.push(place);
    }
    places = more;
  }
  return made;
}

/** Those that have waited longest come first. */
async function placesWithMissing(db: Queryable): Promise<InventoryPlace[]> {
  const { rows } = await db.query<InventoryPlace>(
    `select m.tenant, m.branch
       from holdfast.scope_members m
       join holdfast.inventory_scopes s using (tenant, branch, scope)
      where m.missing_since is not null and ${IS_DUE}
      group by m.tenant, m.branch
      order by min(m.missing_since) limit ${PLACES}`,
  );
  return rows;
}

/** What was taken in since, outside of snapshots, is not missing. */
async function forgetSeen(tx: Tx, { tenant, branch }: InventoryPlace): Promise<void> {
  await tx.query(
    `update holdfast.scope_members m set missing_since = null
      where m.tenant = $1 and m.branch = $2 and m.missing_since is not null and m.removal is null
        and exists (
          select from (select id, accepted_at, removal from holdfast.entities e
                        where e.tenant = $1 and e.branch = $2 and e.identity = m.identity
                          and e.operation is null
                        order by id desc limit 1) newest
           where not newest.removal
             and (newest.accepted_at > m.missing_since
                  or exists (select from holdfast.entity_copies c
                              where c.entity = newest.id and c.at > m.missing_since)))`,
    [tenant, branch],
  );
}

interface Made {
  /** Of two scopes that miss the same, one. */
  made: number;
  /** That they were made for. */
  members: number;
}

async function insertRemovals(tx: Tx, { tenant, branch }: InventoryPlace): Promise<Made> {
  const { rows } = await tx.query<Made>(
    `with due as (
       select m.scope, m.identity, m.entity
         from holdfast.scope_members m
         join holdfast.inventory_scopes s using (tenant, branch, scope)
        where m.tenant = $1 and m.branch = $2 and m.missing_since is not null and ${IS_DUE}
        order by m.missing_since limit ${AT_ONCE}
     ), named as (
       select distinct on (identity) identity, entity from due order by identity, entity desc
     ), numbered as materialized (
       select identity, entity, nextval('holdfast.entity_ids') as id from named
     ), request as (
       insert into holdfast.ingest_requests (id, tenant, source, received, accepted)
       select $3, $1, 'removals', count(*), count(*) from numbered having count(*) > 0
     ), made as (
       insert into holdfast.entities
         (id, tenant, branch, request, type, identity, removal, hash, fields)
       select n.id, $1, $2, $3, e.type, n.identity, true, e.hash, e.fields
         from numbered n join holdfast.entities e on e.id = n.entity
     ), noted as (
       update holdfast.scope_members m set removal = n.id
         from due d join numbered n on n.identity = d.identity
        where m.tenant = $1 and m.branch = $2 and m.scope = d.scope and m.identity = d.identity
     )
     select count(*)::int as made, (select count(*)::int from due) as members from numbered`,
    [tenant, branch, uuidv7()],
  );
  return rows[0]!;
}
