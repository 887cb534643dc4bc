import {
  ENTITY_STATES,
  type Change,
  type ChangeSet,
  type EntityState,
} from "../contracts/inventory.ts";
import { parseExactJson, storedJson } from "../domain/exact-json.ts";
import { isSettled } from "../domain/inventory-state.ts";
import { column } from "./columns.ts";
import type { InventoryPlace } from "./inventory-look-up.ts";
import { COUNT_SETTLED, countsOf } from "./plan-counts.ts";
import type { Tx } from "./pool.ts";

/** What is noted of a batch that was planned: change sets, states, and who may go on. */

/** Why an entity is where it is. */
export interface EntityError {
  /** A fault of the plan, `changed-since-approval`, or `refused` by the inventory itself. */
  fault: string;
  /** `Device sw1 discovered`. */
  title?: string;
  type?: string;
  field?: string;
  message: string;
}

export interface Settlement {
  id: string;
  state: EntityState;
  rule?: string | undefined;
  error?: EntityError | undefined;
  /** Absent: it has no new change set. */
  planHash?: string | undefined;
  waitsFor?: readonly string[] | undefined;
  attempt: number;
  /** Of what is tried again. */
  delaySeconds?: number | undefined;
  /** Of what failed: it had a plan, and the target did not take it. Absent: it has none. */
  failedAt?: "apply" | undefined;
  /** Of what is applied now. */
  changes?: readonly Pick<Change, "kind">[] | undefined;
}

/**
 * Approvals stand where the entity ends as approved, and are void where it is open again. What became of
 * plans is counted in the same statement.
 */
export async function settleEntities(tx: Tx, settled: readonly Settlement[]): Promise<void> {
  if (settled.length === 0) return;
  await tx.query(
    `with settled as (
     update holdfast.entities e
        set state = s.state::smallint, rule = s.rule #>> '{}', error = s.error,
            plan_hash = coalesce(decode(s.plan, 'hex'), e.plan_hash),
            plans = e.plans + (s.plan is not null)::int,
            planned_at = case when s.plan is null then e.planned_at else clock_timestamp() end,
            planned_xid = case when s.plan is null then e.planned_xid else pg_current_xact_id() end,
            approved_hash = case when s.state in ('3', '5') then e.approved_hash end,
            waits_for = string_to_array(s.waits, ','), attempt = s.attempt::smallint,
            due_at = clock_timestamp() + s.delay::float8 * interval '1 second',
            settled_at = case when s.ended = 't' then clock_timestamp() end
       from (select id::bigint, state, rule::jsonb, error::jsonb, plan, waits, attempt, delay, ended,
                    counts
               from rows from (
                 string_to_table($1, e'\\n'), string_to_table($2, e'\\n'),
                 string_to_table($3, e'\\n', ''), string_to_table($4, e'\\n', ''),
                 string_to_table($5, e'\\n', ''), string_to_table($6, e'\\n', ''),
                 string_to_table($7, e'\\n'), string_to_table($8, e'\\n', ''),
                 string_to_table($9, e'\\n', ''), string_to_table($10, e'\\n')
               ) as w(id, state, rule, error, plan, waits, attempt, delay, ended, counts)) s
      where e.id = s.id
      returning e.request, s.counts)
     ${COUNT_SETTLED}`,
    [
      column(settled.map(({ id }) => id)),
      column(settled.map(({ state }) => String(ENTITY_STATES[state]))),
      column(settled.map(({ rule }) => rule && JSON.stringify(rule))),
      column(settled.map(({ error }) => error && JSON.stringify(error))),
      column(settled.map(({ planHash }) => planHash)),
      column(settled.map(({ waitsFor }) => waitsFor?.join(","))),
      column(settled.map(({ attempt }) => String(attempt))),
      column(settled.map(({ delaySeconds }) => delaySeconds?.toString())),
      column(settled.map(({ state }) => (isSettled(state) ? "t" : undefined))),
      column(settled.map((one) => countsOf(one).join(" "))),
    ],
  );
}

export interface NewChangeSet {
  entity: string;
  changeSet: ChangeSet;
  applied: boolean;
}

