-- Jobs: operations whose items are worked by pull workers. Postgres owns batches, leases and results.
-- Nothing is written per item but the ledger and its result, and no row is written by everybody: a
-- post touches rows of its own, a claim passes over what another claim has in hand.

-- What a job asks for; written when it is accepted, opened, run again and closed.
create table holdfast.jobs (
  operation_id uuid primary key,
  tenant text not null,
  pipeline text not null,
  -- The generation that is handed out; null while nothing is: not begun, collecting, or ended.
  open_generation integer,
  weight double precision not null,
  batch_size integer not null,
  lease_seconds integer not null,
  heartbeat_seconds integer not null,
  deliveries smallint not null,
  max_failed_share double precision not null,
  run_again text not null default 'unfinished',
  -- Outcomes of generations before this one do not stand: all items were asked for again.
  base_generation integer not null default 1,
  shuffle boolean not null default false,
  -- Who finds its items, at most so many; how far they are, and when the last page and all were there.
  collector text,
  take integer,
  collected_after text,
  collected integer not null default 0,
  page_at timestamptz,
  collected_at timestamptz,
  -- When batches were last made for items that nothing would have handed out.
  repaired_at timestamptz,
  constraint job_weighs_at_least_one check (weight >= 1),
  constraint job_is_delivered_at_least_once check (deliveries between 1 and 100),
  constraint job_lease_is_bounded
    check (lease_seconds between 1 and 86400 and heartbeat_seconds between 1 and 86400),
  constraint job_failed_share_is_a_share check (max_failed_share between 0 and 1),
  constraint job_run_again_is_known check (run_again in ('unfinished', 'failed', 'remaining', 'all'))
);

-- Whose turn it is, one row an open job: what it has been served, divided by its weight; the least is
-- next. `started` is what it had been served when it last was: the greatest of a pipeline is its
-- time, which a job that was away is brought up to.
create table holdfast.job_turns (
  operation_id uuid primary key,
  tenant text not null,
  pipeline text not null,
  served double precision not null,
  started double precision not null,
  served_at timestamptz not null default '-infinity'
) with (fillfactor = 50);
create index job_turns_by_start on holdfast.job_turns (pipeline, started);

-- What was served while somebody else had the turn; whoever has it next settles it.
create table holdfast.job_debts (
  operation_id uuid not null,
  no bigint generated always as identity,
  served double precision not null,
  primary key (operation_id, no)
);

-- Consecutive items that are handed out together, as the sub-batch of the same number, or one item
-- alone under its number with a minus: what is open of a batch before its last delivery. Batches are
-- handed out in order of their places. Of `lease` and `delivery`, only the second is bounded: a lease
-- that was released has cost no delivery. `beat_until`: when the next sign of life is due, from the
-- first one on.
create table holdfast.job_batches (
  operation_id uuid not null,
  generation integer not null,
  no integer not null,
  place integer not null,
  first_item integer not null,
  last_item integer not null,
  state text not null default 'ready',
  lease integer not null default 0,
  delivery smallint not null default 0,
  holder text,
  ready_at timestamptz not null default clock_timestamp(),
  leased_until timestamptz,
  beat_until timestamptz,
  primary key (operation_id, generation, no),
  constraint job_batch_state_is_known check (state in ('ready', 'leased', 'done')),
  constraint leased_job_batch_has_holder_and_end
    check ((state = 'leased') = (holder is not null and leased_until is not null))
) partition by range (operation_id);
create index job_batches_ready on holdfast.job_batches (operation_id, generation, place, first_item)
  where state = 'ready';
create index job_batches_leased on holdfast.job_batches (operation_id, generation)
  where state = 'leased';
create index job_batches_by_end on holdfast.job_batches (least(leased_until, beat_until))
  where state = 'leased';
create index job_batches_by_holder on holdfast.job_batches (holder) where state = 'leased';

