import { BUILT_IN_TARGET } from "../../contracts/inventory-settings.ts";
import { DUE_PLACES, dueIds, NOW, RECONCILE_QUEUE } from "../plan-due.ts";
import { onlineWorkers } from "../workers.ts";
import { MOST_SUBJECTS, type Found, type RowCheck } from "./check.ts";

/** Invariants of the inbox, its plans and the built-in inventory. The newest rows stand for all. */

const NEWEST = 1_000;

const branchNotWorked: RowCheck = {
  name: "branch-not-worked",
  explanation: "while a worker is alive, entities that are due are planned",
  async find({ db }) {
    if ((await onlineWorkers(db)).length === 0) return [];
    const { rows } = await db.query<{ tenant: string; branch: string; since: Date }>(
      `select p.tenant, p.branch, e.since
         from (${DUE_PLACES}) p
        cross join lateral (
          select greatest(e.accepted_at, e.due_at, e.decided_at) as since from holdfast.entities e
           where e.id in (${dueIds("p.tenant", "p.branch", "1")}) order by 1 limit 1) e
        where e.since < ${LONG_AGO}
          and not exists (select from holdfast.entities s
                           where s.settled_at > ${LONG_AGO} and s.tenant = p.tenant
                             and s.branch = p.branch)
        limit ${MOST_SUBJECTS}`,
    );
    return rows.map(({ tenant, branch, since }) => ({
      subject: `branch ${tenant}/${branch}`,
      tenant,
      message: `entities of ${branch} are due since ${since.toISOString()}, and nobody plans them`,
      repair: "wake the drain",
    }));
  },
  async repair({ db }) {
    const { rowCount } = await db.query(
      "update holdfast.drains set wake_at = clock_timestamp() where queue = $1",
      [RECONCILE_QUEUE],
    );
    return rowCount ? "woke the drain" : undefined;
  },
};

const LONG_AGO = `${NOW} - interval '10 minutes'`;

/** Longer than the drain of a target needs to take over what a worker left behind. */
const LEASE_IS_OVER = `lease_until < ${NOW} - interval '5 minutes'`;

/** The drain of its target takes it over; where there is none any more, nobody does. */
const leaseNotEnded: RowCheck = {
  name: "entity-lease-not-ended",
  explanation: "a claim on an entity that nobody extends is taken over soon after its time",
  async find({ db }) {
    const { rows } = await db.query<{ id: string; tenant: string; over: number }>(
      `select id, tenant, extract(epoch from clock_timestamp() - lease_until)::int as over
         from holdfast.entities
        where ${LEASE_IS_OVER}
        order by lease_until limit ${MOST_SUBJECTS}`,
    );
    return rows.map(({ id, tenant, over }) => ({
      subject: `entity ${id}`,
      tenant,
      message: `the claim on entity ${id} ended ${over} s ago and nobody has taken it over: look whether its target is reachable, braked or no longer configured`,
      repair: "queue it again",
    }));
  },
  async repair({ db }, { subject }) {
    const { rowCount } = await db.query(
      `update holdfast.entities
          set state = 1, token = null, lease_until = null, waits_for = null
        where id = $1 and operation is null and state in (8, 10) and ${LEASE_IS_OVER}`,
      [subject.slice("entity ".length)],
    );
    return rowCount ? "queued it" : undefined;
  },
};

const HAS_NO_PLAN = `e.state = 2
  and not exists (select from holdfast.change_sets c where c.entity = e.id and c.hash = e.plan_hash)`;

const openWithoutPlan: RowCheck = {
  name: "open-without-plan",
  explanation: "an entity that waits for a decision has the change set that is decided about",
  async find({ db }) {
    const { rows } = await db.query<{ id: string; tenant: string; operation: string | null }>(
      `select e.id, e.tenant, e.operation
         from (select * from holdfast.entities where state = 2 order by id desc limit 10000) e
        where ${HAS_NO_PLAN} order by e.id limit ${MOST_SUBJECTS}`,
    );
    return rows.map(({ id, tenant, operation }): Found => {
      const message = `entity ${id} waits for a decision about a plan that is not there`;
      return {
        subject: `entity ${id}`,
        tenant,
        ...(operation ? { operationId: operation } : {}),
        message,
        repair: "plan it again",
      };
    });
  },
  async repair({ db }, { subject }) {
    const { rowCount } = await db.query(
      `update holdfast.entities e set state = 1, approved_hash = null, plan_hash = null
        where e.id = $1 and ${HAS_NO_PLAN}`,
      [subject.slice("entity ".length)],
    );
    return rowCount ? "queued it" : undefined;
  },
};

