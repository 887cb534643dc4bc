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
}

/** How many entities of a plan stand where, and how many objects they change. */
export async function sumPlan(db: Queryable, operation: string): Promise<PlanSums> {
  const { rows } = await db.query<
    { stands: keyof PlanCounts; n: number; stale: number } & ChangeCounts
  >(
    `select stands, count(*)::int as n, count(*) filter (where stale)::int as stale,
            coalesce(sum(creates), 0)::int as create, coalesce(sum(updates), 0)::int as update,
            coalesce(sum(deletes), 0)::int as delete
       from (select ${STANDS} as stands, ${IS_STALE} as stale, c.*
               from holdfast.entities e
               left join lateral (
                 select (select count(*) from jsonb_path_query(s.changes, '$[*] ? (@.kind == "create")')) as creates,
                        (select count(*) from jsonb_path_query(s.changes, '$[*] ? (@.kind == "update")')) as updates,
                        (select count(*) from jsonb_path_query(s.changes, '$[*] ? (@.kind == "delete")')) as deletes
                   from holdfast.change_sets s where s.entity = e.id order by s.id desc limit 1) c on true
              where e.operation = $1) each
      group by stands`,
    [operation],
  );
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
