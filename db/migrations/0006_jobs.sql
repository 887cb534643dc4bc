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

-- Hands out batches, least served job first, up to what the worker may hold. Answers
-- `{ waiting, held, batches }`: jobs that had something ready, batches that the worker held when that
-- is why it gets none, and the leases. Nothing waits for another
-- claim but one of the same worker. `secrets` holds 16 bytes for each batch asked for; what is stored
-- of them is a digest, with all that the lease is bound to.
create function holdfast.claim_job_batches(asked text, secrets bytea) returns jsonb
language plpgsql set enable_seqscan = off as $$
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
      cap integer, heartbeat boolean);

  select coalesce(array_agg(c.operation_id), '{}') into jobs
    from holdfast.claimable_jobs() c
   where c.pipeline = any(claim.pipelines)
     and (claim.tenants is null or c.tenant = any(claim.tenants))
     and (claim.operation is null or c.operation_id = claim.operation);
  jobs_waiting := cardinality(jobs);
  if jobs_waiting = 0 then
    return jsonb_build_object('waiting', 0, 'batches', leases);
  end if;

  perform pg_advisory_xact_lock(4207, hashtext(claim.holder));
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

    select j.* into job from holdfast.jobs j where j.operation_id = turn.operation_id;
    now_at := clock_timestamp();
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
      (operation_id, generation, batch, lease, delivery, handle, holder)
    values
      (job.operation_id, job.open_generation, got.no, got.lease, got.delivery,
       sha256(uuid_send(job.operation_id) || int4send(job.open_generation) || int4send(got.no)
              || int4send(got.lease) || substring(secrets from taken * 16 + 1 for 16)
              || convert_to(claim.key, 'UTF8')),
       claim.holder);
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
      'delivery', got.delivery, 'secret', taken, 'leasedUntil', got.leased_until,
      'beatUntil', got.beat_until, 'heartbeatSeconds', job.heartbeat_seconds);
    taken := taken + 1;
  end loop;
  return jsonb_build_object('waiting', jobs_waiting, 'batches', leases,
                            'held', case when room <= 0 then claim.cap - room end);
end $$;
