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

/** SQL: an index each; who is in a worker's hands has a lease, and they are few. */
const QUEUED = "e.state = 1 and e.operation is null";
const RETRIED = "e.state = 9 and e.operation is null";
const OPEN = "e.state = 2";

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
    `with recursive queued as (${places(QUEUED, "queued")}), retried as (${places(RETRIED, "retried")}),
        open as (${places(OPEN, "open")}),
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
          select tenant, branch from queued union select tenant, branch from retried
          union select tenant, branch from open union select tenant, branch from leased
          union select tenant, branch from held)
     select p.tenant, p.branch, ${count(QUEUED)} as queued, ${count(RETRIED)} as retried,
            ${count(`${OPEN} and e.operation is null`)} as open, l.states as leased, o.oldest,
            coalesce(extract(epoch from clock_timestamp() - o.oldest), 0)::float8 as lag,
            h.held_at as "heldAt", h.held_because as "heldBecause"
       from found p
       left join leased l on l.tenant = p.tenant and l.branch is not distinct from p.branch
       left join held h on h.tenant = p.tenant and h.branch = p.branch
       left join lateral (
         select accepted_at as oldest from (
           (select accepted_at, id from holdfast.entities e
             where e.tenant = p.tenant and e.branch = p.branch and ${QUEUED} order by id limit 1)
           union all
           (select accepted_at, id from holdfast.entities e
             where e.tenant = p.tenant and e.branch is null and p.branch is null and ${QUEUED}
             order by id limit 1)) first
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
function count(where: string): string {
  return `(select count(*)::int from (
             (select from holdfast.entities e
               where e.tenant = p.tenant and e.branch = p.branch and ${where} limit $4)
             union all
             (select from holdfast.entities e
               where e.tenant = p.tenant and e.branch is null and p.branch is null and ${where}
               limit $4)) counted)`;
}

/** SQL: from branch to branch by the index of these rows; those without a branch come last in a tenant. */
function places(where: string, name: string): string {
  const from = `select e.tenant, e.branch`;
  return `
          (${from} from holdfast.entities e where ${where} order by e.tenant, e.branch limit 1)
          union all
          select n.tenant, n.branch from ${name} p
           cross join lateral (
             select tenant, branch from (
               (${from}, 1 as turn from holdfast.entities e
                 where ${where} and e.tenant = p.tenant and e.branch > p.branch
                 order by e.branch limit 1)
               union all
               (${from}, 2 from holdfast.entities e
                 where ${where} and p.branch is not null and e.tenant = p.tenant and e.branch is null
                 limit 1)
               union all
               (${from}, 3 from holdfast.entities e
                 where ${where} and e.tenant > p.tenant order by e.tenant, e.branch limit 1)) next
              order by turn limit 1) n`;
}