export async function insertChangeSets(tx: Tx, sets: readonly NewChangeSet[]): Promise<void> {
  if (sets.length === 0) return;
  await tx.query(
    `insert into holdfast.change_sets
       (entity, hash, title, changes, creates, updates, deletes, warnings, applied_at)
     select entity::bigint, decode(hash, 'hex'), title::jsonb #>> '{}', changes::jsonb,
            split_part(kinds, ' ', 1)::int, split_part(kinds, ' ', 2)::int,
            split_part(kinds, ' ', 3)::int,
            warnings::jsonb, case when applied = 't' then clock_timestamp() end
       from rows from (
         string_to_table($1, e'\\n'), string_to_table($2, e'\\n'), string_to_table($3, e'\\n'),
         string_to_table($4, e'\\n'), string_to_table($5, e'\\n', ''), string_to_table($6, e'\\n', ''),
         string_to_table($7, e'\\n')
       ) as c(entity, hash, title, changes, warnings, applied, kinds)`,
    [
      column(sets.map(({ entity }) => entity)),
      column(sets.map(({ changeSet }) => changeSet.hash)),
      column(sets.map(({ changeSet }) => JSON.stringify(changeSet.title))),
      column(sets.map(({ changeSet }) => storedJson(changeSet.changes))),
      column(
        sets.map(({ changeSet: { warnings } }) =>
          warnings.length > 0 ? JSON.stringify(warnings) : undefined,
        ),
      ),
      column(sets.map(({ applied }) => (applied ? "t" : undefined))),
      column(sets.map(({ changeSet }) => kindsOf(changeSet.changes))),
    ],
  );
}

/** How many objects are created, updated and deleted: `12 3 0`. */
function kindsOf(changes: readonly Pick<Change, "kind">[]): string {
  let [creates, updates, deletes] = [0, 0, 0];
  for (const { kind } of changes) {
    if (kind === "create") creates++;
    else if (kind === "update") updates++;
    else if (kind === "delete") deletes++;
  }
  return `${creates} ${updates} ${deletes}`;
}

/** Change sets that are kept of one entity. */
export const KEPT_CHANGE_SETS = 5;

export async function trimChangeSets(tx: Tx, entities: readonly string[]): Promise<void> {
  if (entities.length === 0) return;
  await tx.query(
    `delete from holdfast.change_sets where id in (
       select c.id from unnest($1::bigint[]) as e(id)
        cross join lateral (
          select id from holdfast.change_sets where entity = e.id
           order by id desc offset ${KEPT_CHANGE_SETS}) c)`,
    [entities],
  );
}

/** The changes of approved plans, by entity. */
export async function approvedChanges(
  tx: Tx,
  entities: readonly string[],
): Promise<Map<string, readonly Change[]>> {
  if (entities.length === 0) return new Map();
  const { rows } = await tx.query<{ entity: string; changes: string }>(
    `select distinct on (e.id) e.id as entity, c.changes::text as changes
       from holdfast.entities e
       join holdfast.change_sets c on c.entity = e.id and c.hash = e.approved_hash
      where e.id = any ($1::bigint[])
      order by e.id, c.id desc`,
    [entities],
  );
  return new Map(
    rows.map(({ entity, changes }) => [
      entity,
      parseExactJson(changes) as unknown as readonly Change[],
    ]),
  );
}

/** Whether anybody waits for an object of this branch. */
export async function hasWaiting(tx: Tx, place: InventoryPlace): Promise<boolean> {
  const { rows } = await tx.query<{ waiting: boolean }>(
    // The bounds and the order are those of one index: no other serves, whatever is known of the table.
    `select coalesce((
       select true from holdfast.entities
        where state = 9 and operation is null and tenant = $1
          and (branch, due_at, id) > ($2, '-infinity', 0) and branch <= $2
        order by tenant, branch, due_at, id limit 1), false) as waiting`,
    [place.tenant, place.branch],
  );
  return rows[0]!.waiting;
}

/** Those who waited for these arrivals are due at once. Answers how many. */
export async function wakeWaiting(
  tx: Tx,
  place: InventoryPlace,
  arrivals: readonly string[],
): Promise<number> {
  if (arrivals.length === 0) return 0;
  const { rowCount } = await tx.query(
    `update holdfast.entities set due_at = clock_timestamp()
      where id in (select id from holdfast.entities
                    where state = 9 and waits_for && string_to_array($3, e'\\n')
                      and tenant = $1 and branch = $2 and due_at > clock_timestamp()
                    order by id for update)`,
    [place.tenant, place.branch, column(arrivals)],
  );
  return rowCount ?? 0;
}