-- Every lease there was, insert-only: a handle is known by its digest as long as the job is, so that
-- what comes late is told so.
create table holdfast.job_leases (
  operation_id uuid not null,
  generation integer not null,
  batch integer not null,
  lease integer not null,
  delivery smallint not null,
  handle bytea not null,
  holder text not null,
  at timestamptz not null default clock_timestamp(),
  primary key (operation_id, generation, batch, lease)
) partition by range (operation_id);

-- What came back, one row a settled item. Larger results are kept elsewhere, by reference.
create table holdfast.job_results (
  operation_id uuid not null,
  item_no integer not null,
  generation integer not null,
  body jsonb,
  reference text,
  counts jsonb,
  error text,
  worker text not null,
  at timestamptz not null default clock_timestamp(),
  primary key (operation_id, item_no, generation)
) partition by range (operation_id);

-- Came too late to count: for an item that was lost or cancelled, or of an older generation.
create table holdfast.late_results (
  operation_id uuid not null,
  item_no integer not null,
  generation integer not null,
  lease integer not null,
  why text not null,
  body jsonb,
  reference text,
  counts jsonb,
  error text,
  worker text not null,
  at timestamptz not null default clock_timestamp(),
  primary key (operation_id, item_no, generation, lease)
) partition by range (operation_id);

-- Who pulls: a key and the name that its worker gave itself. Online is computed when it is read.
create table holdfast.job_workers (
  key text not null,
  worker text not null,
  tenants text[],
  pipelines text[] not null,
  first_seen_at timestamptz not null default clock_timestamp(),
  seen_at timestamptz not null default clock_timestamp(),
  primary key (key, worker)
);

-- How fast a job is, and when anything of it last came back, without a look at the rest.
create index job_deltas_by_time on holdfast.progress_deltas (operation_id, at)
  where stage = 'job';
-- What went wrong, without a look at what went well.
create index outcomes_gone_wrong on holdfast.outcomes (operation_id, generation, item_no)
  where outcome in ('failed', 'lost');

-- Lines that somebody has to see are found without the others.
create index logs_of_what_went_wrong on holdfast.logs (operation_id, seq)
  where level in ('warn', 'error');

-- Lines of an operation in order of writing, or from the newest back, `most` of them between two.
-- A log of today is unknown to the statistics: planned as if it were short, all of it would be read and
-- sorted for one page.
create function holdfast.operation_logs(
  of_operation uuid, levels text[], after_seq bigint, before_seq bigint, newest boolean, most integer
) returns table (seq bigint, at timestamptz, level text, message text, fields jsonb)
language plpgsql stable
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
declare
  first_seq bigint := coalesce(after_seq + 1, 0);
  last_seq bigint := coalesce(before_seq - 1, 9223372036854775807);
begin
  if newest and levels <@ '{warn,error}' then
    return query
    select l.seq, l.at, l.level, l.message, l.fields from holdfast.logs l
     where l.operation_id = of_operation and l.seq between first_seq and last_seq
       and l.level in ('warn', 'error') and l.level = any(levels)
     order by l.seq desc limit most;
  elsif newest then
    return query
    select l.seq, l.at, l.level, l.message, l.fields from holdfast.logs l
     where l.operation_id = of_operation and l.seq between first_seq and last_seq
       and l.level = any(levels)
     order by l.seq desc limit most;
  elsif levels <@ '{warn,error}' then
    return query
    select l.seq, l.at, l.level, l.message, l.fields from holdfast.logs l
     where l.operation_id = of_operation and l.seq between first_seq and last_seq
       and l.level in ('warn', 'error') and l.level = any(levels)
     order by l.seq limit most;
  else
    return query
    select l.seq, l.at, l.level, l.message, l.fields from holdfast.logs l
     where l.operation_id = of_operation and l.seq between first_seq and last_seq
       and l.level = any(levels)
     order by l.seq limit most;
  end if;
end $$;

