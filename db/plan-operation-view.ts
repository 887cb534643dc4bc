import type { Change } from "../contracts/inventory.ts";
import type { Page } from "../contracts/operation.ts";
import type { PlanCounts, PlanEntity } from "../contracts/plan.ts";
import type { ChangeCounts } from "../contracts/review.ts";
import { parseExactJson } from "../domain/exact-json.ts";
import type { Queryable } from "./pool.ts";

/** Plan operations as people see them. */

/** SQL: where an entity `e` of a plan stands. */
const STANDS = `case
  when e.state in (1, 8, 9, 10) then 'planning'
  when e.state = 2 then case when e.approved_hash is null then 'waiting' else 'approved' end
  when e.state = 3 then 'applied'
  when e.state = 5 then 'unchanged'
  when e.state in (6, 11) then
    case when e.error ->> 'fault' = 'cancelled' then 'cancelled' else 'rejected' end
  else 'failed' end`;

const IS_STALE = `(e.state = 2 and e.approved_hash is null
  and coalesce(e.error ->> 'fault' = 'changed-since-approval', false))`;

export interface PlanSums {
  counts: PlanCounts;
  /** By what waits or is approved. */
  changes: ChangeCounts;
  applied: ChangeCounts;
  /** Of the plans of what waits, as `hashOfWaiting` says it; null: nothing waits. */
  hash: string | null;
}

/** How many entities of a plan stand where, and how many objects they change. */
export async function sumPlan(db: Queryable, operation: string): Promise<PlanSums> {
  return (await sumPlans(db, [operation])).get(operation)!;
}

/** The same of several plans. */
export async function sumPlans(
  db: Queryable,
  operations: readonly string[],
): Promise<Map<string, PlanSums>> {
  if (operations.length === 0) return new Map();
  const { rows } = await db.query<StandingSum>(
    `select e.operation, ${STANDS} as stands, count(*)::int as n,
            count(*) filter (where ${IS_STALE})::int as stale,
            coalesce(sum(c.creates), 0)::int as create, coalesce(sum(c.updates), 0)::int as update,
            coalesce(sum(c.deletes), 0)::int as delete,
            case when ${STANDS} = 'waiting' then encode(sha256(convert_to(
              string_agg(e.item || ' ' || encode(e.plan_hash, 'hex') || e'\n', '' order by e.item),
              'UTF8')), 'hex') end as hash
       from holdfast.entities e
       left join lateral (
         select s.creates, s.updates, s.deletes
           from holdfast.change_sets s where s.entity = e.id order by s.id desc limit 1) c on true
      where e.operation = any ($1::uuid[])
      group by 1, 2`,
    [operations],
  );
  return new Map(
    operations.map((id) => [id, sumsOf(rows.filter(({ operation }) => operation === id))]),
  );
}

interface StandingSum extends ChangeCounts {
  operation: string;
  stands: keyof PlanCounts;
  n: number;
  stale: number;
  hash: string | null;
}

function sumsOf(rows: readonly StandingSum[]): PlanSums {
  const by = new Map(rows.map((row) => [row.stands, row]));
  const n = (stands: keyof PlanCounts) => by.get(stands)?.n ?? 0;
  const sum = (...all: (keyof PlanCounts)[]): ChangeCounts => {
    const parts = all.flatMap((stands) => by.get(stands) ?? []);
    const of = (kind: keyof ChangeCounts) => parts.reduce((total, part) => total + part[kind], 0);
    return { create: of("create"), update: of("update"), delete: of("delete") };
  };
  return {
    counts: {
      planning: n("planning"),
      waiting: n("waiting"),
      approved: n("approved"),
      applied: n("applied"),
      unchanged: n("unchanged"),
      rejected: n("rejected"),
      failed: n("failed"),
      cancelled: n("cancelled"),
      stale: by.get("waiting")?.stale ?? 0,
    },
    changes: sum("waiting", "approved"),
    applied: sum("applied"),
    hash: by.get("waiting")?.hash ?? null,
  };
}

/** Entities of a plan with their changes, in the order they were submitted. */
export async function listPlanEntities(
  db: Queryable,
  operation: string,
  { after, limit }: { after: number; limit: number },
): Promise<Page<PlanEntity>> {
  const { rows } = await db.query<
    Omit<PlanEntity, "changes" | "warnings" | "title"> & {
      title: string | null;
      changes: string | null;
      entity_warnings: string[] | null;
      warnings: string[] | null;
    }
  >(
    `select e.item as no, e.id, e.type, coalesce(c.title, e.error ->> 'title') as title,
            ${STANDS} as state, o.outcome, ${IS_STALE} as stale,
            encode(e.plan_hash, 'hex') as "planHash", c.changes::text as changes, c.warnings,
            e.warnings as entity_warnings, e.error, e.decided_by as "decidedBy",
            coalesce(e.rule, substring(e.decided_by from '^rule (.*)$')) as rule
       from holdfast.entities e
       left join lateral (select title, changes, warnings from holdfast.change_sets s
                           where s.entity = e.id order by s.id desc limit 1) c on true
       left join lateral (select outcome from holdfast.outcomes s
                           where s.operation_id = $1 and s.item_no = e.item
                           order by generation desc limit 1) o on true
      where e.operation = $1 and e.item > $2
      order by e.item limit $3`,
    [operation, after, limit + 1],
  );
  const items = rows.slice(0, limit).map((row): PlanEntity => {
    const { entity_warnings, changes, warnings, title, ...rest } = row;
    return {
      ...rest,
      title: title ?? `${row.type} ${row.no}`,
      changes: changes === null ? [] : (parseExactJson(changes) as unknown as Change[]),
      warnings: warnings ?? entity_warnings ?? [],
    };
  });
  return rows.length > limit ? { items, next: String(items.at(-1)!.no) } : { items };
}