const appliedWithoutJournal: RowCheck = {
  name: "applied-without-journal",
  explanation: "what was applied into the built-in inventory stands in the journal of its objects",
  async find({ db }) {
    const { rows } = await db.query<{ entity: string; tenant: string; object: string }>(
      `select distinct on (c.entity) c.entity, e.tenant, x ->> 'objectId' as object
         from (select * from holdfast.change_sets where applied_at is not null
                order by id desc limit ${NEWEST}) c
         join holdfast.entities e on e.id = c.entity
        cross join jsonb_array_elements(c.changes) x
        where x ->> 'kind' <> 'noop'
          and not exists (select from holdfast.inventory_settings s
                           where s.tenant = e.tenant and s.target <> '${BUILT_IN_TARGET}')
          and x ->> 'objectId' ~ '^[0-9]+$'
          and not exists (select from holdfast.object_journal j
                           where j.object = (x ->> 'objectId')::bigint and j.entity = c.entity)
        limit ${MOST_SUBJECTS}`,
    );
    return rows.map(({ entity, tenant, object }) => ({
      subject: `entity ${entity}`,
      tenant,
      message: `entity ${entity} is applied, and the journal of object ${object} does not say so: compare the object with the change set`,
    }));
  },
};

const requestCounts: RowCheck = {
  name: "request-counts",
  explanation: "a request counts the entities and copies that it brought",
  async find({ db }) {
    const { rows } = await db.query<{
      id: string;
      tenant: string;
      accepted: number;
      copies: number;
      entities: number;
      copied: number;
    }>(
      `select * from (
         select r.id, r.tenant, r.accepted, r.copies,
                (select count(*)::int from holdfast.entities e where e.request = r.id) as entities,
                (select coalesce(sum(n), 0)::int from holdfast.entity_copies c
                  where c.request = r.id) as copied
           from (select * from holdfast.ingest_requests
                  where at > clock_timestamp() - interval '30 days' and accepted < 100000
                  order by at desc limit 200) r) counted
        where entities <> accepted or copied <> copies limit ${MOST_SUBJECTS}`,
    );
    return rows.map(({ id, tenant, accepted, copies, entities, copied }) => ({
      subject: `request ${id}`,
      tenant,
      message: `${entities} of ${accepted} entities and ${copied} of ${copies} copies are there: send the message again`,
    }));
  },
};

const referenceToNothing: RowCheck = {
  name: "reference-to-nothing",
  explanation: "what an object refers to is there",
  async find({ db }) {
    const { rows } = await db.query<{ id: string; tenant: string; to: string }>(
      `select distinct on (o.id) o.id, o.tenant, r.to_object as to
         from (select id, tenant from holdfast.objects order by id desc limit ${NEWEST}) o
         join holdfast.object_refs r on r.from_object = o.id
        where not exists (select from holdfast.objects t where t.id = r.to_object)
        limit ${MOST_SUBJECTS}`,
    );
    return rows.map(({ id, tenant, to }) => ({
      subject: `object ${id}`,
      tenant,
      message: `object ${id} refers to object ${to}, which is not there: take in what it is about again`,
    }));
  },
};

const IS_LOST = `m.removal is not null and not exists (
  select from holdfast.entities e where e.id = m.removal and e.removal and e.state not in (3, 5, 11))`;

const memberWithoutRemoval: RowCheck = {
  name: "member-without-removal",
  explanation: "the removal that a member of a scope waits for is there, and has not ended",
  async find({ db }) {
    const { rows } = await db.query<{ tenant: string; removal: string }>(
      `select distinct m.tenant, m.removal from (
         select * from holdfast.scope_members where removal is not null order by removal limit 10000) m
        where ${IS_LOST} limit ${MOST_SUBJECTS}`,
    );
    return rows.map(({ tenant, removal }) => ({
      subject: `removal ${removal}`,
      tenant,
      message: `members of a snapshot wait for removal ${removal}, which is not there or has ended`,
      repair: "forget it: the next look makes another if they are still missing",
    }));
  },
  async repair({ db }, { subject }) {
    const { rowCount } = await db.query(
      `update holdfast.scope_members m set removal = null where m.removal = $1 and ${IS_LOST}`,
      [subject.slice("removal ".length)],
    );
    return rowCount ? "forgot it" : undefined;
  },
};

export const INVENTORY_CHECKS: readonly RowCheck[] = [
  branchNotWorked,
  leaseNotEnded,
  openWithoutPlan,
  appliedWithoutJournal,
  requestCounts,
  referenceToNothing,
  memberWithoutRemoval,
];
