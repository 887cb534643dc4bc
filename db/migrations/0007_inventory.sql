-- The inbox, the plans made of it, and the built-in inventory.
--
-- Entities are not partitioned: the newest version of an identity has to be found by one probe of one
-- index, however old it is, and what is worked on is found through partial indexes that hold nothing else.

-- One row for each call, file or stream message: what it brought, and the ledger that takes a message once.
create table holdfast.ingest_requests (
  id uuid primary key,
  tenant text not null,
  source text not null,
  message_id text,
  -- Of what the message said, where its id does not hold that already.
  digest bytea,
  submitted_by text,
  -- Of a snapshot: what it says everything of. The branch stands beside it, for a scope lies in one.
  scope text,
  branch text,
  received integer not null default 0,
  accepted integer not null default 0,
  copies integer not null default 0,
  rejected integer not null default 0,
  -- Of a snapshot that was read whole: what it was the first not to name.
  missing integer,
  at timestamptz not null default clock_timestamp(),
  constraint ingest_counts_add_up check (received = accepted + copies + rejected),
  constraint snapshot_says_its_branch check (scope is null or branch is not null)
);

create unique index message_is_taken_once
  on holdfast.ingest_requests (tenant, source, message_id) where message_id is not null;
create index ingest_requests_by_time on holdfast.ingest_requests (tenant, at desc);
create index ingest_requests_to_sweep on holdfast.ingest_requests (at);

create sequence holdfast.entity_ids;

-- The id is the order of acceptance. `branch` null: not known yet, so nothing happens to the row.
-- States are the numbers of the wire. `plan_hash` is that of the newest change set, `approved_hash` that
-- of the one a person has seen; `planned_xid` tells who could see the newest one. `origin`: the state that
-- it, or the version it repeats, has come from. `adopted_at`: when its branch became known.
-- `token` and `lease_until`: held by a worker whose effect leaves Postgres.
-- Those of an operation are its items: the inbox neither counts copies of them nor works them.
-- A removal says that a snapshot no longer names what its identity names.
create table holdfast.entities (
  id bigint primary key,
  tenant text not null,
  branch text,
  request uuid not null,
  operation uuid,
  item integer,
  type text not null,
  identity bytea not null,
  removal boolean not null default false,
  hash bytea not null,
  fields jsonb not null,
  warnings jsonb,
  source_time text,
  origin smallint,
  adopted_at timestamptz,
  state smallint not null default 1,
  accepted_at timestamptz not null default clock_timestamp(),
  settled_at timestamptz,
  plans integer not null default 0,
  plan_hash bytea,
  planned_at timestamptz,
  planned_xid xid8,
  approved_hash bytea,
  decided_by text,
  decided_at timestamptz,
  rule text,
  error jsonb,
  waits_for text[],
  attempt smallint not null default 0,
  due_at timestamptz,
  token bigint,
  lease_until timestamptz,
  constraint entity_state_is_known check (state between 1 and 11),
  constraint settled_exactly_when_nothing_happens_by_itself
    check ((settled_at is not null) = (state in (3, 4, 5, 6, 7, 11))),
  constraint retried_entity_is_due_some_time check (state <> 9 or due_at is not null),
  constraint approved_entity_is_to_be_applied_or_was check (approved_hash is null or state in (1, 2, 3, 5, 8, 9)),
  constraint leased_entity_has_token check (lease_until is null or token is not null),
  constraint entity_of_operation_is_an_item check ((operation is null) = (item is null))
);

create index entities_by_identity on holdfast.entities (tenant, branch, identity, id desc)
  where operation is null;
create unique index entity_is_one_item on holdfast.entities (operation, item) where operation is not null;
create index entities_by_tenant on holdfast.entities (tenant, id);
create index entities_by_request on holdfast.entities (request, id);
create index entities_queued on holdfast.entities (tenant, branch, id)
  where state = 1 and operation is null;
create index entities_to_retry on holdfast.entities (tenant, branch, due_at, id)
  where state = 9 and operation is null;
create index entities_retried on holdfast.entities (tenant, branch, identity, id)
  where state = 9 and operation is null;
create index entities_that_wait on holdfast.entities using gin (waits_for) where state = 9;
create index entities_open on holdfast.entities (tenant, id) where state = 2;
create index entities_troubled on holdfast.entities (tenant, id) where state in (4, 6, 7);
create index entities_of_plan on holdfast.entities (operation, state, id)
  where operation is not null and state in (1, 2, 9);