-- Jobs that may be served now: the one definition, for claims and for whoever counts what waits.
-- `offset 0` keeps the search for a ready batch one look into an index for each job; a join would read
-- every batch there is.
create function holdfast.claimable_jobs() returns table (
  operation_id uuid, tenant text, pipeline text, generation integer
) language sql stable as $$
  select j.operation_id, j.tenant, j.pipeline, j.open_generation
    from holdfast.job_turns t
    join holdfast.jobs j on j.operation_id = t.operation_id
    join holdfast.operations op on op.id = t.operation_id
   where op.state = 'running' and op.generation = j.open_generation
     and op.cancel_requested_at is null and op.paused_at is null
     and not exists (
       select from holdfast.brakes b
        where (b.applies_to = 'all')
           or (b.applies_to = 'kind' and b.name = op.kind)
           or (b.applies_to = 'tenant' and b.name = op.tenant)
           or (b.applies_to = 'scope' and b.name = op.tenant || '/' || op.scope))
     and exists (
       select from holdfast.job_batches b
        where b.operation_id = j.operation_id and b.generation = j.open_generation
          and b.state = 'ready'
       offset 0)
$$;

-- Batches that may be claimed now, at most `most` of each job, by pipeline and tenant; and how many
-- each of these holders has. `{ ready: [{ pipeline, tenant, ready }], held: { holder: batches } }`.
create function holdfast.ready_job_work(pipelines text[], most integer, holders text[]) returns jsonb
language plpgsql stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off as $$
begin
  return jsonb_build_object(
    'ready', (
      select coalesce(jsonb_agg(jsonb_build_object(
               'pipeline', w.pipeline, 'tenant', w.tenant, 'ready', w.ready)), '[]')
        from (select c.pipeline, c.tenant, sum(r.n)::int as ready
                from holdfast.claimable_jobs() c
               cross join lateral (
                 select count(*) as n
                   from (select from holdfast.job_batches b
                          where b.operation_id = c.operation_id and b.generation = c.generation
                            and b.state = 'ready'
                          limit most) few) r
               where c.pipeline = any(pipelines)
               group by 1, 2 order by 1, 2) w),
    'held', (
      select coalesce(jsonb_object_agg(h.holder, h.n), '{}')
        from (select b.holder, count(*) as n from holdfast.job_batches b
               where b.state = 'leased' and b.holder = any(holders) group by 1) h));
end $$;

-- Hands out batches, least served job first, up to what the worker may hold. Answers
-- `{ waiting, held, batches }`: jobs that had something ready, batches that the worker held when that
-- is why it gets none, and the leases. With `tell_held` it says so where nothing is ready, too. Nothing
-- waits for another claim but one of the same worker. `secrets` holds 16 bytes for each batch asked for;
-- what is stored of them is a digest, with all that the lease is bound to.
--
-- Planning any of it takes longer than running it, because tables of a job have a partition a week.
create function holdfast.claim_job_batches(asked text, secrets bytea) returns jsonb
language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off as $$
declare
  claim record;
  job holdfast.jobs;
  turn record;
  got record;
  has_turn boolean;
  jobs uuid[];
  leases jsonb := '[]';
  jobs_waiting integer;
  room integer;
  taken integer := 0;
  looks integer := 0;
  now_at timestamptz;
