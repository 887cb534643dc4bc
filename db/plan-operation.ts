import { ENTITY_STATES } from "../contracts/inventory.ts";
import type { PlanOperationMode } from "../contracts/plan.ts";
import type { InboxEntry } from "../domain/inbox-entry.ts";
import { column } from "./columns.ts";
import { insertEvents } from "./events.ts";
import { isOpen } from "./items.ts";
import type { Queryable, Tx } from "./pool.ts";
import { addDeltas } from "./progress.ts";

/** Plan operations as rows. Their entities are their items: entity and outcome end in one transaction. */

export interface PlanRow {
  operation_id: string;
  tenant: string;
  branch: string;
  mode: PlanOperationMode;
  hash: string | null;
  planned_at: Date | null;
  told_at: Date | null;
  escalated_at: Date | null;
  expires_at: Date | null;
  decision: "approve" | "reject" | null;
  decided_by: string | null;
  decided_at: Date | null;
  reason: string | null;
  /** When it was read: it expires by the clock of the database. */
  now: Date;
}

export interface NewPlan {
  operationId: string;
  tenant: string;
  branch: string;
  mode: PlanOperationMode;
  /** In the order they were submitted. */
  entities: readonly InboxEntry[];
}

/** Beside its operation, in the transaction that accepts it. Its request has the id of the operation. */
export async function insertPlan(tx: Tx, plan: NewPlan, by: string): Promise<void> {
  const { operationId, tenant, branch, mode, entities } = plan;
  await tx.query(
    `insert into holdfast.plans (operation_id, tenant, branch, mode) values ($1, $2, $3, $4)`,
    [operationId, tenant, branch, mode],
  );
  await tx.query(
    `insert into holdfast.ingest_requests
       (id, tenant, source, submitted_by, branch, received, accepted)
     values ($1, $2, 'plan', $3, $4, $5, $5)`,
    [operationId, tenant, by, branch, entities.length],
  );
  await tx.query(
    `insert into holdfast.entities
       (id, tenant, branch, request, operation, item, type, identity, hash, fields, warnings, source_time)
     select nextval('holdfast.entity_ids'), $1, $2, $3, $3, e.item, e.type, decode(e.identity, 'hex'),
            decode(e.hash, 'hex'), e.fields::jsonb, e.warnings::jsonb, e.source_time
       from rows from (
         string_to_table($4, e'\\n'), string_to_table($5, e'\\n'), string_to_table($6, e'\\n'),
         string_to_table($7, e'\\n'), string_to_table($8, e'\\n', ''), string_to_table($9, e'\\n', '')
       ) with ordinality as e(type, identity, hash, fields, warnings, source_time, item)
      order by e.item`,
    [
      tenant,
      branch,
      operationId,
      column(entities.map(({ type }) => type)),
      column(entities.map(({ identity }) => identity)),
      column(entities.map(({ hash }) => hash)),
      column(entities.map(({ text }) => text)),
      column(entities.map(({ warnings }) => warnings)),
      column(entities.map(({ sourceTime }) => sourceTime)),
    ],
  );
}

const COLUMNS = `operation_id, tenant, branch, mode, encode(hash, 'hex') as hash, planned_at, told_at,
  escalated_at, expires_at, decision, decided_by, decided_at, reason, clock_timestamp() as now`;

export async function findPlan(db: Queryable, id: string): Promise<PlanRow | undefined> {
  return (await findPlans(db, [id]))[0];
}

/** Those of these that there are, in any order. */
export async function findPlans(db: Queryable, ids: readonly string[]): Promise<PlanRow[]> {
  const { rows } = await db.query<PlanRow>(
    `select ${COLUMNS} from holdfast.plans where operation_id = any ($1::uuid[])`,
    [ids],
  );
  return rows;
}

/** What is to be done for a plan. */
export interface PlanStanding {
  /** To be planned, or again: what they refer to was not there. */
  toPlan: number;
  toApply: number;
  /** For a decision. */
  waiting: number;
  /** Of those: changed since they were approved. */
  stale: number;
}

export async function readStanding(db: Queryable, id: string): Promise<PlanStanding> {
  const { rows } = await db.query<PlanStanding>(
    `select count(*) filter (where state in (1, 9))::int as "toPlan",
            count(*) filter (where state = 2 and approved_hash is not null)::int as "toApply",
            count(*) filter (where state = 2 and approved_hash is null)::int as waiting,
            count(*) filter (where state = 2 and approved_hash is null
              and error ->> 'fault' = 'changed-since-approval')::int as stale
       from holdfast.entities where operation = $1 and state in (1, 2, 9)`,
    [id],
  );
  return rows[0]!;
}

/** Plans of which something waits for a decision, of these, and people were told so. */
export async function waitingPlans(
  db: Queryable,
  ids: readonly string[],
): Promise<ReadonlySet<string>> {
  if (ids.length === 0) return new Set();
  const { rows } = await db.query<{ id: string }>(
    `select w.id from unnest($1::uuid[]) as w(id)
       join holdfast.plans p on p.operation_id = w.id and p.told_at is not null
      where exists (select from holdfast.entities e
                     where e.operation = w.id and e.state = 2 and e.approved_hash is null)
        and not exists (select from holdfast.entities e
                         where e.operation = w.id and e.state in (1, 9))
        and not exists (select from holdfast.entities e
                         where e.operation = w.id and e.state = 2 and e.approved_hash is not null)`,
    [ids],
  );
  return new Set(rows.map(({ id }) => id));
}

