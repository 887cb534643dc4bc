import { ENTITY_STATES } from "../contracts/inventory.ts";
import type { InventoryPlace } from "./inventory-look-up.ts";
import { NOW } from "./plan-due.ts";
import type { Queryable } from "./pool.ts";

/** What is due for targets outside: which branch of whom to serve, and whether there is anything. */

export interface TargetLane {
  target: string;
  lane: number;
  lanes: number;
}

const { queued, open, pending_retry } = ENTITY_STATES;

/** SQL: `e` is claimed, and its time is over. */
export const isAbandoned = (e: string) =>
  `${e}.lease_until is not null and ${e}.lease_until <= clock_timestamp()`;

/** SQL: `e` is due, each kind found by an index of its own. */
export const dueKinds = [
  `state = ${queued} and operation is null`,
  `state = ${pending_retry} and operation is null and due_at <= ${NOW}`,
  `state = ${open} and approved_hash is not null and operation is null`,
  `lease_until is not null and lease_until <= ${NOW} and operation is null`,
];

/** SQL: the branch of `e` waits until somebody has looked. */
const isHeld = (e: string) => `exists (
  select from holdfast.inventory_guards g
   where g.tenant = ${e}.tenant and g.branch = ${e}.branch and g.held_at is not null)`;

/** SQL: a drain `d` of a target has something that is due. The one predicate for relay and drain. */
export const targetDrainIsDue = (d: string) => `exists (
  select from holdfast.inventory_settings s
   where ${d}.queue = 'target-' || s.target
     and (${dueKinds
       .map(
         (kind) =>
           `exists (select from holdfast.entities e where e.tenant = s.tenant and e.branch is not null and ${kind} and not ${isHeld("e")})`,
       )
       .join("\n          or ")}))
   and not exists (select from holdfast.targets t
                    where ${d}.queue = 'target-' || t.name and t.retry_at > clock_timestamp())`;

/** The branch of a target's tenants to serve next in a lane: round-robin, after the one served last. */
export async function nextTargetPlace(
  db: Queryable,
  { target, lane, lanes }: TargetLane,
  after: InventoryPlace = { tenant: "", branch: "" },
): Promise<InventoryPlace | undefined> {
  const first = await placeAfter(db, { target, lane, lanes }, after);
  if (first || (after.tenant === "" && after.branch === "")) return first;
  return placeAfter(db, { target, lane, lanes }, { tenant: "", branch: "" });
}

// Tenants by their settings, then branches of each by what is due, kind by kind.
async function placeAfter(
  db: Queryable,
  { target, lane, lanes }: TargetLane,
  { tenant, branch }: InventoryPlace,
): Promise<InventoryPlace | undefined> {
  const firsts = dueKinds
    .map(
      (kind) =>
        `(select branch from holdfast.entities e
           where e.tenant = s.tenant and e.branch is not null and ${kind}
             and get_byte(e.identity, 0) % $3 = $2
             and (e.tenant > $4 or e.branch > $5)
             and not ${isHeld("e")}
           order by branch limit 1)`,
    )
    .join(" union all ");
  const { rows } = await db.query<InventoryPlace>(
    `select s.tenant, d.branch
       from holdfast.inventory_settings s
      cross join lateral (select min(branch) as branch from (${firsts}) f) d
      where s.target = $1 and s.tenant >= $4 and d.branch is not null
        and not exists (select from holdfast.brakes b
                         where b.applies_to = 'all'
                            or b.applies_to = 'target' and b.name = $1
                            or b.applies_to = 'tenant' and b.name = s.tenant)
      order by s.tenant limit 1`,
    [target, lane, lanes, tenant, branch],
  );
  return rows[0];
}
