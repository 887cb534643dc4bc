import { BUILT_IN_TARGET } from "../contracts/inventory-settings.ts";
import type { InventoryPlace } from "./inventory-look-up.ts";
import type { Queryable } from "./pool.ts";

/** Which entities are due, and whose turn it is: the one predicate for claim, relay and doctor. */

/** Rows of `holdfast.drains` that work the built-in inventory. */
export const RECONCILE_QUEUE = "reconcile";

/**
 * SQL: the time, read once in a statement. The clock itself may tell another time for each row, so that no
 * index could be asked about it.
 */
export const NOW = "(select clock_timestamp())";

/**
 * What is worked, each kind of it found by a small index of its own. Orders and bounds name the columns
 * of that index from the second one on, as one row: then no other index serves, whatever is known of a
 * table that grows and shrinks.
 */
export const KINDS = [
  { where: "state = 1 and operation is null", by: "id" },
  { where: "state = 2 and approved_hash is not null and operation is null", by: "id" },
] as const;
export const RETRIED = "state = 9 and operation is null";

/** SQL: ids of what is due in a branch, oldest first, each kind from its own index; of those, what `also` says. */
export const dueIds = (tenant: string, branch: string, limit: string, also = "true") => `
  ${KINDS.map(({ where }) => dueOf(`${where} and ${also}`, tenant, branch, limit)).join(" union all ")}
  union all
  ${retriedOf(tenant, branch, limit, also)}`;

/** SQL: ids of what waits in a branch and whose time has come. */
export const retriedOf = (tenant: string, branch: string, limit: string, also = "true") => `
  (select id from holdfast.entities
    where tenant = ${tenant} and ${RETRIED} and (branch, due_at, id) > (${branch}, '-infinity', 0)
      and (branch, due_at) <= (${branch}, ${NOW}) and ${also}
    order by tenant, branch, due_at, id limit ${limit})`;

/** SQL: this of what is of a kind in a branch, oldest first. */
export const dueOf = (
  where: string,
  tenant: string,
  branch: string,
  limit: string,
  what = "id",
) => `
  (select ${what} from holdfast.entities
    where tenant = ${tenant} and ${where} and (branch, id) > (${branch}, 0) and branch <= ${branch}
    order by tenant, branch, id limit ${limit})`;

/** SQL: this of the entity of a branch that has been queued the longest. */
export const ofOldestQueued = (tenant: string, branch: string, what: string) =>
  dueOf(KINDS[0].where, tenant, branch, "1", what);

/** SQL: a brake holds a branch `p` (tenant, branch) of the built-in inventory. */
export const isPlaceBraked = (p: string) => `exists (
  select from holdfast.brakes b
   where b.applies_to = 'all'
      or (b.applies_to = 'kind' and b.name = 'plan')
      or (b.applies_to = 'queue' and b.name = '${RECONCILE_QUEUE}')
      or (b.applies_to = 'target' and b.name = '${BUILT_IN_TARGET}')
      or (b.applies_to = 'tenant' and b.name = ${p}.tenant)
      or (b.applies_to = 'scope' and b.name = ${p}.tenant || '/' || ${p}.branch))`;

/** SQL: work may go on in a branch `p`: it is the built-in inventory's, and neither held nor braked. */
const mayBeWorked = (p: string) => `
  not exists (select from holdfast.inventory_settings s
               where s.tenant = ${p}.tenant and s.target <> '${BUILT_IN_TARGET}')
  and not exists (select from holdfast.inventory_guards g
                   where g.tenant = ${p}.tenant and g.branch = ${p}.branch and g.held_at is not null)
  and not ${isPlaceBraked(p)}`;

interface Walk {
  where: string;
  /** What the index of it is ordered by in a branch. */
  by: string;
}

/** SQL: the first row of the first branch after another that has any of a kind. */
const nextPlace = ({ where, by }: Walk, tenant: string, branch: string) => `
  select * from (
    (select tenant, branch, due_at from holdfast.entities
      where ${where} and tenant = ${tenant} and branch > ${branch}
      order by tenant, branch, ${by} limit 1)
    union all
    (select tenant, branch, due_at from holdfast.entities
      where ${where} and tenant > ${tenant}
      order by tenant, branch, ${by} limit 1)) firsts
   order by tenant, branch limit 1`;

