import { isOpen } from "../../db/items.ts";

/** What must be true of jobs, as test/support/invariant-rules.ts says it of all operations. */
export const JOB_RULES: Record<string, string> = {
  "a job that has ended hands nothing out": `
    select format('job %s is %s, and batch %s is %s', op.id, op.state, b.no, b.state) as what
      from holdfast.job_batches b join holdfast.operations op on op.id = b.operation_id
     where b.state <> 'done'
       and (op.state in ('completed', 'failed', 'cancelled') or b.generation < op.generation)
    union all
    select format('job %s is %s, and has a turn', op.id, op.state)
      from holdfast.job_turns t join holdfast.operations op on op.id = t.operation_id
     where op.state in ('completed', 'failed', 'cancelled')
    union all
    select format('job %s is %s, and is open', op.id, op.state)
      from holdfast.jobs j join holdfast.operations op on op.id = j.operation_id
     where op.state in ('completed', 'failed', 'cancelled') and j.open_generation is not null`,

  "what is open of a job that is handed out is in one batch": `
    select format('job %s item %s is in %s batches', i.operation_id, i.no, b.n) as what
      from holdfast.jobs j
      join holdfast.operations op on op.id = j.operation_id and op.state = 'running'
      join holdfast.items i on i.operation_id = j.operation_id
     cross join lateral (
       select count(*) as n from holdfast.job_batches b
        where b.operation_id = i.operation_id and b.generation = op.generation
          and i.no between b.first_item and b.last_item and b.state <> 'done') b
     where j.open_generation = op.generation and b.n <> 1 and ${isOpen("i", "op.generation")}`,

  "a result is that of its item's outcome": `
    select format('job %s item %s generation %s', r.operation_id, r.item_no, r.generation) as what
      from holdfast.job_results r
     where not exists (
       select from holdfast.outcomes o
        where o.operation_id = r.operation_id and o.item_no = r.item_no
          and o.generation = r.generation
          and o.outcome = case when r.error is null then 'succeeded' else 'failed' end)`,

  "an item of a job that succeeded has its result": `
    select format('job %s item %s generation %s', o.operation_id, o.item_no, o.generation) as what
      from holdfast.outcomes o
      join holdfast.jobs j on j.operation_id = o.operation_id
     where o.outcome = 'succeeded'
       and not exists (
         select from holdfast.job_results r
          where r.operation_id = o.operation_id and r.item_no = o.item_no
            and r.generation = o.generation and r.error is null)`,

  "what a job counts is the sum of its results": `
    with counted as (
      select r.operation_id, c.key as name, sum(c.value::int) as n
        from holdfast.job_results r
        join holdfast.jobs j on j.operation_id = r.operation_id
       cross join lateral jsonb_each_text(coalesce(r.counts, '{}')) c
       where r.generation >= j.base_generation
       group by 1, 2 having sum(c.value::int) <> 0
    ), shown as (
      select operation_id, outcome as name, sum(n) as n
        from (select operation_id, stage, outcome, n from holdfast.progress
              union all
              select operation_id, stage, outcome, n from holdfast.progress_deltas
               where not folded) d
       where stage = 'sums'
       group by 1, 2 having sum(n) <> 0
    )
    select format('job %s: %s %s by its results, %s shown', operation_id, name,
                  coalesce(counted.n, 0), coalesce(shown.n, 0)) as what
      from counted full join shown using (operation_id, name)
     where counted.n is distinct from shown.n`,

  "a batch is handed out no more often than it may be": `
    select format('job %s batch %s: delivery %s of %s', b.operation_id, b.no, b.delivery,
                  j.deliveries) as what
      from holdfast.job_batches b join holdfast.jobs j on j.operation_id = b.operation_id
     where b.delivery > j.deliveries`,
};
