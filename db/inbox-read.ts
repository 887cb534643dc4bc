import type { EntityDetail, EntityView } from "../contracts/inbox.ts";
import { ENTITY_STATES, type EntityState, type Fields } from "../contracts/inventory.ts";
import type { Page } from "../contracts/operation.ts";
import { parseExactJson } from "../domain/exact-json.ts";
import { nameOf } from "./entity-states.ts";
import type { Queryable } from "./pool.ts";

/** What the inbox shows of itself. */

type EntityRow = Omit<EntityView, "state" | "acceptedAt" | "plannedAt" | "settledAt" | "dueAt"> & {
  state: number;
  acceptedAt: Date;
  plannedAt: Date | null;
  settledAt: Date | null;
  dueAt: Date | null;
};

const COLUMNS = `e.id, e.tenant, e.branch, e.type, e.state, e.request, e.operation, e.removal,
            e.source_time as "sourceTime", e.accepted_at as "acceptedAt",
            e.planned_at as "plannedAt", e.settled_at as "settledAt", e.attempt,
            e.due_at as "dueAt", e.rule, e.decided_by as "decidedBy", e.error, s.title`;

const NEWEST_PLAN = `left join lateral (
        select title from holdfast.change_sets where entity = e.id order by id desc limit 1) s on true`;

function viewOf<R extends EntityRow>({
  state,
  acceptedAt,
  plannedAt,
  settledAt,
  dueAt,
  ...row
}: R) {
  return {
    ...row,
    state: nameOf(state),
    acceptedAt: acceptedAt.toISOString(),
    plannedAt: plannedAt && plannedAt.toISOString(),
    settledAt: settledAt && settledAt.toISOString(),
    dueAt: dueAt && dueAt.toISOString(),
  };
}

export interface EntityQuery {
  tenant?: string | undefined;
  /** Absent: all. */
  tenants?: readonly string[] | undefined;
  branch?: string | undefined;
  state?: EntityState | undefined;
  type?: string | undefined;
  request?: string | undefined;
  after?: string | undefined;
  limit: number;
}

/** Entities that one page looks at, where what is asked for has no index of its own. */
const LOOKED_AT = 20_000;

/**
 * Newest first, along an index of the tenants or the request. Of what is rare a page may hold less than
 * the limit, or nothing, and still be followed by another.
 */
export async function listEntities(
  db: Queryable,
  filter: EntityQuery,
  lookedAt = LOOKED_AT,
): Promise<Page<EntityView>> {
  const { branch, state, type, request, after, limit } = filter;
  const tenants = filter.tenant === undefined ? filter.tenants : [filter.tenant];
  const within: Within = { tenants, request, state, after };
  const isSparse = branch !== undefined || type !== undefined || (state && !HAS_INDEX.has(state));
  const last = isSparse ? await lastLookedAt(db, within, lookedAt) : undefined;
  const { rows } = await db.query<EntityRow>(
    `select ${COLUMNS}
       from (${newestFirst(
         within,
         `and ($5::text is null or e.branch = $5) and ($6::text is null or e.type = $6)`,
         "$7::bigint",
       )} limit $4) e
       ${NEWEST_PLAN}
      order by e.id desc`,
    [...placeOf(within), limit + 1, branch ?? null, type ?? null, last ?? null],
  );
  const items: EntityView[] = rows.slice(0, limit).map(viewOf);
  const next = rows.length > limit ? items.at(-1)!.id : last;
  return next === undefined ? { items } : { items, next };
}

type Within = Pick<EntityQuery, "tenants" | "request" | "state" | "after">;

/** States whose entities stand in a small index in order of tenant and id. */
const HAS_INDEX = new Map<EntityState, string>([
  ["open", "e.state = 2"],
  ["failed", "e.state in (4, 6, 7) and e.state = 4"],
  ["ignored", "e.state in (4, 6, 7) and e.state = 6"],
  ["errored", "e.state in (4, 6, 7) and e.state = 7"],
]);

const placeOf = ({ tenants, request, after }: Within) => [
  tenants ?? null,
  request ?? null,
  after ?? null,
];

/** SQL: each tenant by its own index, as one is in no order of several. $4: how many at most. */
function newestFirst({ tenants, request, state }: Within, and: string, last: string): string {
  const isOf =
    state === undefined ? "true" : (HAS_INDEX.get(state) ?? `e.state = ${ENTITY_STATES[state]}`);
  const rest = `${isOf} ${and}`;
  if (tenants && request === undefined) {
    return `select e.* from unnest($1::text[]) as t(tenant)
             cross join lateral (
               select * from holdfast.entities e
                where ${ofTenant(`coalesce(${last}, 0)`)} and $2::uuid is null and ${rest}
                order by e.tenant desc, e.id desc limit $4) e
             order by e.id desc`;
  }
  return `select * from holdfast.entities e
           where ($1::text[] is null or e.tenant = any ($1))
             and ${request === undefined ? "$2::uuid is null" : "e.request = $2::uuid"}
             and ($3::bigint is null or e.id < $3) and (${last} is null or e.id >= ${last})
             and ${rest}
           order by e.id desc`;
}

/**
 * SQL: those of one tenant from `last` up to `after`. As a range, for where it is told that a tenant is
 * equal, the planner takes any index in order of id, and reads what all others have.
 */
const ofTenant = (last: string) => `(e.tenant, e.id) >= (t.tenant, ${last})
                  and (e.tenant, e.id) < (t.tenant, coalesce($3::bigint, 9223372036854775807))`;

/** The last entity that a page looks at; undefined: it looks at all that are left. */
async function lastLookedAt(
  db: Queryable,
  within: Within,
  lookedAt: number,
): Promise<string | undefined> {
  const { tenants, request } = within;
  const each =
    tenants && request === undefined
      ? `select n.id from unnest($1::text[]) as t(tenant)
          cross join lateral (
            select id from holdfast.entities e
             where ${ofTenant("0")} and $2::uuid is null
             order by e.tenant desc, e.id desc offset $4 limit 1) n`
      : `select id from holdfast.entities e
          where ($1::text[] is null or e.tenant = any ($1)) and ($3::bigint is null or e.id < $3)
            and ${request === undefined ? "$2::uuid is null" : "e.request = $2::uuid"}
          order by e.id desc offset $4 limit 1`;
  const { rows } = await db.query<{ id: string | null }>(`select max(id) as id from (${each}) n`, [
    ...placeOf(within),
    Math.max(0, Math.ceil(lookedAt / (tenants?.length || 1)) - 1),
  ]);
  return rows[0]!.id ?? undefined;
}

export async function findEntity(db: Queryable, id: string): Promise<EntityDetail | undefined> {
  const { rows } = await db.query<
    EntityRow & { fields: string; warnings: string[]; copies: number }
  >(
    `select ${COLUMNS}, e.fields::text as fields, coalesce(e.warnings, '[]') as warnings,
            (select coalesce(sum(n), 0)::int from holdfast.entity_copies where entity = e.id) as copies
       from holdfast.entities e ${NEWEST_PLAN}
      where e.id = $1`,
    [id],
  );
  return rows[0] && { ...viewOf(rows[0]), fields: parseExactJson(rows[0].fields) as Fields };
}
