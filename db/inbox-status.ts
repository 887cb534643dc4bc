import type { InboxStatus } from "../contracts/inbox.ts";
import { nameOf } from "./entity-states.ts";
import type { Queryable } from "./pool.ts";

/**
 * How much the inbox holds, branch by branch, from the small indexes of what is to come: what has ended
 * costs nothing here, however much it is.
 */

export type StandingInbox = Omit<InboxStatus, "target" | "mode">;

export interface InboxScope {
  tenant?: string | undefined;
  /** Absent: all. */
  tenants?: readonly string[] | undefined;
  branch?: string | undefined;
}

/**
 * SQL: an index of (tenant, branch, and this) each, which every read below names the whole order of: so it
 * is taken, whatever is known of a table that grows and shrinks. Who is in a worker's hands has a lease,
 * and they are few.
 */
const QUEUED = { where: "e.state = 1 and e.operation is null", by: "id" };
const RETRIED = { where: "e.state = 9 and e.operation is null", by: "due_at" };
const OPEN = {
  where: "e.state = 2 and e.approved_hash is null and e.operation is null",
  by: "planned_at",
};
const APPROVED = {
  where: "e.state = 2 and e.approved_hash is not null and e.operation is null",
  by: "id",
};
/** SQL: no more than equal; but of what is equal the planner knows that it needs no order. */
const inBranch = `(e.tenant, e.branch) >= (p.tenant, p.branch) and (e.tenant, e.branch) <= (p.tenant, p.branch)`;

type Kind = typeof QUEUED;
const KINDS: readonly Kind[] = [QUEUED, RETRIED, OPEN, APPROVED];

/**
 * Every branch in which something is to come, waits for a decision, or is held. Each state is counted up
 * to `countTo`.
 */
export async function inboxStatus(
  db: Queryable,
  scope: InboxScope,
  countTo: number,
): Promise<StandingInbox[]> {
  const { rows } = await db.query<{
    tenant: string;
    branch: string | null;
    queued: number;
    retried: number;
    open: number;
    leased: Record<string, number> | null;
    oldest: Date | null;
    lag: number;
    heldAt: Date | null;
    heldBecause: string | null;
  }>(
    `with recursive tenants as (
          ${scope.tenant === undefined && !scope.tenants ? ALL_TENANTS : GIVEN_TENANTS}),
        branches as (
          select tenant, ${first("branch", "e.tenant = t.tenant")} as branch from tenants t
           where tenant is not null
          union all
          select tenant, ${first("branch", "e.tenant = b.tenant and e.branch > b.branch")}
            from branches b where branch is not null),
        leased as (
          select tenant, branch, jsonb_object_agg(state, n) as states
            from (select tenant, branch, state, count(*) as n from holdfast.entities
                   where lease_until is not null and operation is null
                   group by tenant, branch, state) each
           group by tenant, branch),
        held as (
          select tenant, branch, held_at, held_because from holdfast.inventory_guards
           where held_at is not null),
        found as (
          select tenant, branch from branches where branch is not null
          union
          select tenant, null from tenants t
           where coalesce(${KINDS.map(
             ({ where, by }) => `(select true from holdfast.entities e
                      where e.tenant = t.tenant and e.branch is null and ${where}
                      order by e.branch, e.${by} limit 1)`,
           ).join(",\n              ")}, false)
          union select tenant, branch from leased
          union select tenant, branch from held)
     select p.tenant, p.branch, ${count(QUEUED)} as queued, ${count(RETRIED)} as retried,
            ${count(OPEN)} + ${count(APPROVED)} as open, l.states as leased, o.oldest,
            coalesce(extract(epoch from clock_timestamp() - o.oldest), 0)::float8 as lag,
            h.held_at as "heldAt", h.held_because as "heldBecause"
       from found p
       left join leased l on l.tenant = p.tenant and l.branch is not distinct from p.branch
       left join held h on h.tenant = p.tenant and h.branch = p.branch
       left join lateral (
         select accepted_at as oldest from (
           (select accepted_at, id from holdfast.entities e
             where ${inBranch} and ${QUEUED.where} order by e.tenant, e.branch, e.id limit 1)
           union all
           (select accepted_at, id from holdfast.entities e
             where e.tenant = p.tenant and e.branch is null and p.branch is null and ${QUEUED.where}
             order by e.branch, e.id limit 1)) first
          order by id limit 1) o on true
      where ($1::text is null or p.tenant = $1) and ($2::text[] is null or p.tenant = any ($2))
        and ($3::text is null or p.branch = $3)
      order by p.tenant, p.branch nulls first`,
    [scope.tenant ?? null, scope.tenants ?? null, scope.branch ?? null, countTo],
  );
  return rows.map((row) => ({
    tenant: row.tenant,
    branch: row.branch,
    states: statesOf(row),
    countedTo: countTo,
    lagSeconds: Math.max(0, row.lag),
    oldestQueuedAt: row.oldest && row.oldest.toISOString(),
    held: row.heldAt && { at: row.heldAt.toISOString(), because: row.heldBecause! },
  }));
}

function statesOf(row: {
  queued: number;
  retried: number;
  open: number;
  leased: Record<string, number> | null;
}): InboxStatus["states"] {
  const counts = [
    ["queued", row.queued],
    ["pending_retry", row.retried],
    ["open", row.open],
    ...Object.entries(row.leased ?? {}).map(([state, n]) => [nameOf(Number(state)), n] as const),
  ] as const;
  return Object.fromEntries(counts.filter(([, n]) => n > 0));
}

// An index knows nothing of "is not distinct from".
function count({ where, by }: Kind): string {
  return `(select count(*)::int from (
             (select from holdfast.entities e
               where ${inBranch} and ${where} order by e.tenant, e.branch, e.${by} limit $4)
             union all
             (select from holdfast.entities e
               where e.tenant = p.tenant and e.branch is null and p.branch is null and ${where}
               order by e.branch, e.${by} limit $4)) counted)`;
}

/** SQL: the first tenant or branch with anything of these rows, each kind from its own index. */
function first(column: "tenant" | "branch", of: string): string {
  const each = ({ where, by }: Kind) =>
    `(select e.${column} from holdfast.entities e where ${of} and ${where}
               order by e.tenant, e.branch, e.${by} limit 1)`;
  return `least(${KINDS.map(each).join(",\n            ")})`;
}

const GIVEN_TENANTS =
  "select distinct unnest(case when $1::text is null then $2::text[] else array[$1] end) as tenant";

/** From tenant to tenant, however much each has. */
const ALL_TENANTS = `
          select ${first("tenant", "true")} as tenant
          union all
          select ${first("tenant", "e.tenant > t.tenant")} from tenants t where tenant is not null`;