create index entities_approved on holdfast.entities (tenant, branch, id)
  where state = 2 and approved_hash is not null and operation is null;
create index entities_open_versions on holdfast.entities (tenant, branch, identity, id)
  where state = 2 and approved_hash is null and operation is null;
create index entities_open_since on holdfast.entities (tenant, branch, planned_at)
  where state = 2 and approved_hash is null and operation is null;
create index entities_decided on holdfast.entities (tenant, branch, identity, id desc)
  where decided_by is not null and operation is null;
create index entities_retried_next on holdfast.entities (due_at)
  where state = 9 and operation is null;
create index entities_leased on holdfast.entities (lease_until) where lease_until is not null;
create index entities_to_sweep on holdfast.entities (settled_at) where settled_at is not null;

-- Entities that said what a version that was still to come said already. Rows of their own, so that
-- taking in never waits for planning.
create table holdfast.entity_copies (
  entity bigint not null,
  request uuid not null,
  n integer not null,
  at timestamptz not null default clock_timestamp(),
  primary key (request, entity),
  constraint entity_copies_are_some check (n > 0)
);

create index entity_copies_by_entity on holdfast.entity_copies (entity);
create index entity_copies_to_sweep on holdfast.entity_copies (at);

-- What could not be taken: the raw bytes, so that nothing is lost.
create table holdfast.inbox_rejects (
  id bigint generated always as identity primary key,
  request uuid not null,
  tenant text not null,
  no integer not null,
  code text not null,
  issues jsonb not null,
  raw bytea,
  at timestamptz not null default clock_timestamp()
);

create index inbox_rejects_by_request on holdfast.inbox_rejects (request, no);
create index inbox_rejects_to_sweep on holdfast.inbox_rejects (at);

-- What snapshots have named, scope by scope: what the newest one does not name is missing.
create table holdfast.inventory_scopes (
  tenant text not null,
  branch text not null,
  scope text not null,
  request uuid not null,
  members integer not null,
  grace_seconds integer not null,
  at timestamptz not null default clock_timestamp(),
  primary key (tenant, branch, scope)
);

create table holdfast.scope_members (
  tenant text not null,
  branch text not null,
  scope text not null,
  identity bytea not null,
  -- The entity that named it last, and the snapshot that did, nested or not.
  entity bigint not null,
  request uuid not null,
  missing_since timestamptz,
  -- The removal that was made of it.
  removal bigint,
  primary key (tenant, branch, scope, identity)
);

create index scope_members_missing on holdfast.scope_members (missing_since)
  where missing_since is not null and removal is null;
create index scope_members_entity on holdfast.scope_members (entity);
create index scope_members_removed on holdfast.scope_members (removal) where removal is not null;

-- How a tenant's entities are planned; what is null is as configured. Read with every batch.
create table holdfast.inventory_settings (
  tenant text primary key,
  registry text,
  target text,
  mode text,
  rules jsonb,
  guard jsonb,
  default_branch text,
  escalate_seconds integer,
  expire_seconds integer,
  version integer not null default 1,
  updated_by text not null,
  updated_at timestamptz not null default clock_timestamp(),
  constraint plan_mode_is_known check (mode in ('plan-only', 'auto'))
);

-- One plan operation: what it was planned for, and what was decided. Its entities are its items.
create table holdfast.plans (
  operation_id uuid primary key,
  tenant text not null,
  branch text not null,
  mode text not null,
  hash bytea,
  planned_at timestamptz,
  told_at timestamptz,
  escalated_at timestamptz,
  expires_at timestamptz,
  decision text,
  decided_by text,
  decided_at timestamptz,
  reason text,
  constraint plan_decision_is_known check (decision in ('approve', 'reject')),
  constraint plan_decision_has_who_and_when
    check ((decision is null) = (decided_by is null) and (decision is null) = (decided_at is null))
);

-- What is asked of a target outside: written before the call, answered in the transaction that settles.
create table holdfast.apply_attempts (
  entity bigint not null,
  token bigint not null,
  -- Null: planned and applied in one call, so that nobody has seen the change set yet.
  change_set bigint,
  -- The same for every try of one change set.
  key uuid not null,
  started_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz,
  answer jsonb,
  primary key (entity, token)
);

