import { isOpen } from "../../db/items.ts";
import { JOB_RULES } from "./job-invariant-rules.ts";
import { PLAN_RULES } from "./plan-invariant-rules.ts";

/** Invariants over rows, each a query over all of them that answers what breaks it. */

/** SQL: an operation `op` has ended. */
export const TERMINAL = "op.state in ('completed', 'failed', 'cancelled')";

/** Each answers one column `what` per violation. */
export const RULES: Record<string, string> = {
  ...JOB_RULES,
  ...PLAN_RULES,

  "an operation has the items and sub-batches it was accepted with": `
    select format('operation %s has %s of %s items and %s of %s sub-batches', op.id,
                  i.n, op.total, b.n, op.batches) as what
      from holdfast.operations op
     cross join lateral (select count(*) as n, coalesce(max(no), 0) as last
                           from holdfast.items where operation_id = op.id) i
     cross join lateral (select count(*) as n, coalesce(sum(last_item - first_item + 1), 0) as items
                           from holdfast.sub_batches where operation_id = op.id) b
     where (i.n <> op.total or i.last <> op.total or b.n <> op.batches or b.items <> op.total)
       and not exists (select from holdfast.jobs j
             where j.operation_id = op.id and op.state = 'running'
               and j.collector is not null and j.collected_at is null)`,

  "every row of an operation has its operation": ["sub_batches", "items", "outcomes", "payloads"]
    .concat("progress_deltas", "progress", "attempts", "flights", "staged_parts")
    .map(
      (table) => `
      select format('%s rows of %s, which is no operation', count(*), operation_id) as what
        from holdfast.${table} t
       where not exists (select from holdfast.operations op where op.id = t.operation_id)
       group by operation_id`,
    )
    .join(" union all "),

  "a terminal operation has an outcome for every item": `
    select format('operation %s is %s, item %s has no outcome', op.id, op.state, i.no) as what
      from holdfast.operations op join holdfast.items i on i.operation_id = op.id
     where ${TERMINAL} and ${isOpen("i", "op.generation")}`,

  "an outcome is of an item, and of a generation its operation has reached": `
    select format('operation %s item %s generation %s', o.operation_id, o.item_no, o.generation)
             as what
      from holdfast.outcomes o join holdfast.operations op on op.id = o.operation_id
     where o.generation > op.generation
        or not exists (select from holdfast.items i
             where i.operation_id = o.operation_id and i.no = o.item_no)`,

  "an item that stands is settled once": `
    select format('operation %s item %s was settled %s, then again', o.operation_id, o.item_no,
                  o.outcome) as what
      from holdfast.outcomes o
     where o.outcome not in ('failed', 'lost', 'cancelled')
       and exists (select from holdfast.outcomes later
             where later.operation_id = o.operation_id and later.item_no = o.item_no
               and later.generation > o.generation)
       and not exists (select from holdfast.jobs j
             where j.operation_id = o.operation_id and j.base_generation > o.generation)`,

  "a succeeded item is in one part, or was replaced or erased since": `
    select format('operation %s item %s (seq %s) succeeded, and document %s shows nothing of it',
                  i.operation_id, i.no, i.seq, i.key) as what
      from holdfast.outcomes o
      join holdfast.operations op on op.id = o.operation_id and op.kind = 'retain'
      join holdfast.items i on i.operation_id = o.operation_id and i.no = o.item_no
      left join holdfast.document_parts p on p.seq = i.seq
     where o.outcome = 'succeeded'
       and (p.operation_id is distinct from i.operation_id or p.item_no <> i.no
            or p.document_id <> i.key)
       and not exists (select from holdfast.banks b
             where b.id = (op.input ->> 'bankId')::bigint and b.erased_at is not null)
       and not exists (select from holdfast.documents d
             where d.bank_id = (op.input ->> 'bankId')::bigint and d.document_id = i.key
               and (d.head_seq > i.seq or d.erased_seq > i.seq))`,

  "a part was written by an item that succeeded": `
    select format('part %s of document %s', p.seq, p.document_id) as what
      from holdfast.document_parts p
     where not exists (select from holdfast.outcomes o
                 join holdfast.items i on i.operation_id = o.operation_id and i.no = o.item_no
                where o.operation_id = p.operation_id and o.item_no = p.item_no
                  and o.outcome = 'succeeded' and i.seq = p.seq)`,

  "no part is older than the newest replace of its document": `
    select format('part %s of document %s is older than %s', p.seq, p.document_id, d.head_seq)
             as what
      from holdfast.document_parts p
      join holdfast.documents d on d.bank_id = p.bank_id and d.document_id = p.document_id
      left join holdfast.items i on i.seq = d.head_seq
      left join holdfast.outcomes o on o.operation_id = i.operation_id and o.item_no = i.no
           and o.outcome = 'unchanged'
     where p.seq < d.head_seq and o.operation_id is null`,

  "a part has its document": `
    select format('part %s of document %s', p.seq, p.document_id) as what
      from holdfast.document_parts p
     where not exists (select from holdfast.documents d
             where d.bank_id = p.bank_id and d.document_id = p.document_id)`,

  "a superseded item wrote nothing, and something newer is there": `
    select format('operation %s item %s of document %s', i.operation_id, i.no, i.key) as what
      from holdfast.outcomes o
      join holdfast.operations op on op.id = o.operation_id
      join holdfast.items i on i.operation_id = o.operation_id and i.no = o.item_no
     where o.outcome = 'superseded'
       and (exists (select from holdfast.document_parts p where p.seq = i.seq)
            or not exists (select from holdfast.documents d
                 where d.bank_id = (op.input ->> 'bankId')::bigint and d.document_id = i.key
                   and (d.head_seq > i.seq or d.erased_seq > i.seq)))`,

  "the chunks of a part cover its text exactly, without gap or overlap": `
    select format('part %s of document %s', p.seq, p.document_id) as what
      from holdfast.document_parts p
      left join lateral (
        select count(*) as n, min(no) as first, max(no) as last, min(start_at) as begins,
               max(end_at) as ends, string_agg(text, '' order by no) as text,
               bool_and(end_at - start_at = char_length(text)) as measured,
               bool_and(start_at = coalesce(before, 0)) as joined
          from (select c.*, lag(end_at) over (order by no) as before
                  from holdfast.chunks c where c.part_seq = p.seq) c) c on true
     where c.n <> p.chunks or c.first <> 0 or c.last <> p.chunks - 1 or c.begins <> 0
        or c.ends <> p.size or not c.measured or not c.joined
        or sha256(convert_to(c.text, 'UTF8')) <> p.digest`,

  "the text of a part is the payload of its item": `
    select format('part %s of document %s', p.seq, p.document_id) as what
      from holdfast.document_parts p
     where sha256(convert_to((select string_agg(content, '' order by part) from holdfast.payloads y
                    where y.operation_id = p.operation_id and y.item_no = p.item_no), 'UTF8'))
           <> p.digest`,

  "a part has the facts it counts": `
    select format('part %s of document %s has %s of %s facts', p.seq, p.document_id, f.n, p.facts)
             as what
      from holdfast.document_parts p
     cross join lateral (select count(*) as n from holdfast.facts where part_seq = p.seq) f
     where f.n <> p.facts`,

  "chunks, facts and entities belong to a part, or to staged work": ["chunks", "facts"]
    .concat("fact_entities")
    .map(
      (table) => `
      select format('%s rows of ${table} of part %s, which is not there', count(*), part_seq)
               as what
        from holdfast.${table} t
       where not exists (select from holdfast.document_parts p where p.seq = t.part_seq)
         and not exists (select from holdfast.staged_parts s where s.part_seq = t.part_seq)
       group by part_seq`,
    )
    .join(" union all "),

  "a fact is of a chunk, and an entity of a fact": `
    select format('fact %s.%s.%s', f.part_seq, f.chunk_no, f.ordinal) as what
      from holdfast.facts f
     where not exists (select from holdfast.chunks c
             where c.part_seq = f.part_seq and c.no = f.chunk_no)
    union all
    select format('entity %s of fact %s.%s.%s', e.entity, e.part_seq, e.chunk_no, e.ordinal)
      from holdfast.fact_entities e
     where not exists (select from holdfast.facts f where f.part_seq = e.part_seq
             and f.chunk_no = e.chunk_no and f.ordinal = e.ordinal)`,

  "only open items have staged work": `
    select format('staged part %s of operation %s item %s', s.part_seq, s.operation_id, s.item_no)
             as what
      from holdfast.staged_parts s
     where exists (select from holdfast.document_parts p where p.seq = s.part_seq)`,

  "an observation stands on facts that are there, of its own bank": `
    select format('observation %s of %s', s.observation_id, o.entity) as what
      from holdfast.observation_sources s
      join holdfast.observations o on o.id = s.observation_id
     where not exists (select from holdfast.facts f where f.part_seq = s.part_seq
             and f.chunk_no = s.chunk_no and f.ordinal = s.ordinal and f.bank_id = o.bank_id)
    union all
    select format('observation %s of %s has no source', o.id, o.entity)
      from holdfast.observations o
     where not exists (select from holdfast.observation_sources s where s.observation_id = o.id)`,

  "progress is the ledger": `
    with ledger as (
      select op.id, current.outcome, count(*) as n
        from holdfast.operations op
       cross join lateral (
         select distinct on (o.item_no) o.item_no, o.outcome, o.generation from holdfast.outcomes o
          where o.operation_id = op.id order by o.item_no, o.generation desc) current
       where ${TERMINAL} or current.generation = op.generation
          or current.outcome not in ('failed', 'lost', 'cancelled')
       group by 1, 2
    ), shown as (
      select operation_id as id, outcome, sum(n) as n
        from (select operation_id, stage, outcome, n from holdfast.progress
              union all
              select operation_id, stage, outcome, n from holdfast.progress_deltas
               where not folded) d
        join holdfast.operations op on op.id = d.operation_id and op.kind = d.stage
       group by 1, 2 having sum(n) <> 0
    )
    select format('operation %s: %s %s in the ledger, %s shown', id, outcome,
                  coalesce(ledger.n, 0), coalesce(shown.n, 0)) as what
      from ledger full join shown using (id, outcome)
     where ledger.n is distinct from shown.n`,

  "the stored result of a terminal operation is its ledger": `
    select format('operation %s: stored %s', op.id, op.result) as what
      from holdfast.operations op
     cross join lateral (
       select coalesce(jsonb_object_agg(outcome, n), '{}') as counts
         from (select outcome, count(*) as n
                 from (select distinct on (item_no) outcome from holdfast.outcomes
                        where operation_id = op.id order by item_no, generation desc) c
                group by outcome) g) l
     where ${TERMINAL} and op.result is distinct from l.counts`,

  "each generation that ended has one finishing event, and no other": `
    select format('operation %s generation %s has %s finishing events', op.id, g, e.n) as what
      from holdfast.operations op
     cross join lateral generate_series(1, op.generation) g
     cross join lateral (select count(*) as n from holdfast.events e
            where e.operation_id = op.id and e.type = 'operation.finished'
              and (e.body ->> 'generation')::int = g) e
     where e.n <> case when g < op.generation or ${TERMINAL} then 1 else 0 end`,

  "only an open operation has pages in flight": `
    select format('operation %s is %s, range %s is in flight', op.id, op.state, f.range_no) as what
      from holdfast.flights f join holdfast.operations op on op.id = f.operation_id
     where op.state <> 'running'`,
};