/**
 * Ends the items whose entities have ended, in the transaction in which those did. Answers how many;
 * of an item that was settled before, nothing is changed or counted.
 */
export async function settleEnded(
  tx: Tx,
  { id, generation }: { id: string; generation: number },
  by: string,
): Promise<number> {
  const { rows } = await tx.query<{ outcome: string; n: number; first: number }>(
    `with settled as (
       insert into holdfast.outcomes
         (operation_id, item_no, generation, outcome, reason, attempt, settled_by)
       select i.operation_id, i.no, $2::int,
              case e.state when ${ENTITY_STATES.applied} then 'succeeded'
                           when ${ENTITY_STATES.no_changes} then 'unchanged'
                           when ${ENTITY_STATES.ignored} then 'blocked'
                           when ${ENTITY_STATES.superseded} then 'superseded' else 'failed' end,
              case when e.state = ${ENTITY_STATES.ignored}
                   then coalesce(left(e.error ->> 'message', 2000), 'ignored by rule ' || e.rule)
                   when e.state in (${ENTITY_STATES.failed}, ${ENTITY_STATES.errored})
                   then left(e.error ->> 'message', 2000) end,
              1, $3
         from holdfast.entities e
         join holdfast.items i on i.operation_id = $1 and i.no = e.item
        where e.operation = $1 and e.settled_at is not null and ${isOpen("i", "$2", "$1")}
        order by i.no
       on conflict do nothing
       returning outcome, item_no
     )
     select outcome, count(*)::int as n, min(item_no) as first from settled group by outcome order by 1`,
    [id, generation, by],
  );
  if (rows.length === 0) return 0;
  // An item is settled once in a generation, so no other call begins with it.
  const first = Math.min(...rows.map((row) => row.first));
  const counts = rows.map(({ outcome, n }) => ({ stage: "plan", outcome, n }));
  await addDeltas(tx, id, `settled/${generation}/${first}`, counts);
  return rows.reduce((sum, { n }) => sum + n, 0);
}

/** Nothing of a plan is planned or applied any more, in the transaction that ends it. */
export async function closePlan(
  tx: Tx,
  id: string,
  { outcome, reason }: { outcome: string; reason: string },
): Promise<void> {
  const state = outcome === "cancelled" ? ENTITY_STATES.ignored : ENTITY_STATES.failed;
  const fault = outcome === "cancelled" ? "cancelled" : "refused";
  await tx.query(
    `with held as (
       select id from holdfast.entities
        where operation = $1 and state in (1, 2, 9) order by id for update
     )
     update holdfast.entities e
        set state = $2, settled_at = clock_timestamp(), approved_hash = null, due_at = null,
            waits_for = null,
            error = jsonb_strip_nulls(jsonb_build_object('fault', $3::text, 'message', $4::text,
              'title', e.error ->> 'title'))
       from held h where e.id = h.id`,
    [id, state, fault, reason],
  );
}

/** What is open in a later generation is planned anew. For the transaction that begins it. */
export async function reopenPlan(
  tx: Tx,
  { id, generation }: { id: string; generation: number },
): Promise<void> {
  if (generation === 1) return;
  const { rowCount } = await tx.query(
    `update holdfast.entities e
        set state = 1, settled_at = null, approved_hash = null, error = null, attempt = 0,
            decided_by = null, decided_at = null, rule = null
       from holdfast.items i
      where i.operation_id = $1 and e.operation = $1 and e.item = i.no
        and e.settled_at is not null and ${isOpen("i", "$2", "$1")}`,
    [id, generation],
  );
  if (!rowCount) return;
  await tx.query(
    `update holdfast.plans
        set hash = null, planned_at = null, told_at = null, escalated_at = null, expires_at = null,
            decision = null, decided_by = null, decided_at = null, reason = null
      where operation_id = $1`,
    [id],
  );
}

/** Notes that a plan waits, the first time and whenever something of it changed; then people are told. */
export async function tellWaiting(
  tx: Tx,
  plan: PlanRow,
  hash: string | null,
  how: { expiresInSeconds: number; escalate: boolean; body: Record<string, unknown> },
): Promise<void> {
  const id = plan.operation_id;
  await tx.query(
    `update holdfast.plans
        set hash = decode($2, 'hex'), planned_at = coalesce(planned_at, clock_timestamp()),
            told_at = clock_timestamp(),
            escalated_at = case when $4 then clock_timestamp() else escalated_at end,
            expires_at = coalesce(expires_at, clock_timestamp() + $3 * interval '1 second')
      where operation_id = $1`,
    [id, hash, how.expiresInSeconds, how.escalate],
  );
  await insertEvents(tx, [
    {
      type: "operation.waiting",
      tenant: plan.tenant,
      operationId: id,
      body: { operationId: id, kind: "plan", hash, escalation: how.escalate, ...how.body },
    },
  ]);
}