begin
  select * into claim
    from jsonb_to_record(asked::jsonb) as a(
      pipelines text[], tenants text[], operation uuid, batches integer, key text, holder text,
      cap integer, heartbeat boolean, tell_held boolean);

  select coalesce(array_agg(c.operation_id), '{}') into jobs
    from holdfast.claimable_jobs() c
   where c.pipeline = any(claim.pipelines)
     and (claim.tenants is null or c.tenant = any(claim.tenants))
     and (claim.operation is null or c.operation_id = claim.operation);
  jobs_waiting := cardinality(jobs);
  if jobs_waiting > 0 then
    perform pg_advisory_xact_lock(4207, hashtext(claim.holder));
  elsif claim.tell_held is not true then
    return jsonb_build_object('waiting', 0, 'batches', leases);
  end if;
  select claim.cap - count(*) into room
    from holdfast.job_batches b
   where b.state = 'leased' and b.holder = claim.holder;

  while taken < least(claim.batches, room) and cardinality(jobs) > 0 loop
    -- A turn that another claim had and gave back since this looked is not the least any more: `seen`
    -- stays as it was seen, and no longer fits.
    select t.operation_id, time.started as pipeline_time into turn
      from holdfast.job_turns seen
      join holdfast.job_turns t
        on t.operation_id = seen.operation_id and t.served = seen.served
      join (select x.pipeline, max(x.started) as started from holdfast.job_turns x
             where x.pipeline = any(claim.pipelines) group by x.pipeline) time
        on time.pipeline = seen.pipeline
     where seen.operation_id = any(jobs)
     order by seen.served - time.started, seen.served_at, seen.operation_id
     limit 1
       for update of t skip locked;
    has_turn := found;
    if not has_turn then
      -- Others have every turn in hand, or had. After another look, what is taken meanwhile is owed.
      if looks < 2 then
        looks := looks + 1;
        continue;
      end if;
      select t.operation_id, 0::float8 as pipeline_time into turn
        from holdfast.job_turns t
        join (select x.pipeline, max(x.started) as started from holdfast.job_turns x
               where x.pipeline = any(claim.pipelines) group by x.pipeline) time
          on time.pipeline = t.pipeline
       cross join lateral (
         select coalesce(sum(d.served), 0) as served from holdfast.job_debts d
          where d.operation_id = t.operation_id) owed
       where t.operation_id = any(jobs)
       order by t.served + owed.served - time.started, random()
       limit 1;
      exit when not found;
    end if;
    looks := 0;

    now_at := clock_timestamp();
    select j.* into job from holdfast.jobs j where j.operation_id = turn.operation_id;
    update holdfast.job_batches b
       set state = 'leased', lease = b.lease + 1, delivery = b.delivery + 1, holder = claim.holder,
           leased_until = now_at + job.lease_seconds * interval '1 second',
           beat_until = case when claim.heartbeat
                             then now_at + job.heartbeat_seconds * interval '1 second' end
     where b.operation_id = job.operation_id and b.generation = job.open_generation
       and b.no = (
         select r.no from holdfast.job_batches r
          where r.operation_id = job.operation_id and r.generation = job.open_generation
            and r.state = 'ready'
          order by r.place, r.first_item limit 1 for update skip locked)
    returning b.no, b.first_item, b.last_item, b.lease, b.delivery, b.leased_until, b.beat_until
         into got;
    if not found then
      -- Others took the last of it.
      jobs := array_remove(jobs, turn.operation_id);
      continue;
    end if;

    -- Settled meanwhile, by somebody whose lease had ended: there is nothing left to hand out.
    perform from holdfast.items i
      where i.operation_id = job.operation_id and i.no between got.first_item and got.last_item
        and not exists (
          select from holdfast.outcomes o
           where o.operation_id = i.operation_id and o.item_no = i.no
             and (o.generation = job.open_generation
                  or o.outcome not in ('failed', 'lost', 'cancelled')
                     and o.generation >= job.base_generation))
      limit 1;
    if not found then
      update holdfast.job_batches b
         set state = 'done', holder = null, leased_until = null, beat_until = null
       where b.operation_id = job.operation_id and b.generation = job.open_generation
         and b.no = got.no;
      continue;
    end if;

    insert into holdfast.job_leases
      (operation_id, generation, batch, lease, delivery, handle, holder, at)
    values
      (job.operation_id, job.open_generation, got.no, got.lease, got.delivery,
       sha256(uuid_send(job.operation_id) || int4send(job.open_generation) || int4send(got.no)
              || int4send(got.lease) || substring(secrets from taken * 16 + 1 for 16)
              || convert_to(claim.key, 'UTF8')),
       claim.holder, now_at);
    if has_turn then
      with paid as (
        delete from holdfast.job_debts d where d.operation_id = job.operation_id
        returning d.served
      )
      update holdfast.job_turns t
         set started = greatest(t.served, turn.pipeline_time - 1),
             served = greatest(t.served, turn.pipeline_time - 1) + 1 / job.weight
                      + (select coalesce(sum(paid.served), 0) from paid),
             served_at = now_at
       where t.operation_id = job.operation_id;
    else
      insert into holdfast.job_debts (operation_id, served)
      values (job.operation_id, 1 / job.weight);
    end if;

    leases := leases || jsonb_build_object(
      'operationId', job.operation_id, 'tenant', job.tenant, 'pipeline', job.pipeline,
      'generation', job.open_generation, 'batch', got.no, 'lease', got.lease,
      'delivery', got.delivery, 'size', got.last_item - got.first_item + 1, 'secret', taken, 'leasedUntil', got.leased_until,
      'beatUntil', got.beat_until, 'heartbeatSeconds', job.heartbeat_seconds);
    taken := taken + 1;
  end loop;
  if taken > 0 then
    insert into holdfast.progress_deltas (operation_id, source, stage, outcome, n, place)
    select l.job, 'claim/' || gen_random_uuid(), 'leases', o.outcome, o.n, o.place
      from (select (e ->> 'operationId')::uuid as job, count(*) as n,
                   count(*) filter (where (e ->> 'delivery')::integer > 1) as again
              from jsonb_array_elements(leases) as e group by 1) l
     cross join lateral (values ('deliveries', l.n, 0), ('redeliveries', l.again, 1))
                          as o(outcome, n, place)
     where o.n > 0;
  end if;
  return jsonb_build_object('waiting', jobs_waiting, 'batches', leases,
                            'held', case when room <= 0 then claim.cap - room end);