-- How targets outside are doing, for all workers.
create table holdfast.targets (
  name text primary key,
  -- The branch of what names none, once the target has said it.
  default_branch text,
  branch_read_at timestamptz,
  batch_size integer,
  failures integer not null default 0,
  failing_since timestamptz,
  retry_at timestamptz,
  error text,
  constraint failing_target_says_why check ((failures > 0) = (error is not null))
);

create index apply_attempts_to_sweep on holdfast.apply_attempts (started_at);

create sequence holdfast.entity_tokens;

-- What an entity would change, or has changed: the newest few of each.
create table holdfast.change_sets (
  id bigint generated always as identity primary key,
  entity bigint not null,
  hash bytea not null,
  title text not null,
  changes jsonb not null,
  -- Objects that it creates, updates and deletes, so that many are summed without being read.
  creates integer not null,
  updates integer not null,
  deletes integer not null,
  warnings jsonb,
  applied_at timestamptz,
  made_at timestamptz not null default clock_timestamp()
);

create index change_sets_by_entity on holdfast.change_sets (entity, id desc);

-- The built-in inventory. Ids come in blocks, so that a plan can name what it creates.
create sequence holdfast.object_id_blocks;

create table holdfast.objects (
  id bigint primary key,
  tenant text not null,
  branch text not null,
  type text not null,
  version integer not null,
  data jsonb not null,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp()
) with (fillfactor = 90);

create index objects_by_type on holdfast.objects (tenant, branch, type, id);

-- Every way an object is named, by its matchers. Case counts, and so does every byte.
create table holdfast.object_keys (
  tenant text not null,
  branch text not null,
  key text collate "C" not null,
  object bigint not null,
  primary key (tenant, branch, key)
);

create index object_keys_by_object on holdfast.object_keys (object);

-- By which matchers the keys of a branch were written, and how far it is where they have changed.
create table holdfast.inventory_keyed (
  tenant text not null,
  branch text not null,
  fingerprint bytea not null,
  types jsonb not null,
  stage text not null,
  again text[] not null,
  after_type text not null,
  after_object bigint not null,
  primary key (tenant, branch),
  constraint keyed_stage_is_known check (stage in ('drop', 'add', 'done'))
);

create table holdfast.object_refs (
  from_object bigint not null,
  to_object bigint not null,
  primary key (from_object, to_object)
);

create index object_refs_to on holdfast.object_refs (to_object);

-- Which entity changed what; the change sets show how.
create table holdfast.object_journal (
  id bigint generated always as identity primary key,
  object bigint not null,
  version integer not null,
  kind text not null,
  entity bigint not null,
  at timestamptz not null default clock_timestamp(),
  constraint journal_kind_is_known check (kind in ('create', 'update', 'delete'))
);

create index object_journal_by_object on holdfast.object_journal (object, id desc);
create index object_journal_to_sweep on holdfast.object_journal (at);

-- How plans and what they apply ended, a row a batch and source, until it is folded into the sums.
create table holdfast.inventory_counts (
  id bigint generated always as identity primary key,
  source text not null,
  planned bigint not null,
  plan_failed bigint not null,
  applied bigint not null,
  apply_failed bigint not null,
  created bigint not null,
  updated bigint not null,
  deleted bigint not null
);

create table holdfast.inventory_sums (
  source text primary key,
  planned bigint not null,
  plan_failed bigint not null,
  applied bigint not null,
  apply_failed bigint not null,
  created bigint not null,
  updated bigint not null,
  deleted bigint not null
);

-- How much one window has changed of a tenant's branch, and whether it is held until somebody has looked.
create table holdfast.inventory_guards (
  tenant text not null,
  branch text not null,
  window_at timestamptz not null default clock_timestamp(),
  objects bigint not null,
  changed bigint not null default 0,
  held_at timestamptz,
  held_because text,
  lifted_by text,
  lifted_at timestamptz,
  -- Somebody has been told that decisions are overdue.
  escalated_at timestamptz,
  primary key (tenant, branch),
  constraint held_inventory_says_why check ((held_at is null) = (held_because is null))
);

insert into holdfast.drains (queue, lane)
  select 'reconcile', lane from generate_series(0, 3) as lane;
