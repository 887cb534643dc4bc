-- Banks, documents and what is derived from them. A document is its parts in order of acceptance
-- (`seq` of the item that wrote the part). Chunks and facts hang on a part and become visible with
-- it: rows without a part are the staged work of a large item and belong to nobody yet.

-- The row of an erased bank stays for a day: a batch that was being accepted meanwhile names it.
-- `sweep_due_at`: from when on to look for what is left of it, or came late.
create table holdfast.banks (
  id bigint generated always as identity primary key,
  tenant text not null,
  name text not null,
  created_at timestamptz not null default clock_timestamp(),
  erased_at timestamptz,
  sweep_due_at timestamptz not null default clock_timestamp()
);
create unique index bank_name_is_unique_per_tenant
  on holdfast.banks (tenant, name) where erased_at is null;
create index banks_to_sweep on holdfast.banks (sweep_due_at) where erased_at is not null;

-- `head_seq` is the newest replace; `erased_seq` is where the document was last erased.
create table holdfast.documents (
  bank_id bigint not null,
  document_id text not null,
  head_seq bigint,
  erased_seq bigint,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  primary key (bank_id, document_id)
);

create table holdfast.document_parts (
  seq bigint primary key,
  bank_id bigint not null,
  document_id text not null,
  operation_id uuid not null,
  item_no integer not null,
  mode text not null,
  digest bytea not null,
  extractor text not null,
  context text,
  happened_at timestamptz,
  tags text[] not null default '{}',
  metadata jsonb not null default '{}',
  size integer not null,
  chunks integer not null,
  facts integer not null,
  written_at timestamptz not null default clock_timestamp(),
  constraint part_mode_is_known check (mode in ('replace', 'append'))
);
create index parts_of_a_document on holdfast.document_parts (bank_id, document_id, seq);

-- The text of a part is its chunks joined: they cover it exactly.
create table holdfast.chunks (
  part_seq bigint not null,
  no integer not null,
  start_at integer not null,
  end_at integer not null,
  text text not null,
  primary key (part_seq, no),
  constraint chunk_is_not_empty check (end_at > start_at)
);

create table holdfast.facts (
  part_seq bigint not null,
  chunk_no integer not null,
  ordinal smallint not null,
  bank_id bigint not null,
  start_at integer,
  end_at integer,
  occurred_start date,
  occurred_end date,
  text text not null,
  primary key (part_seq, chunk_no, ordinal)
);
create index facts_of_a_bank on holdfast.facts (bank_id);

-- `entity` is what names are compared by, `name` what is shown.
create table holdfast.fact_entities (
  part_seq bigint not null,
  chunk_no integer not null,
  ordinal smallint not null,
  bank_id bigint not null,
  entity text not null,
  name text not null,
  primary key (part_seq, chunk_no, ordinal, entity)
);
create index facts_about_an_entity
  on holdfast.fact_entities (bank_id, entity, part_seq, chunk_no, ordinal);

create table holdfast.observations (
  id bigint generated always as identity primary key,
  bank_id bigint not null,
  entity text not null,
  name text not null,
  text text not null,
  consolidator text not null,
  written_at timestamptz not null default clock_timestamp()
);
create unique index one_observation_per_entity on holdfast.observations (bank_id, entity);

create table holdfast.observation_sources (
  observation_id bigint not null references holdfast.observations (id) on delete cascade,
  part_seq bigint not null,
  chunk_no integer not null,
  ordinal smallint not null,
  primary key (observation_id, part_seq, chunk_no, ordinal)
);
create index observations_built_on_a_fact
  on holdfast.observation_sources (part_seq, chunk_no, ordinal);

-- A large item on its way in: how far its chunks and facts are written, so that a crash resumes.
create table holdfast.staged_parts (
  part_seq bigint primary key,
  operation_id uuid not null,
  item_no integer not null,
  bank_id bigint not null,
  extractor text not null,
  chunk_size integer not null,
  position integer not null default 0,
  chunks integer not null default 0,
  facts integer not null default 0,
  updated_at timestamptz not null default clock_timestamp()
);
create index staged_parts_of_an_operation on holdfast.staged_parts (operation_id, item_no);
create index staged_parts_of_a_bank on holdfast.staged_parts (bank_id);