end $$;

-- What is open of these batches, in order of the batches given: (place, no, key, content, meta).
create function holdfast.claimed_items(
  of_operations uuid[], generations integer[], batch_nos integer[]
) returns table (place integer, no integer, key text, content text, meta jsonb)
language plpgsql stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
  return query
  select l.place::integer, i.no, i.key, p.content, p.meta
    from unnest(of_operations, generations, batch_nos)
           with ordinality as l(operation_id, generation, batch, place)
    join holdfast.job_batches b
      on b.operation_id = l.operation_id and b.generation = l.generation and b.no = l.batch
    join holdfast.jobs j on j.operation_id = l.operation_id
    join holdfast.items i
      on i.operation_id = l.operation_id and i.no between b.first_item and b.last_item
    left join holdfast.payloads p
      on p.operation_id = l.operation_id and p.item_no = i.no and p.part = 0
   where not exists (
     select from holdfast.outcomes o
      where o.operation_id = l.operation_id and o.item_no = i.no
        and (o.generation = l.generation
             or o.outcome not in ('failed', 'lost', 'cancelled')
                and o.generation >= j.base_generation)
     offset 0)
   order by l.place, i.no;
end $$;

-- The first half of a post: it is under way from here on (lock 1 of db/locks.ts, shared), and what it
-- has to know. Whoever ends the job has that lock as long as it takes: error 55P03 after a second, or
-- posts that wait for it would have every connection. Null: there is no such job. `{ tenant, running, generation, answer, leases }`: the
-- answer that a post of this source was given before, and the leases whose digests these are.
create function holdfast.begin_job_post(
  of_operation uuid, of_source text,
  generations integer[], batch_nos integer[], lease_nos integer[], digests bytea[]
) returns jsonb language plpgsql
set lock_timeout = '1s' set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
  perform pg_advisory_xact_lock_shared(4201, hashtext(of_operation::text));
  return (
    select jsonb_build_object(
             'tenant', j.tenant, 'running', op.state = 'running', 'generation', op.generation,
             'answer', (select d.answer from holdfast.progress_deltas d
                         where d.operation_id = of_operation and d.source = of_source
                           and d.place = 0),
             'leases', (
               select coalesce(jsonb_agg(jsonb_build_object(
                        'place', a.place, 'generation', l.generation, 'batch', l.batch,
                        'lease', l.lease, 'delivery', l.delivery, 'holder', l.holder,
                        'first_item', b.first_item, 'last_item', b.last_item)), '[]')
                 from unnest(generations, batch_nos, lease_nos, digests)
                        with ordinality as a(generation, batch, lease, handle, place)
                 join holdfast.job_leases l
                   on l.operation_id = of_operation and l.generation = a.generation
                  and l.batch = a.batch and l.lease = a.lease and l.handle = a.handle
                 join holdfast.job_batches b
                   on b.operation_id = of_operation and b.generation = l.generation
                  and b.no = l.batch))
      from holdfast.operations op
      join holdfast.jobs j on j.operation_id = op.id
     where op.id = of_operation);
