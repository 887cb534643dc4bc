import { ENTITY_STATES, type EntityState } from "../contracts/inventory.ts";
import { stateAfter, statesBefore, type EntityAct } from "../domain/inventory-state.ts";
import type { Queryable } from "./pool.ts";

/**
 * Decisions of people about entities: guarded changes of rows, for one, many or all that a filter finds.
 * What is not in a state for it, or has another plan than the one that was seen, stays as it is.
 */

export type ReviewAct = Extract<
  EntityAct,
  "approve" | "reject" | "ignore" | "reopen" | "rediff" | "requeue"
>;

export interface ReviewTarget {
  tenant: string;
  branch?: string | undefined;
  /** Absent: all that the rest finds. */
  ids?: readonly string[] | undefined;
  /** Hash of the plan that was seen, for each of the ids. */
  planHashes?: readonly string[] | undefined;
  types?: readonly string[] | undefined;
  request?: string | undefined;
  /** Only what was taken in up to here: what a list was shown for. */
  upTo?: string | undefined;
}

export interface Decision {
  act: ReviewAct;
  by: string;
}

export interface Decided {
  decided: number;
  /** Id of the last one looked at; absent when there are no more. */
  next?: string;
}

/**
 * Decides about the next `limit` entities after `after`, in order of acceptance. An approval binds to
 * the plan that stands; an entity without one, or with another than was seen, is passed over.
 */
export async function decide(
  db: Queryable,
  target: ReviewTarget,
  { act, by }: Decision,
  page: { after?: string | undefined; limit: number },
): Promise<Decided> {
  // Written out, because only then the small indexes of what is open are used.
  const from = statesBefore(act)
    .map((state) => ENTITY_STATES[state])
    .join(", ");
  const to: EntityState = stateAfter(statesBefore(act)[0]!, act)!;
  const { rows } = await db.query<{ found: number; last: string | null; decided: number }>(
    `with found as (
       select e.id, w.plan_hash
         from holdfast.entities e
         left join unnest($4::bigint[], $5::text[]) as w(id, plan_hash) on w.id = e.id
        where e.tenant = $1 and ($2::text is null or e.branch = $2) and e.id > $3
          and e.branch is not null and e.state in (${from})
          and ($4::bigint[] is null or e.id = any ($4))
          and ($6::text[] is null or e.type = any ($6)) and ($7::uuid is null or e.request = $7)
          and ($8::bigint is null or e.id <= $8)
        order by e.id limit $9
          for update of e
     ), changed as (
       update holdfast.entities e
          set state = $10::smallint, decided_by = $11, decided_at = clock_timestamp(),
              approved_hash = case when $12::text = 'approve' then e.plan_hash end,
              error = case when $12::text in ('reject', 'ignore') then e.error end,
              settled_at = case when $10::smallint = ${ENTITY_STATES.ignored} then clock_timestamp() end,
              attempt = 0, waits_for = null, due_at = null
         from found f
        where e.id = f.id
          and (f.plan_hash is null or e.plan_hash = decode(f.plan_hash, 'hex'))
          and ($12::text <> 'approve' or (e.plan_hash is not null and e.approved_hash is null))
       returning e.id
     )
     select (select count(*) from found)::int as found, (select max(id) from found) as last,
            (select count(*) from changed)::int as decided`,
    [
      target.tenant,
      target.branch ?? null,
      page.after ?? "0",
      target.ids ?? null,
      target.planHashes ?? null,
      target.types ?? null,
      target.request ?? null,
      target.upTo ?? null,
      page.limit,
      ENTITY_STATES[to],
      by,
      act,
    ],
  );
  const { found, last, decided } = rows[0]!;
  return found === page.limit ? { decided, next: last! } : { decided };
}
