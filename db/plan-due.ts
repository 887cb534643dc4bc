import { BUILT_IN_TARGET } from "../contracts/inventory-settings.ts";
import type { InventoryPlace } from "./inventory-look-up.ts";
import type { Queryable } from "./pool.ts";

/** Which entities are due, and whose turn it is: the one predicate for claim, relay and doctor. */

/** Rows of `holdfast.drains` that work the built-in inventory. */
export const RECONCILE_QUEUE = "reconcile";

/** SQL: an older version waits for what it refers to; this one is not applied before it. */
const isHeldBack = (entity: string) => `exists (
  select from holdfast.entities w
   where w.state = 9 and w.operation is null and w.tenant = ${entity}.tenant and w.branch = ${entity}.branch
     and w.identity = ${entity}.identity and w.id < ${entity}.id and w.due_at > clock_timestamp())`;

/** SQL: ids of what is due in a branch, oldest first, each kind from its own index. */
export const dueIds = (tenant: string, branch: string, limit: string) => `
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

const KINDS = [
  "state = 1 and operation is null",
  "state = 9 and operation is null",
  "state = 2 and approved_hash is not null and operation is null",
];

/** SQL: the first branch after another with anything that is or will be due. */
const nextPlace = (after: string) => `
  select tenant, branch from (${KINDS.map(
    (kind) => `
    (select tenant, branch from holdfast.entities
      where ${kind} and branch is not null and (tenant, branch) > ${after}
      order by tenant, branch limit 1)`,
  ).join(" union all ")}) firsts
   order by tenant, branch limit 1`;

/** SQL: branches with something due that may be worked, from branch to branch by index, however much each has. */
const duePlaces = (after: string) => `
  with recursive places as (
    (${nextPlace(after)})
    union all
    select n.tenant, n.branch from places p cross join lateral (${nextPlace("(p.tenant, p.branch)")}) n
  )
  select p.tenant, p.branch from places p
   where ${mayBeWorked("p")} and exists (${dueIds("p.tenant", "p.branch", "1")})`;

/** SQL: every branch with something due that may be worked. */
export const DUE_PLACES = duePlaces("('', '')");

/** SQL: the drain of the built-in inventory has something to do. */
export const INVENTORY_IS_DUE = `exists (${DUE_PLACES})`;

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

async function inventoryAfter(
  db: Queryable,
  { tenant, branch }: InventoryPlace,
  passedOver: readonly InventoryPlace[],
): Promise<InventoryPlace | undefined> {
  const { rows } = await db.query<InventoryPlace>(
    `select tenant, branch from (${duePlaces("($1, $2)")}) due
      where (tenant, branch) not in (select * from unnest($3::text[], $4::text[])) limit 1`,
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
      where state = 9 and operation is null and due_at > clock_timestamp() order by due_at limit 1`,
  );
  return rows[0]?.at.getTime();
}