end $$;

-- The second half: settles items of a generation, in order of their numbers, and keeps the results of
-- those that this settled, whose numbers it answers.
create function holdfast.settle_job_items(
  of_operation uuid, in_generation integer, settled_by text,
  item_nos integer[], outcomes text[], attempts smallint[],
  bodies jsonb[], refs text[], sums jsonb[], errors text[], workers text[]
) returns integer[] language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  base integer;
  settled integer[];
begin
  select j.base_generation into base from holdfast.jobs j where j.operation_id = of_operation;
  with fresh as (
    insert into holdfast.outcomes
      (operation_id, item_no, generation, outcome, reason, attempt, settled_by)
    select of_operation, i.no, in_generation, s.outcome, s.error, s.attempt, settle_job_items.settled_by
      from unnest(item_nos, outcomes, errors, attempts) as s(item_no, outcome, error, attempt)
      join holdfast.items i on i.operation_id = of_operation and i.no = s.item_no
     where not exists (
       select from holdfast.outcomes o
        where o.operation_id = of_operation and o.item_no = i.no
          and (o.generation = in_generation
               or o.outcome not in ('failed', 'lost', 'cancelled') and o.generation >= base)
       offset 0)
     order by i.no
    on conflict do nothing
    returning item_no
  )
  select coalesce(array_agg(item_no), '{}') into settled from fresh;
  insert into holdfast.job_results
    (operation_id, item_no, generation, body, reference, counts, error, worker)
  select of_operation, r.item_no, in_generation, r.body, r.reference, r.counts, r.error, r.worker
    from unnest(item_nos, bodies, refs, sums, errors, workers)
           as r(item_no, body, reference, counts, error, worker)
   where r.item_no = any(settled);
  return settled;
end $$;

-- Batches of a job that have no open item left are done. `{ closed, left, ready }`: how many this
-- closed; how many it has left, because somebody has them locked; whether any batch of it may still be
-- claimed.
create function holdfast.close_settled_batches(
  of_operation uuid, in_generation integer, nos integer[], waits boolean
) returns jsonb language plpgsql
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  base integer;
  settled integer[];
  locked integer[];
  closed integer := 0;
begin
  select j.base_generation into base from holdfast.jobs j where j.operation_id = of_operation;
  select coalesce(array_agg(b.no), '{}') into settled
    from holdfast.job_batches b
   where b.operation_id = of_operation and b.generation = in_generation and b.no = any(nos)
     and b.state <> 'done'
     and not exists (
       select from holdfast.items i
        where i.operation_id = of_operation and i.no between b.first_item and b.last_item
          and not exists (
            select from holdfast.outcomes o
             where o.operation_id = of_operation and o.item_no = i.no
               and (o.generation = in_generation
                    or o.outcome not in ('failed', 'lost', 'cancelled') and o.generation >= base)
            offset 0)
       offset 0);
  if waits then
    select coalesce(array_agg(l.no), '{}') into locked
      from (select b.no from holdfast.job_batches b
             where b.operation_id = of_operation and b.generation = in_generation
               and b.no = any(settled)
             order by b.no for no key update) l;
  else
    select coalesce(array_agg(l.no), '{}') into locked
      from (select b.no from holdfast.job_batches b
             where b.operation_id = of_operation and b.generation = in_generation
               and b.no = any(settled)
             order by b.no for no key update skip locked) l;
  end if;
  update holdfast.job_batches b
     set state = 'done', holder = null, leased_until = null, beat_until = null
   where b.operation_id = of_operation and b.generation = in_generation
     and b.no = any(locked) and b.state <> 'done';
  get diagnostics closed = row_count;
  return jsonb_build_object(
    'closed', closed, 'left', cardinality(settled) - cardinality(locked),
    'ready', exists (select from holdfast.job_batches b
                      where b.operation_id = of_operation and b.generation = in_generation
                        and b.state = 'ready'
                     offset 0));
