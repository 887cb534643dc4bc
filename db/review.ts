import { ENTITY_STATES, type EntityState } from "../contracts/inventory.ts";
import type { ReviewAct } from "../contracts/review.ts";
import { stateAfter, statesBefore } from "../domain/inventory-state.ts";
import { ACTS_IN_PLANS, refusalOf } from "../domain/review.ts";
import { nameOf } from "./entity-states.ts";
import { letGo } from "./plan-hold-back.ts";
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

/**
 * SQL of the approval after an act. What is only planned again stays approved, as long as it comes to the
 * same; what was applied since is approved anew.
 */
const APPROVED: Partial<Record<ReviewAct, string>> = {
  approve: "e.plan_hash",
  rediff: `case when e.state = ${ENTITY_STATES.open} then e.approved_hash end`,
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
          ${act === "reopen" ? `origin = ${ENTITY_STATES.ignored}, ` : ""}attempt = 0, waits_for = null,
          due_at = null`;
}

/** When somebody looked, as the database knows it. */
export interface PlansSeen {
  at: string;
  /** Of transactions: a plan that is made earlier and committed later is seen by nobody. */
  snapshot: string;
}

/**
 * SQL: the plan of `e` was there to be seen. Transactions are no longer told apart after an hour, for a
 * database that is restored elsewhere counts them anew.
 */
const wasSeen = (e: string, at: string, snapshot: string) => `coalesce(
  ${e}.planned_at < ${at}::timestamptz
  and (${e}.planned_at < ${at}::timestamptz - interval '1 hour'
       or pg_visible_in_snapshot(${e}.planned_xid, ${snapshot}::pg_snapshot)), true)`;

/** What leaves a version that others may wait behind. */
const ENDS_A_WAIT: readonly ReviewAct[] = ["ignore", "requeue"];

export interface DecideFilter extends Omit<Sieve, "states"> {
  /** Of the states that the act leaves, only these. */
  states?: readonly EntityState[] | undefined;
  /** Only plans that were there to be seen. */
  seen?: PlansSeen | undefined;
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
  const { at, snapshot } = filter.seen ?? {};
  const values = [by, reason ?? null, at ?? null, snapshot ?? null, ...finding.values];
  // `$1` to `$4` are the decision's own.
  const moved = (sql: string) => sql.replaceAll(/\$(\d+)/g, (_, no) => `$${Number(no) + 4}`);
  const { rows } = await tx.query<{ edge: string | null; ids: string[] | null }>(
    `with looked_at as materialized (${moved(finding.lookedAt)}), held as materialized (
       select e.id from holdfast.entities e
        where e.id = any (array(select id from looked_at)) and ${moved(finding.passes)}
          and ${wasSeen("e", "$3", "$4")}
          ${act === "approve" ? "and e.plan_hash is not null and e.approved_hash is null" : ""}
          and ${isFreeOrOpen(act)}
        order by e.id for update of e
     ), changed as (
       update holdfast.entities e set ${settingOf(act)}
        where e.id = any (array(select id from held))
       returning e.id
     )
     select case when (select count(*) from looked_at) >= ${finding.window}
                 then (select max(id) from looked_at) end as edge,
            (select array_agg(id::text) from changed) as ids`,
    values,
  );
  const { edge, ids } = rows[0]!;
  const decided = ids?.length ?? 0;
  if (ids && ENDS_A_WAIT.includes(act)) await letGo(tx, ids);
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
  seenAll?: PlansSeen,
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
            not ${wasSeen("e", "$3", "$4")} as planned_since,
            coalesce((select op.state in ('accepted', 'running') and op.cancel_requested_at is null
                        from holdfast.operations op where op.id = e.operation), false) as open
       from holdfast.entities e
      where e.id = any ($2::bigint[]) and e.tenant = $1 and e.branch is not null
      order by e.id for update of e`,
    [tenant, named.map(({ id }) => id), seenAll?.at ?? null, seenAll?.snapshot ?? null],
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
  if (ENDS_A_WAIT.includes(act)) await letGo(tx, ids);
}

/**
 * Plans of a tenant that these entities belong to look at their rows again. Before any of the entities
 * is locked.
 */
export async function wakePlans(tx: Tx, tenant: string, ids: readonly string[]): Promise<void> {
  await tx.query(
    `update holdfast.operations op set wake_at = clock_timestamp()
       from (select o.id from holdfast.operations o
              where o.id in (select operation from holdfast.entities
                              where id = any ($1::bigint[]) and operation is not null
                                and tenant = $2)
                and o.state = 'running'
              order by o.id for update) w
      where op.id = w.id`,
    [ids, tenant],
  );
}

/** Of which plans something may be decided. */
export interface PlansAsked {
  tenant: string;
  act: ReviewAct;
  operation?: string | undefined;
  request?: string | undefined;
  branch?: string | undefined;
  types?: readonly string[] | undefined;
}

/** The same of a plan, or of every one that has something for a decision; none, as a rule. */
export async function wakePlansOf(tx: Tx, asked: PlansAsked): Promise<void> {
  if (!ACTS_IN_PLANS.includes(asked.act)) return;
  await tx.query(
    `update holdfast.operations op set wake_at = clock_timestamp()
       from (select o.id from holdfast.operations o
              where o.tenant = $1 and o.kind = 'plan' and o.state = 'running'
                and ($2::uuid is null or o.id = $2) and ($3::text is null or o.scope = $3)
                and ($2::uuid is not null or exists (
                  select from holdfast.entities e
                   where e.operation = o.id and e.state = ${ENTITY_STATES.open}
                     and ($4::text[] is null or e.type = any ($4))
                     and ($5::uuid is null or e.request = $5)))
              order by o.id for update) w
      where op.id = w.id`,
    [
      asked.tenant,
      asked.operation ?? null,
      asked.branch ?? null,
      asked.types ?? null,
      asked.request ?? null,
    ],
  );
}
