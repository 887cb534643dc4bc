import { isOpen } from "../../db/items.ts";

/** What must be true of plans, as test/support/invariant-rules.ts says it of all operations. */
export const PLAN_RULES: Record<string, string> = {
  "a plan has one entity for each item, and what it needs beside": `
    select format('plan %s has %s entities of %s items', op.id, e.n, op.total) as what
      from holdfast.operations op
     cross join lateral (select count(*) as n from holdfast.entities where operation = op.id) e
     where op.kind = 'plan'
       and (e.n <> op.total or not exists (select from holdfast.plans where operation_id = op.id))`,

  "an item of a plan has ended as its entity has": `
    select format('plan %s item %s is %s, its entity is %s', i.operation_id, i.no, o.outcome, e.state)
             as what
      from holdfast.operations op
      join holdfast.items i on i.operation_id = op.id
      join holdfast.entities e on e.operation = op.id and e.item = i.no
      left join lateral (select outcome from holdfast.outcomes
                          where operation_id = op.id and item_no = i.no
                          order by generation desc limit 1) o on true
     where op.kind = 'plan'
       and case when ${isOpen("i", "op.generation")}
                -- Between a decision and the look at it.
                then e.settled_at is not null and e.state <> 6
                else e.state <> all (case o.outcome
                  when 'succeeded' then array[3] when 'unchanged' then array[5]
                  when 'failed' then array[4, 7] when 'superseded' then array[11]
                  else array[6] end::smallint[]) end`,

  "what ended of a plan was applied exactly when its item succeeded": `
    select format('plan %s item %s: %s change sets applied', e.operation, e.item, c.n) as what
      from holdfast.entities e
     cross join lateral (select count(*) as n from holdfast.change_sets
                          where entity = e.id and applied_at is not null) c
     where e.operation is not null and c.n <> (e.state = 3)::int`,

  "what was applied on an approval does nothing that was not approved": `
    select format('entity %s', e.id) as what
      from holdfast.entities e
      join holdfast.change_sets a on a.entity = e.id and a.applied_at is not null
      join lateral (select changes from holdfast.change_sets
                     where entity = e.id and hash = e.approved_hash order by id desc limit 1) s on true
     cross join lateral jsonb_array_elements(a.changes) c
     where e.approved_hash is not null and c ->> 'kind' <> 'noop'
       and not exists (
         select from jsonb_array_elements(s.changes) w
          where w -> 'kind' = c -> 'kind' and w -> 'type' = c -> 'type'
            and w -> 'identity' = c -> 'identity' and w -> 'before' = c -> 'before'
            and w -> 'after' = c -> 'after')`,
};
