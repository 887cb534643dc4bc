import { ENTITY_STATES, type EntityState } from "../contracts/inventory.ts";
import type { ReviewAct } from "../contracts/review.ts";
import { stateAfter, statesBefore } from "../domain/inventory-state.ts";
import { ACTS_IN_PLANS, refusalOf } from "../domain/review.ts";
import { nameOf } from "./entity-states.ts";
import type { Tx } from "./pool.ts";
import { findingOf, type Sieve } from "./review-find.ts";

/**
 * Decisions of people about entities: guarded changes of rows, for those that are named or all that a
 * filter finds. What is not in a state for it, or has another plan than the one that was seen, stays as
 * it is. Whoever decides about entities of a plan locks its row first (`wakePlans`).
 */

export type { ReviewAct };

export interface Decision {
  act: ReviewAct;
  by: string;
  reason?: string | undefined;
}

/** SQL: entity `e` may be decided about as far as the plan that it belongs to goes. */
const isFreeOrOpen = (act: ReviewAct) =>
  ACTS_IN_PLANS.includes(act)
    ? `(e.operation is null or e.state = ${ENTITY_STATES.open} and exists (
         select from holdfast.operations op where op.id = e.operation
            and op.state in ('accepted', 'running') and op.cancel_requested_at is null))`
    : "e.operation is null";

/** SQL of the approval after an act. What is only planned again stays approved, as long as it comes to the same. */
const APPROVED: Partial<Record<ReviewAct, string>> = {
  approve: "e.plan_hash",
  rediff: "e.approved_hash",
};

/** SQL of what a decision sets. `$1`: who, `$2`: why, or null. */
function settingOf(act: ReviewAct): string {
  const to: EntityState = stateAfter(statesBefore(act)[0]!, act)!;
  const said = { reject: "rejected", ignore: "ignored" }[act as "reject" | "ignore"] as
    | string
    | undefined;
  const error = said
    ? `jsonb_strip_nulls(jsonb_build_object('fault', '${said}',
         'message', '${said} by ' || $1::text || coalesce(': ' || $2::text, ''),
         'title', e.error ->> 'title', 'was', e.error))`
    : "case when $2::text is null then null::jsonb end";
  return `state = ${ENTITY_STATES[to]}, decided_by = $1, decided_at = clock_timestamp(),
          approved_hash = ${APPROVED[act] ?? "null"}, error = ${error},
          settled_at = ${to === "ignored" ? "clock_timestamp()" : "null"},
          attempt = 0, waits_for = null, due_at = null`;
}

export interface DecideFilter extends Omit<Sieve, "states"> {
  /** Of the states that the act leaves, only these. */
  states?: readonly EntityState[] | undefined;
  /** Only plans made before this: ISO, as the database knows it. */
  plannedBefore?: string | undefined;
}

export interface Decided {
  decided: number;
  /** Where the next page begins; absent when there is none. */
  next?: string;
}

/**
 * Decides about the next entities of a filter, looking at `limit` at most, oldest first. An approval binds to the
 * plan that stands; an entity without one is passed over.
 */
export async function decide(
  tx: Tx,
  filter: DecideFilter,
  { act, by, reason }: Decision,
  page: { after?: string | undefined; limit: number },
): Promise<Decided> {
  const states = statesBefore(act).filter((state) => filter.states?.includes(state) ?? true);
  if (states.length === 0) return { decided: 0 };
  const finding = findingOf({ ...filter, states }, { ...page, newest: false, short: true });
  const values = [by, reason ?? null, filter.plannedBefore ?? null, ...finding.values];
  // `$1` to `$3` are the decision's own.
  const moved = (sql: string) => sql.replaceAll(/\$(\d+)/g, (_, no) => `$${Number(no) + 3}`);
  const { rows } = await tx.query<{ edge: string | null; decided: number }>(
    `with looked_at as materialized (${moved(finding.lookedAt)}), held as materialized (
       select e.id from holdfast.entities e
        where e.id = any (array(select id from looked_at)) and ${moved(finding.passes)}
          and ($3::timestamptz is null or e.planned_at is null or e.planned_at < $3)
          ${act === "approve" ? "and e.plan_hash is not null and e.approved_hash is null" : ""}
          and ${isFreeOrOpen(act)}
        order by e.id for update of e
     ), changed as (
       update holdfast.entities e set ${settingOf(act)}
        where e.id = any (array(select id from held))
       returning 1
     )
     select case when (select count(*) from looked_at) >= ${finding.window}
                 then (select max(id) from looked_at) end as edge,
            (select count(*) from changed)::int as decided`,
    values,
  );
  const { edge, decided } = rows[0]!;
  return edge === null ? { decided } : { decided, next: edge };
}