end $$;

-- How jobs stand, for what holds them up: no look at the ledger, at most `most` batches of each state
-- counted, and of its newest results those of the last `pace_seconds`, at most 2,000 posts. Planned
-- without statistics of today, its past would be read and sorted for the newest of it.
create function holdfast.job_standings(
  of_jobs uuid[], online_seconds integer, most integer, pace_seconds integer
) returns table (
  id uuid, now timestamptz, pipeline text, at_work boolean, started_at timestamptz,
  collected integer, page_at timestamptz, open float8, ready integer, leased integer,
  workers_online integer, worker_seen_at timestamptz, claimed_at timestamptz,
  result_at timestamptz, repaired_at timestamptz, settled float8, settled_since timestamptz
) language plpgsql stable
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
set enable_bitmapscan = off set enable_sort = off as $$
declare
  recent_from timestamptz := clock_timestamp() - pace_seconds * interval '1 second';
begin
  return query
  select op.id, clock_timestamp(), j.pipeline,
         op.state = 'running' and op.paused_at is null and op.cancel_requested_at is null
           and not exists (
             select from holdfast.brakes b
              where (b.applies_to = 'all')
                 or (b.applies_to = 'kind' and b.name = op.kind)
                 or (b.applies_to = 'tenant' and b.name = op.tenant)
                 or (b.applies_to = 'scope' and b.name = op.tenant || '/' || op.scope)),
         op.started_at,
         case when j.collector is not null and j.collected_at is null then j.collected end,
         j.page_at, (op.total - coalesce(counted.n, 0))::float8, b.ready, b.leased,
         w.online, w.seen_at, nullif(t.served_at, '-infinity'), result.at,
         case when j.repaired_at >= op.started_at then j.repaired_at end,
         coalesce(pace.n, 0)::float8,
         case when pace.posts = 2000 then pace.first_at
              else greatest(op.started_at, recent_from) end
    from unnest(of_jobs) as asked(id)
    join holdfast.operations op on op.id = asked.id
    join holdfast.jobs j on j.operation_id = op.id
    left join holdfast.job_turns t on t.operation_id = op.id
   cross join lateral (
     select sum(c.n) filter (where c.stage = 'job') as n
       from (select p.stage, p.n from holdfast.progress p where p.operation_id = op.id
              union all
             select d.stage, d.n::bigint from holdfast.progress_deltas d
              where d.operation_id = op.id and not d.folded) c
   ) counted
   cross join lateral (
     select (select count(*)::integer
               from (select from holdfast.job_batches x
                      where x.operation_id = op.id and x.generation = op.generation
                        and x.state = 'ready' limit most) few) as ready,
            (select count(*)::integer
               from (select from holdfast.job_batches x
                      where x.operation_id = op.id and x.generation = op.generation
                        and x.state = 'leased' limit most) few) as leased
   ) b
   cross join lateral (
     select count(*) filter (
              where x.seen_at > clock_timestamp() - online_seconds * interval '1 second'
            )::integer as online,
            max(x.seen_at) as seen_at
       from holdfast.job_workers x
      where j.pipeline = any(x.pipelines) and (x.tenants is null or j.tenant = any(x.tenants))
   ) w
    left join lateral (
     select d.at from holdfast.progress_deltas d
      where d.operation_id = op.id and d.stage = 'job' and d.n > 0 and d.at >= op.started_at
      order by d.at desc limit 1
   ) result on true
    left join lateral (
     select sum(newest.n) as n, count(*) as posts, min(newest.at) as first_at
       from (select d.n, d.at from holdfast.progress_deltas d
              where d.operation_id = op.id and d.stage = 'job' and d.n > 0
                and d.at > greatest(op.started_at, recent_from)
                and not starts_with(d.source, 'open/')
              order by d.at desc limit 2000) newest
   ) pace on true;
end $$;
