import type { Fields } from "../contracts/inventory.ts";
import type { Page } from "../contracts/operation.ts";
import type {
  ChangeSetView,
  Deviation,
  DeviationDetail,
  EntityFault,
  VersionView,
} from "../contracts/review.ts";
import type { z } from "zod";
import { parseExactJson } from "../domain/exact-json.ts";
import { nameOf } from "./entity-states.ts";
import type { Queryable } from "./pool.ts";
import type { PlansSeen } from "./review.ts";
import { findingOf, foundSql, type Sieve } from "./review-find.ts";

/** Entities with their plans, as people see them. */

interface Row {
  id: string;
  tenant: string;
  branch: string | null;
  type: string;
  title: string | null;
  state: number;
  approved: boolean;
  created: number;
  updated: number;
  deleted: number;
  plan_hash: string | null;
  rule: string | null;
  error: z.infer<typeof EntityFault> | null;
  request: string;
  operation: string | null;
  source_time: string | null;
  accepted_at: Date;
  planned_at: Date | null;
  settled_at: Date | null;
  decided_by: string | null;
  decided_at: Date | null;
}

/** SQL: what stands in a list of an entity `e`; its newest change set is beside it. */
const SHOWN = `e.id, e.tenant, e.branch, e.type, coalesce(c.title, e.error ->> 'title') as title,
  e.state, e.state = 2 and e.approved_hash is not null as approved,
  coalesce(c.created, 0) as created, coalesce(c.updated, 0) as updated,
  coalesce(c.deleted, 0) as deleted, encode(e.plan_hash, 'hex') as plan_hash, e.rule, e.error,
  e.request, e.operation, e.source_time, e.accepted_at, e.planned_at, e.settled_at, e.decided_by,
  e.decided_at`;
const NEWEST = `left join lateral (
    select s.title, s.creates as created, s.updates as updated, s.deletes as deleted
      from holdfast.change_sets s where s.entity = e.id order by s.id desc limit 1) c on true`;

function shown(row: Row): Deviation {
  const state = nameOf(row.state);
  return {
    id: row.id,
    tenant: row.tenant,
    branch: row.branch,
    type: row.type,
    title: row.title ?? `${row.type} ${row.id}`,
    state,
    approved: row.approved,
    changes: { create: row.created, update: row.updated, delete: row.deleted },
    planHash: row.plan_hash,
    rule: row.rule,
    error: row.error,
    request: row.request,
    operation: row.operation,
    sourceTime: row.source_time,
    acceptedAt: row.accepted_at.toISOString(),
    plannedAt: iso(row.planned_at),
    settledAt: iso(row.settled_at),
    decidedBy: row.decided_by,
    decidedAt: iso(row.decided_at),
  };
}

const iso = (moment: Date | null) => moment?.toISOString() ?? null;

/**
 * One page of a filter. A page may hold less than it could, or nothing, and yet not be the last: it is
 * when it has no `next`.
 */
export async function listDeviations(
  db: Queryable,
  sieve: Sieve,
  page: { after?: string | undefined; limit: number; newest: boolean },
): Promise<Page<Deviation>> {
  const finding = findingOf(sieve, page);
  const { sql, edge: edgeSql } = foundSql(finding, page);
  const { rows } = await db.query<Row & { edge: string | null }>(
    `with ${sql}, edge as (select ${edgeSql} as edge)
     select edge.edge, shown.*
       from edge
       left join lateral (select ${SHOWN} from found e ${NEWEST}) shown on true
      order by shown.id ${page.newest ? "desc" : "asc"}`,
    finding.values,
  );
  const items = rows.filter(({ id }) => id !== null).map(shown);
  const edge = rows[0]!.edge;
  return edge === null ? { items } : { items, next: edge };
}

/** Everything that is kept of one entity; undefined when it is not there. */
export async function findDeviation(
  db: Queryable,
  id: string,
): Promise<DeviationDetail | undefined> {
  const { rows } = await db.query<
    Row & { fields: string; warnings: string[] | null; attempt: number; due_at: Date | null }
  >(
    `select ${SHOWN}, e.fields::text as fields, e.warnings, e.attempt, e.due_at
       from holdfast.entities e ${NEWEST} where e.id = $1`,
    [id],
  );
  const row = rows[0];
  if (!row) return undefined;
  return {
    ...shown(row),
    fields: parseExactJson(row.fields) as Fields,
    warnings: row.warnings ?? [],
    attempt: row.attempt,
    nextRetryAt: iso(row.due_at),
    changeSets: await changeSetsOf(db, id),
    versions: await otherVersions(db, id),
  };
}

async function changeSetsOf(db: Queryable, entity: string): Promise<ChangeSetView[]> {
  const { rows } = await db.query<{
    id: string;
    hash: string;
    title: string;
    changes: string;
    warnings: string[] | null;
    made_at: Date;
    applied_at: Date | null;
  }>(
    `select id, encode(hash, 'hex') as hash, title, changes::text as changes, warnings, made_at,
            applied_at
       from holdfast.change_sets where entity = $1 order by id desc limit 20`,
    [entity],
  );
  return rows.map(({ made_at, applied_at, changes, warnings, ...set }) => ({
    ...set,
    changes: parseExactJson(changes) as unknown as ChangeSetView["changes"],
    warnings: warnings ?? [],
    madeAt: made_at.toISOString(),
    appliedAt: iso(applied_at),
  }));
}

async function otherVersions(db: Queryable, entity: string): Promise<VersionView[]> {
  const { rows } = await db.query<{ id: string; state: number; accepted_at: Date }>(
    `select v.id, v.state, v.accepted_at
       from holdfast.entities e
       join holdfast.entities v on v.tenant = e.tenant and v.branch = e.branch
            and v.identity = e.identity and v.operation is null and v.id <> e.id
      where e.id = $1 order by v.id desc limit 20`,
    [entity],
  );
  return rows.map(({ id, state, accepted_at }) => ({
    id,
    state: nameOf(state),
    acceptedAt: accepted_at.toISOString(),
  }));
}

/** What there is to be seen now: bounds of a decision about it. */
export async function seenNow(db: Queryable): Promise<{ upTo: string; seen: PlansSeen }> {
  const { rows } = await db.query<{ id: string; at: string; snapshot: string }>(
    `select (select last_value from holdfast.entity_ids)::text as id,
            to_json(clock_timestamp()) #>> '{}' as at, pg_current_snapshot()::text as snapshot`,
  );
  const { id, at, snapshot } = rows[0]!;
  return { upTo: id, seen: { at, snapshot } };
}

/** Ids of what a filter finds, oldest first: at most `limit` of them. */
export async function findIds(
  db: Queryable,
  sieve: Sieve,
  page: { after?: string | undefined; limit: number },
): Promise<{ ids: string[]; next?: string }> {
  const how = { ...page, newest: false, short: true };
  const finding = findingOf(sieve, how);
  const { sql, edge: edgeSql } = foundSql(finding, how);
  const { rows } = await db.query<{ edge: string | null; ids: string | null }>(
    `with ${sql}
     select ${edgeSql} as edge, (select string_agg(id::text, ',' order by id) from found) as ids`,
    finding.values,
  );
  const { edge, ids } = rows[0]!;
  return { ids: ids?.split(",") ?? [], ...(edge !== null && { next: edge }) };
}
