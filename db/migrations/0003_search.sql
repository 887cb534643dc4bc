-- Search: marks say which objects are dirty, index rows are what is found. An index is one type of
-- objects in one schema of the user's; the live row decides what its rows are.

-- Trigram look-ups are an addition: without the extension every look-up works, slower.
do $$
begin
  -- Not in the first schema of the role's path: that may be ours, and go with it.
  if to_regnamespace('public') is null then
    create extension if not exists pg_trgm;
  else
    create extension if not exists pg_trgm schema public;
  end if;
exception when others then
  raise notice 'pg_trgm cannot be made here (%): search works without it, slower', sqlerrm;
end $$;

-- `generation` is what is searched; `building` is made beside it and takes its place at once.
-- `definition` and `capture` are digests of what the generation and the triggers were made from.
create table holdfast.search_indexes (
  id integer generated always as identity primary key,
  schema_name text not null,
  schema_oid oid not null,
  type text not null,
  generation integer not null default 0,
  definition bytea not null,
  capture bytea not null,
  built_at timestamptz,
  objects bigint not null default 0,
  building integer,
  building_operation uuid,
  building_definition bytea,
  building_since timestamptz,
  building_after text,
  building_objects bigint not null default 0,
  drifted_at timestamptz,
  drift_reason text,
  retry_at timestamptz,
  installed_at timestamptz not null default clock_timestamp(),
  constraint what_is_built_is_another_generation check (building <> generation),
  constraint what_is_built_has_a_builder
    check ((building is null) = (building_operation is null))
);
create unique index search_index_is_unique_per_schema_and_type
  on holdfast.search_indexes (schema_name, type);

-- Appended by triggers in the writer's own transaction, many keys in one row. Absent keys: the whole
-- type. `through`: the keys are those of a parent, by the name of the dependency. `place`: how far a
-- mark of many objects is worked.
create table holdfast.index_marks (
  seq bigint generated always as identity,
  lane smallint not null,
  schema_name text not null,
  type text not null,
  keys text[],
  through text,
  place text,
  at timestamptz not null default clock_timestamp(),
  primary key (lane, schema_name, seq)
);

-- One row per part of a field: long values are cut, a list has one part per member. `net`: the host
-- of an address, or a network. `words`: present exactly for prose, which is matched by its words.
create table holdfast.index_rows (
  index_id integer not null,
  generation integer not null,
  part integer not null,
  weight smallint not null,
  kind text not null,
  key text not null,
  field text not null,
  value text not null,
  net inet,
  words tsvector,
  primary key (index_id, generation, key, field, part),
  constraint index_row_is_of_a_known_kind
    check (kind in ('text', 'prose', 'number', 'date', 'address', 'network'))
);
create index index_rows_by_beginning
  on holdfast.index_rows (left(lower(value), 64) text_pattern_ops) where words is null;
create index index_rows_by_word on holdfast.index_rows using gin (words) where words is not null;
create index index_rows_by_net on holdfast.index_rows using gist (net inet_ops)
  where net is not null;

-- Trigrams, where the extension is: its operator class lives in whichever schema it was made in.
create function holdfast.index_trigrams() returns boolean
language plpgsql as $$
declare
  place name := (select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace
                  where e.extname = 'pg_trgm');
begin
  if place is null then return false; end if;
  execute format('create index if not exists index_rows_by_trigram on holdfast.index_rows
                    using gin (value %I.gin_trgm_ops) where words is null', place);
  return true;
end $$;
select holdfast.index_trigrams();

-- An address or network in text that may hold anything; null for what is neither. What catches an
-- error cannot run in parallel before Postgres 17.
create function holdfast.as_inet(value text) returns inet
language plpgsql immutable strict as $$
begin
  return value::inet;
exception when invalid_text_representation then
  return null;
end $$;

-- One row per lane of the drain: its lease where the effect leaves Postgres, its last fault, and how
-- long marks waited before what they ask for could be found (counts per bucket of seconds).
create table holdfast.index_lanes (
  lane smallint primary key,
  lease bigint not null default 0,
  leased_until timestamptz,
  failing_since timestamptz,
  last_error text,
  applied bigint not null default 0,
  waited_seconds double precision not null default 0,
  waited bigint[] not null default '{0,0,0,0,0,0,0,0,0,0,0}'
);
insert into holdfast.index_lanes (lane) values (0), (1), (2), (3);

-- A table whose writes could not be marked for a while: to be audited.
create table holdfast.index_gaps (
  schema_name text not null,
  type text not null,
  at timestamptz not null default clock_timestamp()
);

insert into holdfast.drains (queue, lane)
  values ('index', 0), ('index', 1), ('index', 2), ('index', 3);
