import type { Entity, EntityState, Fields } from "../contracts/inventory.ts";
import { parseExactJson } from "../domain/exact-json.ts";
import { nameOf } from "./inbox.ts";
import type { InventoryPlace } from "./inventory-look-up.ts";
import type { Queryable, Tx } from "./pool.ts";

/** Which entities are due, and whose turn it is. */

export interface ClaimedEntity extends Pick<Entity, "type" | "fields" | "warnings"> {
  id: string;
  /** By what its versions are known to each other. */
  identity: string;
  state: EntityState;
  attempt: number;
  /** How many change sets it has had. */
  plans: number;
  /** Hash of the plan that a person approved. */
  approved: string | undefined;
}

/** SQL: an older version waits for what it refers to; this one is not applied before it. */
const isHeldBack = (entity: string) => `exists (
  select from holdfast.entities w
   where w.state = 9 and w.operation is null and w.tenant = ${entity}.tenant and w.branch = ${entity}.branch
     and w.identity = ${entity}.identity and w.id < ${entity}.id and w.due_at > clock_timestamp())`;

/**
 * SQL: ids of what is due in a branch, oldest first, each kind from its own index. The one predicate for
 * claim, wake and doctor.
 */
const dueIds = (tenant: string, branch: string, limit: string) => `
  (select id from holdfast.entities e
    where tenant = ${tenant} and branch = ${branch} and state = 1 and operation is null and not ${isHeldBack("e")}
    order by id limit ${limit})
  union all
  (select id from holdfast.entities
    where tenant = ${tenant} and branch = ${branch} and state = 9 and operation is null and due_at <= clock_timestamp()
    order by due_at limit ${limit})
  union all
  (select id from holdfast.entities
    where tenant = ${tenant} and branch = ${branch} and state = 2 and approved_hash is not null and operation is null
    order by id limit ${limit})`;

/**
 * The oldest that are due, in order of acceptance, locked until the transaction ends. Whoever claims
 * holds the branch, so nothing is passed over that somebody is only looking at.
 */
export async function claimEntities(
  tx: Tx,
  place: InventoryPlace,
  limit: number,
): Promise<ClaimedEntity[]> {
  const { rows } = await tx.query<{
    id: string;
    identity: string;
    type: string;
    fields: string;
    warnings: string[] | null;
    state: number;
    attempt: number;
    plans: number;
    approved: string | null;
  }>(
    `select e.id, encode(e.identity, 'hex') as identity, e.type, e.fields::text as fields, e.warnings, e.state, e.attempt, e.plans,
            encode(e.approved_hash, 'hex') as approved
       from holdfast.entities e
      where e.id = any (array(
        select id from (${dueIds("$1", "$2", "$3")}) due order by id limit $3))
        and (e.state in (1, 9) or e.state = 2 and e.approved_hash is not null)
      order by e.id
        for update`,
    [place.tenant, place.branch, limit],
  );
  return rows.map(({ fields, warnings, state, approved, ...row }) => ({
    ...row,
    fields: parseExactJson(fields) as Fields,
    warnings: warnings ?? [],
    state: nameOf(state),
    approved: approved ?? undefined,
  }));
}

/** The branch to serve next: round-robin, the first after the one served last with something due. */
export async function nextInventory(
  db: Queryable,
  after: InventoryPlace = { tenant: "", branch: "" },
): Promise<InventoryPlace | undefined> {
  const first = await inventoryAfter(db, after);
  if (first || (after.tenant === "" && after.branch === "")) return first;
  return inventoryAfter(db, { tenant: "", branch: "" });
}

// From branch to branch by index, however much each has waiting.
async function inventoryAfter(
  db: Queryable,
  { tenant, branch }: InventoryPlace,
): Promise<InventoryPlace | undefined> {
  const first = (where: string, from: string) => `
    (select tenant, branch from holdfast.entities
      where ${where} and branch is not null and (tenant, branch) > ${from}
      order by tenant, branch limit 1)`;
  const next = (from: string) => `
    select tenant, branch from (
      ${first("state = 1 and operation is null", from)} union all
      ${first("state = 9 and operation is null", from)} union all
      ${first("state = 2 and approved_hash is not null and operation is null", from)}) firsts
     order by tenant, branch limit 1`;
  const { rows } = await db.query<InventoryPlace>(
    `with recursive places as (
       (${next("($1, $2)")})
       union all
       select n.tenant, n.branch from places p
        cross join lateral (${next("(p.tenant, p.branch)")}) n
     )
     select p.tenant, p.branch from places p
      where exists (${dueIds("p.tenant", "p.branch", "1")})
        and not exists (select from holdfast.inventory_guards g
                         where g.tenant = p.tenant and g.branch = p.branch and g.held_at is not null)
      limit 1`,
    [tenant, branch],
  );
  return rows[0];
}
