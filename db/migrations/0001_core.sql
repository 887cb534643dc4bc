-- The core every feature stands on: operations, the one ledger, progress, logs, audit, the event
-- outbox, keys and brakes. Tables that grow with items are partitioned by operation id: ids are
-- uuid v7, so a range of ids is a range of time and retention is dropping a partition.
-- No foreign key points at operations: a locked parent must never stop a child insert.

create table holdfast.operations (
  id uuid primary key,
  kind text not null,
  tenant text not null,
  scope text not null default '',
  key text,
  digest bytea not null,
  exclusive_on text,
  state text not null default 'accepted',
  generation integer not null default 1,
  restarts smallint not null default 0,
  priority smallint not null default 3,
  total integer not null,
  batches integer not null,
  bytes bigint not null default 0,
  input jsonb not null default '{}',
  result jsonb,
  reason text,
  trace text,
  submitted_by text not null,
  accepted_at timestamptz not null default clock_timestamp(),
  start_after timestamptz,
  due_at timestamptz not null default clock_timestamp(),
  start_attempts integer not null default 0,
  started_at timestamptz,
  finished_at timestamptz,
  wake_at timestamptz,
  cancel_requested_at timestamptz,
  cancel_requested_by text,
  cancel_due_at timestamptz,
  paused_at timestamptz,
  paused_by text,
  pause_reason text,
  constraint operation_state_is_known
    check (state in ('accepted', 'running', 'completed', 'failed', 'cancelled')),
  constraint operation_is_finished_exactly_when_terminal
    check ((finished_at is not null) = (state in ('completed', 'failed', 'cancelled'))),
  constraint running_operation_was_started check (state <> 'running' or started_at is not null),
  constraint operation_holds_items check (total >= 0 and batches >= 0),
  constraint input_is_small check (pg_column_size(input) < 16384)
);

create unique index operation_key_is_unique_per_tenant_and_kind
  on holdfast.operations (tenant, kind, key) where key is not null;
create unique index only_one_open_operation_per_exclusive_thing
  on holdfast.operations (tenant, kind, exclusive_on)
  where exclusive_on is not null and state in ('accepted', 'running');
create index operations_to_start
  on holdfast.operations (tenant collate "C", scope collate "C", priority, id)
  where state = 'accepted';
create index operations_told_to_start on holdfast.operations (due_at)
  where state = 'accepted' and start_attempts > 0;
create index operations_to_wake on holdfast.operations (wake_at)
  where state = 'running' and wake_at is not null;
create index operations_to_cancel on holdfast.operations (cancel_due_at)
  where state = 'running' and cancel_requested_at is not null;
create index operations_open on holdfast.operations (tenant, scope, kind)
  where state in ('accepted', 'running');
create index operations_by_scope on holdfast.operations (tenant, scope, id);
create index operations_by_state on holdfast.operations (state, id);
create index operations_by_kind on holdfast.operations (kind, id);
create index operations_finished on holdfast.operations (finished_at) where finished_at is not null;

create sequence holdfast.item_seq;

create table holdfast.sub_batches (
  operation_id uuid not null,
  no integer not null,
  first_item integer not null,
  last_item integer not null,
  size bigint not null,
  primary key (operation_id, no),
  constraint sub_batch_holds_items check (last_item >= first_item)
) partition by range (operation_id);

create table holdfast.items (
  operation_id uuid not null,
  no integer not null,
  batch integer not null,
  seq bigint not null default nextval('holdfast.item_seq'),
  size integer not null,
  key text not null default '',
  primary key (operation_id, no)
) partition by range (operation_id);

-- The primary key begins with the item, because work asks "is this item settled" per item.
create table holdfast.outcomes (
  operation_id uuid not null,
  item_no integer not null,
  generation integer not null,
  outcome text not null,
  reason text,
  attempt smallint not null default 0,
  settled_by text not null default '',
  settled_at timestamptz not null default clock_timestamp(),
  primary key (operation_id, item_no, generation),
  constraint outcome_is_known check (outcome in
    ('succeeded', 'unchanged', 'superseded', 'blocked', 'failed', 'lost', 'cancelled'))
) partition by range (operation_id);

create table holdfast.payloads (
  operation_id uuid not null,
  item_no integer not null,
  part integer not null default 0,
  meta jsonb,
  content text not null,
  primary key (operation_id, item_no, part)
) partition by range (operation_id);

-- `answer` is what a repeated post with the same source is told. A source has a first row (place 0),
-- or none: whoever comes second with the same source finds it, whatever counts it brings.
create table holdfast.progress_deltas (
  operation_id uuid not null,
  source text not null,
  stage text not null,
  outcome text not null,
  n integer not null,
  answer jsonb,
  folded boolean not null default false,
  at timestamptz not null default clock_timestamp(),
  place smallint not null default 0,
  primary key (operation_id, source, place)
) partition by range (operation_id);
create index deltas_not_folded on holdfast.progress_deltas (operation_id) where not folded;

create table holdfast.progress (
  operation_id uuid not null,
  stage text not null,
  outcome text not null,
  n bigint not null,
  primary key (operation_id, stage, outcome)
);

-- Tries that did not settle an item. Absent: the first try has not failed.
create table holdfast.attempts (
  operation_id uuid not null,
  item_no integer not null,
  generation integer not null,
  attempts smallint not null default 0,
  crashes smallint not null default 0,
  due_at timestamptz not null default clock_timestamp(),
  last_error text,
  updated_at timestamptz not null default clock_timestamp(),
  primary key (operation_id, item_no, generation)
);

