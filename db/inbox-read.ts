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

/** Newest first. */
export async function listEntities(
  db: Queryable,
  filter: {
    tenant?: string | undefined;
    tenants?: readonly string[] | undefined;
    branch?: string | undefined;
    state?: EntityState | undefined;
    type?: string | undefined;
    request?: string | undefined;
    after?: string | undefined;
    limit: number;
  },
): Promise<Page<EntityView>> {
  // Written out, so that the small index of a state can be used.
  const state = filter.state === undefined ? "" : `and e.state = ${ENTITY_STATES[filter.state]}`;
  const { rows } = await db.query<EntityRow>(
    `select ${COLUMNS}
       from (select * from holdfast.entities e
              where ($1::text is null or e.tenant = $1) and ($2::text[] is null or e.tenant = any ($2))
                and ($3::text is null or e.branch = $3) and ($4::text is null or e.type = $4)
                and ($5::uuid is null or e.request = $5) and ($6::bigint is null or e.id < $6) ${state}
              order by e.id desc limit $7) e
       ${NEWEST_PLAN}
      order by e.id desc`,
    [
      filter.tenant ?? null,
      filter.tenants ?? null,
      filter.branch ?? null,
      filter.type ?? null,
      filter.request ?? null,
      filter.after ?? null,
      filter.limit + 1,
    ],
  );
  const items: EntityView[] = rows.slice(0, filter.limit).map(viewOf);
  return rows.length > filter.limit ? { items, next: items.at(-1)!.id } : { items };
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
