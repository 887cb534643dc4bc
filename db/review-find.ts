import { ENTITY_STATES, type EntityState } from "../contracts/inventory.ts";

/**
 * How entities are found for people: page by page, from an index that holds little else, however many
 * have ended. What has no such index is looked at in windows, so that no page costs more than one of them.
 */

export interface Sieve {
  tenant: string;
  branch?: string | undefined;
  states: readonly EntityState[];
  types?: readonly string[] | undefined;
  rule?: string | undefined;
  request?: string | undefined;
  operation?: string | undefined;
  text?: string | undefined;
  /** Only what was taken in up to here. */
  upTo?: string | undefined;
  /** Nothing that is approved already. */
  unapproved?: boolean | undefined;
}

/** Entities looked at for one page where not all of them need fit. */
const WINDOW = 20_000;

/** The states that have an index of their own. */
const INDEXED: ReadonlySet<EntityState> = new Set(["open", "failed", "ignored", "errored"]);
/** Of the inbox alone: what waits for what it refers to. There are few of them. */
const RETRIED: EntityState = "pending_retry";

export interface Finding {
  /** SQL of ids that a page looks at, in order. */
  lookedAt: string;
  /** The most that a page looks at. */
  window: number;
  /** SQL that is true for an entity `e` that the sieve lets pass. */
  passes: string;
  values: unknown[];
}

export interface PageOfEntities {
  after?: string | undefined;
  /** The most that is found. */
  limit: number;
  newest: boolean;
  /** Looks at no more than it may find: where finding is the work, and not showing. */
  short?: boolean;
}

/** What a page of entities is found by. */
export function findingOf(sieve: Sieve, page: PageOfEntities): Finding {
  const values: unknown[] = [];
  const value = (one: unknown) => `$${values.push(one)}`;
  const tenant = value(sieve.tenant);
  const after = page.after === undefined ? undefined : value(page.after);
  const upTo = sieve.upTo === undefined ? undefined : value(sieve.upTo);
  const order = page.newest ? "desc" : "asc";
  // Written out, because only then the small indexes of what is open are used.
  const states = sieve.states.map((state) => ENTITY_STATES[state]).join(", ") || "null";
  const within = [
    after && `id ${page.newest ? "<" : ">"} ${after}::bigint`,
    upTo && `id <= ${upTo}::bigint`,
  ].filter((part) => part !== undefined);
  const and = within.map((part) => ` and ${part}`).join("");
  const narrowed = [sieve.branch, sieve.types, sieve.rule, sieve.text].some(
    (part) => part !== undefined,
  );

  const conditions = [
    `e.tenant = ${tenant}`,
    "e.branch is not null",
    `e.state in (${states})`,
    sieve.unapproved && "e.approved_hash is null",
    sieve.branch !== undefined && `e.branch = ${value(sieve.branch)}`,
    sieve.types && `e.type = any (${value(sieve.types)}::text[])`,
    sieve.rule !== undefined && `e.rule = ${value(sieve.rule)}`,
    sieve.request !== undefined && `e.request = ${value(sieve.request)}::uuid`,
    sieve.operation !== undefined && `e.operation = ${value(sieve.operation)}::uuid`,
    sieve.text !== undefined &&
      `strpos(lower(coalesce((select c.title from holdfast.change_sets c where c.entity = e.id
          order by c.id desc limit 1), e.error ->> 'title', '')), lower(${value(sieve.text)})) > 0`,
  ].filter((part) => part !== false && part !== undefined);

  const first = (from: string, limit: number) =>
    `(select id from ${from}${and} order by id ${order} limit ${limit})`;
  // A fence, so that the planner does not walk all entities instead in search of the first few.
  const fenced = (where: string, limit: number) =>
    first(`(select id from holdfast.entities where ${where} offset 0) few where true`, limit);
  const indexed = sieve.states.every((state) => INDEXED.has(state) || state === RETRIED);
  const exact = indexed && !narrowed && sieve.request === undefined;
  const window = page.short || (exact && sieve.operation === undefined) ? page.limit : WINDOW;
  let lookedAt: string;
  if (sieve.operation !== undefined) {
    lookedAt = fenced(`operation = ${value(sieve.operation)}::uuid`, window);
  } else if (indexed) {
    const parts = sieve.states.map((state) =>
      state === RETRIED
        ? fenced(`tenant = ${tenant} and state = 9 and operation is null`, window)
        : first(
            `holdfast.entities where tenant = ${tenant} and state = ${ENTITY_STATES[state]}`,
            window,
          ),
    );
    lookedAt = `(select id from (${parts.join(" union all ")}) each order by id ${order} limit ${window})`;
  } else if (sieve.request !== undefined) {
    lookedAt = fenced(`request = ${value(sieve.request)}::uuid`, window);
  } else {
    // Bounds and order as one row, so that only the index of tenants serves.
    const edges = page.newest
      ? `(tenant, id) < (${tenant}, ${after ?? "9223372036854775807"}::bigint) and tenant >= ${tenant}`
      : `(tenant, id) > (${tenant}, ${after ?? "0"}::bigint) and tenant <= ${tenant}`;
    lookedAt = `(select id from holdfast.entities where ${edges}${upTo ? ` and id <= ${upTo}::bigint` : ""}
      order by tenant ${order}, id ${order} limit ${window})`;
  }
  return { lookedAt, window, passes: conditions.join(" and "), values };
}

/**
 * SQL of two common table expressions, `looked_at` (ids) and `found` (entities), of at most `limit`; and
 * of where the next page begins: null when there is none.
 */
export function foundSql(
  { lookedAt, window, passes }: Finding,
  { limit, newest }: PageOfEntities,
): { sql: string; edge: string } {
  const last = newest ? "min" : "max";
  return {
    sql: `looked_at as materialized (${lookedAt}), found as materialized (
      select e.* from holdfast.entities e
       where e.id = any (array(select id from looked_at)) and ${passes}
       order by e.id ${newest ? "desc" : "asc"} limit ${limit})`,
    edge: `case when (select count(*) from found) >= ${limit} then (select ${last}(id) from found)
                when (select count(*) from looked_at) >= ${window}
                then (select ${last}(id) from looked_at) end`,
  };
}