-- A page in the hands of an activity. A row found by the next attempt means that the one before it
-- died with these items in flight; `alone`: nothing else was in flight in that process.
create table holdfast.flights (
  operation_id uuid not null,
  generation integer not null,
  range_no integer not null,
  items integer[] not null,
  alone boolean not null,
  worker text not null,
  started_at timestamptz not null default clock_timestamp(),
  primary key (operation_id, generation, range_no)
);

create table holdfast.logs (
  at timestamptz not null default clock_timestamp(),
  seq bigint generated always as identity,
  operation_id uuid not null,
  level text not null,
  message text not null,
  fields jsonb,
  constraint log_level_is_known check (level in ('debug', 'info', 'warn', 'error'))
) partition by range (at);
create index logs_of_an_operation on holdfast.logs (operation_id, seq);

create table holdfast.audit (
  id bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  actor text not null,
  action text not null,
  tenant text not null,
  subject text not null,
  before jsonb,
  after jsonb
);
create index audit_by_subject on holdfast.audit (subject, id);
create index audit_by_time on holdfast.audit (at);

create table holdfast.events (
  id uuid primary key,
  at timestamptz not null default clock_timestamp(),
  type text not null,
  tenant text not null,
  operation_id uuid,
  body jsonb not null
);
create index events_by_operation on holdfast.events (operation_id);
create index events_by_time on holdfast.events (at);

create table holdfast.webhooks (
  id uuid primary key,
  tenant text not null,
  url text not null,
  events text[] not null,
  created_by text not null,
  created_at timestamptz not null default clock_timestamp(),
  disabled_at timestamptz,
  disabled_reason text
);
create index webhooks_by_tenant on holdfast.webhooks (tenant) where disabled_at is null;

-- Secrets live apart from everything that is listed, so that no view of a webhook can show one.
create table holdfast.webhook_secrets (
  webhook_id uuid primary key references holdfast.webhooks (id) on delete cascade,
  secret text not null
);

create table holdfast.deliveries (
  event_id uuid not null references holdfast.events (id) on delete cascade,
  webhook_id uuid not null references holdfast.webhooks (id) on delete cascade,
  tenant text not null,
  state text not null default 'pending',
  attempts smallint not null default 0,
  -- Tries made before it was last sent again by hand: they no longer count towards the cap.
  forgiven smallint not null default 0,
  due_at timestamptz not null default clock_timestamp(),
  finished_at timestamptz,
  primary key (event_id, webhook_id),
  constraint delivery_state_is_known check (state in ('pending', 'delivered', 'dead'))
);
create index deliveries_due on holdfast.deliveries (due_at) where state = 'pending';
create index deliveries_due_by_webhook on holdfast.deliveries (webhook_id, due_at)
  where state = 'pending';
create index deliveries_by_webhook on holdfast.deliveries (webhook_id, event_id);

create table holdfast.delivery_attempts (
  event_id uuid not null,
  webhook_id uuid not null,
  attempt smallint not null,
  at timestamptz not null default clock_timestamp(),
  status integer,
  duration_ms integer not null,
  error text,
  primary key (event_id, webhook_id, attempt),
  foreign key (event_id, webhook_id)
    references holdfast.deliveries (event_id, webhook_id) on delete cascade
);

create table holdfast.api_keys (
  id uuid primary key,
  name text not null,
  hash bytea not null unique,
  role text not null,
  tenants text[],
  created_by text not null,
  created_at timestamptz not null default clock_timestamp(),
  revoked_at timestamptz,
  constraint api_key_role_is_known check (role in ('viewer', 'service', 'operator', 'admin')),
  constraint api_key_tenants_is_absent_for_all check (tenants is null or cardinality(tenants) > 0)
);

create table holdfast.brakes (
  applies_to text not null,
  name text not null,
  reason text not null,
  set_by text not null,
  set_at timestamptz not null default clock_timestamp(),
  primary key (applies_to, name),
  constraint brake_applies_to_something_known
    check (applies_to in ('all', 'kind', 'tenant', 'scope', 'queue', 'target'))
);

create table holdfast.marks (
  seq bigint generated always as identity primary key,
  queue text not null,
  scope text not null,
  key text not null,
  due_at timestamptz not null default clock_timestamp()
);
create index marks_by_scope on holdfast.marks (queue, scope, seq);
create index marks_due on holdfast.marks (queue, due_at);

-- Poison taken out of a queue: not due, visible, put back by hand or by the doctor.
create table holdfast.quarantine (
  queue text not null,
  scope text not null,
  key text not null,
  reason text not null,
  attempts integer not null default 1,
  held boolean not null default false,
  at timestamptz not null default clock_timestamp(),
  primary key (queue, scope, key)
);

-- One row per standing workflow: when the relay should wake it (again).
create table holdfast.drains (
  queue text not null,
  lane smallint not null,
  wake_at timestamptz not null default clock_timestamp(),
  seen_at timestamptz,
  primary key (queue, lane)
);
insert into holdfast.drains (queue, lane) values ('consolidate', 0), ('deliver', 0);

create table holdfast.workers (
  id uuid primary key,
  identity text not null,
  version text not null,
  started_at timestamptz not null default clock_timestamp(),
  seen_at timestamptz not null default clock_timestamp()
);

create table holdfast.findings (
  check_name text not null,
  subject text not null,
  message text not null,
  repair text,
  first_seen_at timestamptz not null default clock_timestamp(),
  last_seen_at timestamptz not null default clock_timestamp(),
  resolved_at timestamptz,
  primary key (check_name, subject)
);

-- Who we are, for a Temporal namespace belongs to one database; and when the doctor last looked.
create table holdfast.installation (
  id uuid not null default gen_random_uuid(),
  examined_at timestamptz,
  only_one boolean primary key default true,
  constraint there_is_one_installation check (only_one)
);
insert into holdfast.installation default values;
