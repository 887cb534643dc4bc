import type { InventoryPlace } from "./inventory-look-up.ts";
import { dueOf, KINDS, NOW, RETRIED, retriedOf } from "./plan-due.ts";
import type { Queryable } from "./pool.ts";

/** What is due for targets outside: which branch of whom to serve, and whether there is anything. */

export interface TargetLane {
  target: string;
  lane: number;
  lanes: number;
}

/**
 * SQL: `e` is claimed. As a range with two ends, which is taken for a narrow one whatever is known of the
 * table: then the small index of claims serves.
 */
export const isClaimed = (e = "entities", until = "'infinity'") =>
  `${e}.lease_until > '-infinity' and ${e}.lease_until <= ${until}`;

/** SQL: `e` is claimed, and its time is over. */
export const isAbandoned = (e: string) => isClaimed(e, NOW);

/** SQL: claims on whatever entities that end until then, of which the small index knows; the rest is asked after. */
export const claims = (until?: string) => `
  select id, tenant, branch, identity, operation, token, lease_until from holdfast.entities e
   where ${isClaimed("e", until)} offset 0`;

/** SQL: this lane's, with the numbers of lane and lanes. */
export const ofLane = (lane: string, lanes: string) => `get_byte(identity, 0) % ${lanes} = ${lane}`;

/** SQL: branches in which a claim is over, once for a statement. */
const abandonedPlaces = (also: string) => `
  abandoned as materialized (
    select distinct tenant, branch from (${claims(NOW)}) c
     where operation is null and branch is not null and ${also})`;

/** SQL: the branch `b` of a tenant waits until somebody has looked. */
const isHeld = (tenant: string, branch: string) => `exists (
  select from holdfast.inventory_guards g
   where g.tenant = ${tenant} and g.branch = ${branch} and g.held_at is not null)`;

interface Walk {
  where: string;
  /** What the index of it is ordered by in a branch. */
  by: string;
  /** The first of those in a branch that are due. */
  first: (tenant: string, branch: string, also: string) => string;
}

const WALKS: readonly Walk[] = [
  ...KINDS.map(({ where, by }) => ({
    where,
    by,
    first: (tenant: string, branch: string, also: string) =>
      dueOf(`${where} and ${also}`, tenant, branch, "1"),
  })),
  {
    where: RETRIED,
    by: "due_at, id",
    first: (tenant, branch, also) => retriedOf(tenant, branch, "1", also),
  },
];

const nextBranch = ({ where, by }: Walk, tenant: string, branch: string) => `
  select branch, due_at from holdfast.entities
   where ${where} and tenant = ${tenant} and branch > ${branch}
   order by tenant, branch, ${by} limit 1`;

/**
 * SQL: the first branch of a tenant after another that is not held and has any of a kind that is due, from
 * one branch to the next by index, however much each has.
 */
const firstBranch = (walk: Walk, tenant: string, after: string, also: string) => `
  (with recursive places as (
     (${nextBranch(walk, tenant, after)})
     union all
     select n.* from places p cross join lateral (${nextBranch(walk, tenant, "p.branch")}) n
   )
   select p.branch from places p
    where ${walk.where === RETRIED ? `p.due_at <= ${NOW} and ` : ""}not ${isHeld(tenant, "p.branch")}
      and (${walk.first(tenant, "p.branch", also)}) is not null
    limit 1)`;

/** SQL: the first branches of a tenant after another with something due, one of each kind. */
const firstBranches = (tenant: string, after: string, also: string) =>
  [
    ...WALKS.map((walk) => firstBranch(walk, tenant, after, also)),
    `(select a.branch from abandoned a
       where a.tenant = ${tenant} and a.branch > ${after} and not ${isHeld("a.tenant", "a.branch")}
       order by a.branch limit 1)`,
  ].join(" union all ");

/** SQL: a brake holds a target or one of its tenants. */
const isBraked = (target: string, tenant: string) => `exists (
  select from holdfast.brakes b
   where b.applies_to = 'all'
      or b.applies_to = 'target' and b.name = ${target}
      or b.applies_to = 'tenant' and b.name = ${tenant})`;

/** SQL: queues of targets that have something due and may be asked, found once for a statement. */
const DUE_QUEUES = `
  with ${abandonedPlaces("true")}
  select 'target-' || t.name from holdfast.targets t
   where (t.retry_at is null or t.retry_at <= ${NOW})
     and exists (
       select from holdfast.inventory_settings s
        where s.target = t.name and not ${isBraked("t.name", "s.tenant")}
          and exists (${firstBranches("s.tenant", "''", "true")}))`;

/** SQL: a drain `d` of a target has something that is due. */
export const targetDrainIsDue = (d: string) =>
  `${d}.queue like 'target-%' and ${d}.queue = any (array(${DUE_QUEUES}))`;

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
  const { rows } = await db.query<InventoryPlace>(NEXT_PLACE, [
    target,
    lane,
    lanes,
    tenant,
    branch,
  ]);
  return rows[0];
}

const OF_LANE = ofLane("$2::int", "$3::int");

/** SQL: the place of a target (1) in a lane (2 of 3) that comes after another (4 and 5). */
export const NEXT_PLACE = `
  with ${abandonedPlaces(OF_LANE)}
  select s.tenant, d.branch
    from (select tenant, case when tenant = $4 then $5::text else '' end as after
            from holdfast.inventory_settings
           where target = $1 and tenant >= $4::text and not ${isBraked("$1", "tenant")}
           order by tenant) s
   cross join lateral (
     select min(branch) as branch from (${firstBranches("s.tenant", "s.after", OF_LANE)}) f) d
   where d.branch is not null
   order by s.tenant limit 1`;