export interface Named {
  id: string;
  /** Hash of the plan that was seen. */
  seen?: string | undefined;
}

export interface Judged {
  id: string;
  /** Undefined: it may be decided. */
  refused: string | undefined;
}

/**
 * What stands against an act, for each of these entities of a tenant. Locks those that are there, in
 * order of id, so that it holds until the transaction ends.
 */
export async function judge(
  tx: Tx,
  tenant: string,
  act: ReviewAct,
  named: readonly Named[],
  plannedBefore?: string,
): Promise<Judged[]> {
  const { rows } = await tx.query<{
    id: string;
    state: number;
    approved: boolean;
    decided_by: string | null;
    decided_at: Date | null;
    plan_hash: string | null;
    planned_since: boolean;
    operation: string | null;
    open: boolean;
  }>(
    `select e.id, e.state, e.approved_hash is not null as approved, e.decided_by, e.decided_at,
            encode(e.plan_hash, 'hex') as plan_hash, e.operation,
            coalesce(e.planned_at >= $3::timestamptz, false) as planned_since,
            coalesce((select op.state in ('accepted', 'running') and op.cancel_requested_at is null
                        from holdfast.operations op where op.id = e.operation), false) as open
       from holdfast.entities e
      where e.id = any ($2::bigint[]) and e.tenant = $1 and e.branch is not null
      order by e.id for update of e`,
    [tenant, named.map(({ id }) => id), plannedBefore ?? null],
  );
  const found = new Map(rows.map((row) => [row.id, row]));
  return named.map(({ id, seen }): Judged => {
    const row = found.get(id);
    if (!row) return { id, refused: `there is no such entity in tenant ${tenant}` };
    const refused = refusalOf(act, {
      state: nameOf(row.state),
      approved: row.approved,
      decidedBy: row.decided_by,
      decidedAt: row.decided_at,
      planHash: row.plan_hash,
      seen,
      plannedSince: row.planned_since,
      operation: row.operation === null ? undefined : { id: row.operation, open: row.open },
    });
    return { id, refused };
  });
}

/** Decides about entities that `judge` of this transaction let pass. */
export async function writeDecisions(
  tx: Tx,
  ids: readonly string[],
  { act, by, reason }: Decision,
): Promise<void> {
  if (ids.length === 0) return;
  await tx.query(
    `update holdfast.entities e set ${settingOf(act)} where e.id = any ($3::bigint[])`,
    [by, reason ?? null, ids],
  );
}

/** Plans that these entities belong to look at their rows again. Before any of the entities is locked. */
export async function wakePlans(tx: Tx, ids: readonly string[]): Promise<void> {
  await tx.query(
    `update holdfast.operations op set wake_at = clock_timestamp()
       from (select o.id from holdfast.operations o
              where o.id in (select operation from holdfast.entities
                              where id = any ($1::bigint[]) and operation is not null)
                and o.state = 'running'
              order by o.id for update) w
      where op.id = w.id`,
    [ids],
  );
}

/** The same of every open plan of a tenant; none, as a rule. */
export async function wakePlansOf(tx: Tx, tenant: string, operation?: string): Promise<void> {
  await tx.query(
    `update holdfast.operations op set wake_at = clock_timestamp()
       from (select o.id from holdfast.operations o
              where o.tenant = $1 and o.kind = 'plan' and o.state = 'running'
                and ($2::uuid is null or o.id = $2)
              order by o.id for update) w
      where op.id = w.id`,
    [tenant, operation ?? null],
  );
}