/**
 * SQL: branches that have any of a kind, in order, from one to the next by index, however much each has.
 * What belongs to no branch yet makes a place without one.
 */
const placesWith = (walk: Walk, tenant: string, branch: string, also: string) => `
  (with recursive places as (
     select * from (${nextPlace(walk, tenant, branch)}) first where ${also}
     union all
     select n.* from places p cross join lateral (${nextPlace(walk, "p.tenant", "p.branch")}) n
   )
   select p.tenant, p.branch from places p where p.branch is not null and ${mayBeWorked("p")}`;

/** SQL: the same of those where something waits whose time has come. Nobody's has: none is looked at. */
const SOME_IS_RETRIED = `exists (select from holdfast.entities
    where ${RETRIED} and due_at <= ${NOW} order by due_at limit 1)`;

/** SQL: branches with something due that may be worked: of each kind as many as `each` says, in order. */
const duePlaces = (tenant: string, branch: string, each = "") =>
  [
    ...KINDS.map((kind) => `${placesWith(kind, tenant, branch, "true")} ${each})`),
    `${placesWith({ where: RETRIED, by: "due_at, id" }, tenant, branch, SOME_IS_RETRIED)}
       and p.due_at <= ${NOW} ${each})`,
  ].join(each === "" ? " union " : " union all ");

/** SQL: every branch with something due that may be worked. */
export const DUE_PLACES = duePlaces("''", "''");

/** SQL: the drain of the built-in inventory has something to do. */
export const INVENTORY_IS_DUE = `exists (${duePlaces("''", "''", "limit 1")})`;

/**
 * SQL: an entity is due, for whatever target, in whatever branch. The first row of each small index, which
 * the order sees to: what is known of a table that grows and shrinks would have all of it read.
 */
export const SOME_ENTITY_IS_DUE = `coalesce(
  (select true from holdfast.entities
    where state = 1 and operation is null order by tenant, branch, id limit 1),
  (select true from holdfast.entities
    where state = 9 and operation is null and due_at <= ${NOW} order by due_at limit 1),
  (select true from holdfast.entities
    where state = 2 and approved_hash is not null and operation is null
    order by tenant, branch, id limit 1),
  (select true from holdfast.entities
    where lease_until <= ${NOW} order by lease_until limit 1),
  false)`;

const FIRST: InventoryPlace = { tenant: "", branch: "" };

/** The branch to serve next: round-robin, the first after the one served last with something due. */
export async function nextInventory(
  db: Queryable,
  after: InventoryPlace = FIRST,
  passedOver: readonly InventoryPlace[] = [],
): Promise<InventoryPlace | undefined> {
  const first = await inventoryAfter(db, after, passedOver);
  if (first || (after.tenant === "" && after.branch === "")) return first;
  return inventoryAfter(db, FIRST, passedOver);
}

const NOT_PASSED_OVER =
  "and (p.tenant, p.branch) not in (select * from unnest($3::text[], $4::text[]))";

async function inventoryAfter(
  db: Queryable,
  { tenant, branch }: InventoryPlace,
  passedOver: readonly InventoryPlace[],
): Promise<InventoryPlace | undefined> {
  const { rows } = await db.query<InventoryPlace>(
    `select tenant, branch from (${duePlaces("$1::text", "$2::text", `${NOT_PASSED_OVER} limit 1`)}) due
      order by tenant, branch limit 1`,
    [
      tenant,
      branch,
      passedOver.map((place) => place.tenant),
      passedOver.map((place) => place.branch),
    ],
  );
  return rows[0];
}

/** When the next entity that waits is tried again, in epoch milliseconds; what is due by now does not count. */
export async function nextRetryAt(db: Queryable): Promise<number | undefined> {
  const { rows } = await db.query<{ at: Date }>(
    `select due_at as at from holdfast.entities
      where state = 9 and operation is null and due_at > ${NOW} order by due_at limit 1`,
  );
  return rows[0]?.at.getTime();
}
