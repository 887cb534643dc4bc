-- The schema after all migrations, from the catalogs. Written by "npx tsx db/dump.ts --write"; a
-- test compares it with a database that was just migrated. Never run, never edited by hand.

create sequence holdfast.entity_ids as bigint;

create sequence holdfast.entity_tokens as bigint;

create sequence holdfast.item_seq as bigint;

create sequence holdfast.object_id_blocks as bigint;

create table holdfast.api_keys (
  id uuid not null,
  name text not null,
  hash bytea not null,
  role text not null,
  tenants text[],
  created_by text not null,
  created_at timestamp with time zone default clock_timestamp() not null,
  revoked_at timestamp with time zone,
  constraint api_keys_pkey PRIMARY KEY (id),
  constraint api_key_role_is_known CHECK ((role = ANY (ARRAY['viewer'::text, 'service'::text, 'operator'::text, 'admin'::text]))),
  constraint api_key_tenants_is_absent_for_all CHECK (((tenants IS NULL) OR (cardinality(tenants) > 0))),
  constraint api_keys_hash_key UNIQUE (hash)
);

create table holdfast.apply_attempts (
  entity bigint not null,
  token bigint not null,
  change_set bigint,
  key uuid not null,
  started_at timestamp with time zone default clock_timestamp() not null,
  ended_at timestamp with time zone,
  answer jsonb,
  constraint apply_attempts_pkey PRIMARY KEY (entity, token)
);
CREATE INDEX apply_attempts_to_sweep ON holdfast.apply_attempts USING btree (started_at);

create table holdfast.attempts (
  operation_id uuid not null,
  item_no integer not null,
  generation integer not null,
  attempts smallint default 0 not null,
  crashes smallint default 0 not null,
  due_at timestamp with time zone default clock_timestamp() not null,
  last_error text,
  updated_at timestamp with time zone default clock_timestamp() not null,
  constraint attempts_pkey PRIMARY KEY (operation_id, item_no, generation)
);

create table holdfast.audit (
  id bigint generated always as identity not null,
  at timestamp with time zone default clock_timestamp() not null,
  actor text not null,
  action text not null,
  tenant text not null,
  subject text not null,
  before jsonb,
  after jsonb,
  constraint audit_pkey PRIMARY KEY (id)
);
CREATE INDEX audit_by_subject ON holdfast.audit USING btree (subject, id);
CREATE INDEX audit_by_time ON holdfast.audit USING btree (at);

create table holdfast.banks (
  id bigint generated always as identity not null,
  tenant text not null,
  name text not null,
  created_at timestamp with time zone default clock_timestamp() not null,
  erased_at timestamp with time zone,
  sweep_due_at timestamp with time zone default clock_timestamp() not null,
  constraint banks_pkey PRIMARY KEY (id)
);
CREATE UNIQUE INDEX bank_name_is_unique_per_tenant ON holdfast.banks USING btree (tenant, name) WHERE (erased_at IS NULL);
CREATE INDEX banks_to_sweep ON holdfast.banks USING btree (sweep_due_at) WHERE (erased_at IS NOT NULL);

create table holdfast.brakes (
  applies_to text not null,
  name text not null,
  reason text not null,
  set_by text not null,
  set_at timestamp with time zone default clock_timestamp() not null,
  constraint brakes_pkey PRIMARY KEY (applies_to, name),
  constraint brake_applies_to_something_known CHECK ((applies_to = ANY (ARRAY['all'::text, 'kind'::text, 'tenant'::text, 'scope'::text, 'queue'::text, 'target'::text])))
);

create table holdfast.change_sets (
  id bigint generated always as identity not null,
  entity bigint not null,
  hash bytea not null,
  title text not null,
  changes jsonb not null,
  creates integer not null,
  updates integer not null,
  deletes integer not null,
  warnings jsonb,
  applied_at timestamp with time zone,
  made_at timestamp with time zone default clock_timestamp() not null,
  constraint change_sets_pkey PRIMARY KEY (id)
);
CREATE INDEX change_sets_by_entity ON holdfast.change_sets USING btree (entity, id DESC);

create table holdfast.chunks (
  part_seq bigint not null,
  no integer not null,
  start_at integer not null,
  end_at integer not null,
  text text not null,
  constraint chunks_pkey PRIMARY KEY (part_seq, no),
  constraint chunk_is_not_empty CHECK ((end_at > start_at))
);

create table holdfast.deliveries (
  event_id uuid not null,
  webhook_id uuid not null,
  tenant text not null,
  state text default 'pending'::text not null,
  attempts smallint default 0 not null,
  forgiven smallint default 0 not null,
  due_at timestamp with time zone default clock_timestamp() not null,
  finished_at timestamp with time zone,
  constraint deliveries_pkey PRIMARY KEY (event_id, webhook_id),
  constraint deliveries_event_id_fkey FOREIGN KEY (event_id) REFERENCES holdfast.events(id) ON DELETE CASCADE,
  constraint deliveries_webhook_id_fkey FOREIGN KEY (webhook_id) REFERENCES holdfast.webhooks(id) ON DELETE CASCADE,
  constraint delivery_state_is_known CHECK ((state = ANY (ARRAY['pending'::text, 'delivered'::text, 'dead'::text])))
);
CREATE INDEX deliveries_by_webhook ON holdfast.deliveries USING btree (webhook_id, event_id);
CREATE INDEX deliveries_due ON holdfast.deliveries USING btree (due_at) WHERE (state = 'pending'::text);
CREATE INDEX deliveries_due_by_webhook ON holdfast.deliveries USING btree (webhook_id, due_at) WHERE (state = 'pending'::text);

create table holdfast.delivery_attempts (
  event_id uuid not null,
  webhook_id uuid not null,
  attempt smallint not null,
  at timestamp with time zone default clock_timestamp() not null,
  status integer,
  duration_ms integer not null,
  error text,
  constraint delivery_attempts_pkey PRIMARY KEY (event_id, webhook_id, attempt),
  constraint delivery_attempts_event_id_webhook_id_fkey FOREIGN KEY (event_id, webhook_id) REFERENCES holdfast.deliveries(event_id, webhook_id) ON DELETE CASCADE
);

create table holdfast.document_parts (
  seq bigint not null,
  bank_id bigint not null,
  document_id text not null,
  operation_id uuid not null,
  item_no integer not null,
  mode text not null,
  digest bytea not null,
  extractor text not null,
  context text,
  happened_at timestamp with time zone,
  tags text[] default '{}'::text[] not null,
  metadata jsonb default '{}'::jsonb not null,
  size integer not null,
  chunks integer not null,
  facts integer not null,
  written_at timestamp with time zone default clock_timestamp() not null,
  constraint document_parts_pkey PRIMARY KEY (seq),
  constraint part_mode_is_known CHECK ((mode = ANY (ARRAY['replace'::text, 'append'::text])))
);
CREATE INDEX parts_of_a_document ON holdfast.document_parts USING btree (bank_id, document_id, seq);

create table holdfast.documents (
  bank_id bigint not null,
  document_id text not null,
  head_seq bigint,
  erased_seq bigint,
  created_at timestamp with time zone default clock_timestamp() not null,
  updated_at timestamp with time zone default clock_timestamp() not null,
  constraint documents_pkey PRIMARY KEY (bank_id, document_id)
);

create table holdfast.drains (
  queue text not null,
  lane smallint not null,
  wake_at timestamp with time zone default clock_timestamp() not null,
  seen_at timestamp with time zone,
  constraint drains_pkey PRIMARY KEY (queue, lane)
);

create table holdfast.entities (
  id bigint not null,
  tenant text not null,
  branch text,
  request uuid not null,
  operation uuid,
  item integer,
  type text not null,
  identity bytea not null,
  removal boolean default false not null,
  hash bytea not null,
  fields jsonb not null,
  warnings jsonb,
  source_time text,
  origin smallint,
  adopted_at timestamp with time zone,
  state smallint default 1 not null,
  accepted_at timestamp with time zone default clock_timestamp() not null,
  settled_at timestamp with time zone,
  plans integer default 0 not null,
  plan_hash bytea,
  planned_at timestamp with time zone,
  planned_xid xid8,
  approved_hash bytea,
  decided_by text,
  decided_at timestamp with time zone,
  rule text,
  error jsonb,
  waits_for text[],
  attempt smallint default 0 not null,
  due_at timestamp with time zone,
  token bigint,
  lease_until timestamp with time zone,
  constraint entities_pkey PRIMARY KEY (id),
  constraint approved_entity_is_to_be_applied_or_was CHECK (((approved_hash IS NULL) OR (state = ANY (ARRAY[1, 2, 3, 5, 8, 9])))),
  constraint entity_of_operation_is_an_item CHECK (((operation IS NULL) = (item IS NULL))),
  constraint entity_state_is_known CHECK (((state >= 1) AND (state <= 11))),
  constraint leased_entity_has_token CHECK (((lease_until IS NULL) OR (token IS NOT NULL))),
  constraint retried_entity_is_due_some_time CHECK (((state <> 9) OR (due_at IS NOT NULL))),
  constraint settled_exactly_when_nothing_happens_by_itself CHECK (((settled_at IS NOT NULL) = (state = ANY (ARRAY[3, 4, 5, 6, 7, 11]))))
);
CREATE INDEX entities_approved ON holdfast.entities USING btree (tenant, branch, id) WHERE ((state = 2) AND (approved_hash IS NOT NULL) AND (operation IS NULL));
CREATE INDEX entities_by_identity ON holdfast.entities USING btree (tenant, branch, identity, id DESC) WHERE (operation IS NULL);
CREATE INDEX entities_by_request ON holdfast.entities USING btree (request, id);
CREATE INDEX entities_by_tenant ON holdfast.entities USING btree (tenant, id);
CREATE INDEX entities_decided ON holdfast.entities USING btree (tenant, branch, identity, id DESC) WHERE ((decided_by IS NOT NULL) AND (operation IS NULL));
CREATE INDEX entities_leased ON holdfast.entities USING btree (lease_until) WHERE (lease_until IS NOT NULL);
CREATE INDEX entities_of_plan ON holdfast.entities USING btree (operation, state, id) WHERE ((operation IS NOT NULL) AND (state = ANY (ARRAY[1, 2, 9])));
CREATE INDEX entities_open ON holdfast.entities USING btree (tenant, id) WHERE (state = 2);
CREATE INDEX entities_open_since ON holdfast.entities USING btree (tenant, branch, planned_at) WHERE ((state = 2) AND (approved_hash IS NULL) AND (operation IS NULL));
CREATE INDEX entities_open_versions ON holdfast.entities USING btree (tenant, branch, identity, id) WHERE ((state = 2) AND (approved_hash IS NULL) AND (operation IS NULL));
CREATE INDEX entities_queued ON holdfast.entities USING btree (tenant, branch, id) WHERE ((state = 1) AND (operation IS NULL));
CREATE INDEX entities_retried ON holdfast.entities USING btree (tenant, branch, identity, id) WHERE ((state = 9) AND (operation IS NULL));
CREATE INDEX entities_retried_next ON holdfast.entities USING btree (due_at) WHERE ((state = 9) AND (operation IS NULL));
CREATE INDEX entities_that_wait ON holdfast.entities USING gin (waits_for) WHERE (state = 9);
CREATE INDEX entities_to_retry ON holdfast.entities USING btree (tenant, branch, due_at, id) WHERE ((state = 9) AND (operation IS NULL));
CREATE INDEX entities_to_sweep ON holdfast.entities USING btree (settled_at) WHERE (settled_at IS NOT NULL);
CREATE INDEX entities_troubled ON holdfast.entities USING btree (tenant, id) WHERE (state = ANY (ARRAY[4, 6, 7]));
CREATE UNIQUE INDEX entity_is_one_item ON holdfast.entities USING btree (operation, item) WHERE (operation IS NOT NULL);

create table holdfast.entity_copies (
  entity bigint not null,
  request uuid not null,
  n integer not null,
  at timestamp with time zone default clock_timestamp() not null,
  constraint entity_copies_pkey PRIMARY KEY (request, entity),
  constraint entity_copies_are_some CHECK ((n > 0))
);
CREATE INDEX entity_copies_by_entity ON holdfast.entity_copies USING btree (entity);
CREATE INDEX entity_copies_to_sweep ON holdfast.entity_copies USING btree (at);

create table holdfast.events (
  id uuid not null,
  at timestamp with time zone default clock_timestamp() not null,
  type text not null,
  tenant text not null,
  operation_id uuid,
  body jsonb not null,
  constraint events_pkey PRIMARY KEY (id)
);
CREATE INDEX events_by_operation ON holdfast.events USING btree (operation_id);
CREATE INDEX events_by_time ON holdfast.events USING btree (at);

create table holdfast.fact_entities (
  part_seq bigint not null,
  chunk_no integer not null,
  ordinal smallint not null,
  bank_id bigint not null,
  entity text not null,
  name text not null,
  constraint fact_entities_pkey PRIMARY KEY (part_seq, chunk_no, ordinal, entity)
);
CREATE INDEX facts_about_an_entity ON holdfast.fact_entities USING btree (bank_id, entity, part_seq, chunk_no, ordinal);

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
  constraint facts_pkey PRIMARY KEY (part_seq, chunk_no, ordinal)
);
CREATE INDEX facts_of_a_bank ON holdfast.facts USING btree (bank_id);

create table holdfast.findings (
  check_name text not null,
  subject text not null,
  message text not null,
  repair text,
  first_seen_at timestamp with time zone default clock_timestamp() not null,
  last_seen_at timestamp with time zone default clock_timestamp() not null,
  resolved_at timestamp with time zone,
  constraint findings_pkey PRIMARY KEY (check_name, subject)
);

create table holdfast.flights (
  operation_id uuid not null,
  generation integer not null,
  range_no integer not null,
  items integer[] not null,
  alone boolean not null,
  worker text not null,
  started_at timestamp with time zone default clock_timestamp() not null,
  constraint flights_pkey PRIMARY KEY (operation_id, generation, range_no)
);

create table holdfast.inbox_rejects (
  id bigint generated always as identity not null,
  request uuid not null,
  tenant text not null,
  no integer not null,
  code text not null,
  issues jsonb not null,
  raw bytea,
  at timestamp with time zone default clock_timestamp() not null,
  constraint inbox_rejects_pkey PRIMARY KEY (id)
);
CREATE INDEX inbox_rejects_by_request ON holdfast.inbox_rejects USING btree (request, no);
CREATE INDEX inbox_rejects_to_sweep ON holdfast.inbox_rejects USING btree (at);

create table holdfast.index_gaps (
  schema_name text not null,
  type text not null,
  at timestamp with time zone default clock_timestamp() not null
);

create table holdfast.index_lanes (
  lane smallint not null,
  lease bigint default 0 not null,
  leased_until timestamp with time zone,
  failing_since timestamp with time zone,
  last_error text,
  applied bigint default 0 not null,
  waited_seconds double precision default 0 not null,
  waited bigint[] default '{0,0,0,0,0,0,0,0,0,0,0}'::bigint[] not null,
  constraint index_lanes_pkey PRIMARY KEY (lane)
);

create table holdfast.index_marks (
  seq bigint generated always as identity not null,
  lane smallint not null,
  schema_name text not null,
  type text not null,
  keys text[],
  through text,
  place text,
  at timestamp with time zone default clock_timestamp() not null,
  constraint index_marks_pkey PRIMARY KEY (lane, schema_name, seq)
);

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
  constraint index_rows_pkey PRIMARY KEY (index_id, generation, key, field, part),
  constraint index_row_is_of_a_known_kind CHECK ((kind = ANY (ARRAY['text'::text, 'prose'::text, 'number'::text, 'date'::text, 'address'::text, 'network'::text])))
);
CREATE INDEX index_rows_by_beginning ON holdfast.index_rows USING btree ("left"(lower(value), 64) text_pattern_ops) WHERE (words IS NULL);
CREATE INDEX index_rows_by_net ON holdfast.index_rows USING gist (net inet_ops) WHERE (net IS NOT NULL);
CREATE INDEX index_rows_by_trigram ON holdfast.index_rows USING gin (value public.gin_trgm_ops) WHERE (words IS NULL);
CREATE INDEX index_rows_by_word ON holdfast.index_rows USING gin (words) WHERE (words IS NOT NULL);

create table holdfast.ingest_requests (
  id uuid not null,
  tenant text not null,
  source text not null,
  message_id text,
  digest bytea,
  submitted_by text,
  scope text,
  branch text,
  received integer default 0 not null,
  accepted integer default 0 not null,
  copies integer default 0 not null,
  rejected integer default 0 not null,
  missing integer,
  at timestamp with time zone default clock_timestamp() not null,
  constraint ingest_requests_pkey PRIMARY KEY (id),
  constraint ingest_counts_add_up CHECK ((received = ((accepted + copies) + rejected))),
  constraint snapshot_says_its_branch CHECK (((scope IS NULL) OR (branch IS NOT NULL)))
);
CREATE INDEX ingest_requests_by_time ON holdfast.ingest_requests USING btree (tenant, at DESC);
CREATE INDEX ingest_requests_to_sweep ON holdfast.ingest_requests USING btree (at);
CREATE UNIQUE INDEX message_is_taken_once ON holdfast.ingest_requests USING btree (tenant, source, message_id) WHERE (message_id IS NOT NULL);

create table holdfast.installation (
  id uuid default gen_random_uuid() not null,
  examined_at timestamp with time zone,
  only_one boolean default true not null,
  constraint installation_pkey PRIMARY KEY (only_one),
  constraint there_is_one_installation CHECK (only_one)
);

create table holdfast.inventory_counts (
  id bigint generated always as identity not null,
  source text not null,
  planned bigint not null,
  plan_failed bigint not null,
  applied bigint not null,
  apply_failed bigint not null,
  created bigint not null,
  updated bigint not null,
  deleted bigint not null,
  constraint inventory_counts_pkey PRIMARY KEY (id)
);

create table holdfast.inventory_guards (
  tenant text not null,
  branch text not null,
  window_at timestamp with time zone default clock_timestamp() not null,
  objects bigint not null,
  changed bigint default 0 not null,
  held_at timestamp with time zone,
  held_because text,
  lifted_by text,
  lifted_at timestamp with time zone,
  escalated_at timestamp with time zone,
  constraint inventory_guards_pkey PRIMARY KEY (tenant, branch),
  constraint held_inventory_says_why CHECK (((held_at IS NULL) = (held_because IS NULL)))
);

create table holdfast.inventory_keyed (
  tenant text not null,
  branch text not null,
  fingerprint bytea not null,
  types jsonb not null,
  stage text not null,
  again text[] not null,
  after_type text not null,
  after_object bigint not null,
  constraint inventory_keyed_pkey PRIMARY KEY (tenant, branch),
  constraint keyed_stage_is_known CHECK ((stage = ANY (ARRAY['drop'::text, 'add'::text, 'done'::text])))
);

create table holdfast.inventory_scopes (
  tenant text not null,
  branch text not null,
  scope text not null,
  request uuid not null,
  members integer not null,
  grace_seconds integer not null,
  at timestamp with time zone default clock_timestamp() not null,
  constraint inventory_scopes_pkey PRIMARY KEY (tenant, branch, scope)
);

create table holdfast.inventory_settings (
  tenant text not null,
  registry text,
  target text,
  mode text,
  rules jsonb,
  guard jsonb,
  default_branch text,
  escalate_seconds integer,
  expire_seconds integer,
  version integer default 1 not null,
  updated_by text not null,
  updated_at timestamp with time zone default clock_timestamp() not null,
  constraint inventory_settings_pkey PRIMARY KEY (tenant),
  constraint plan_mode_is_known CHECK ((mode = ANY (ARRAY['plan-only'::text, 'auto'::text])))
);

create table holdfast.inventory_sums (
  source text not null,
  planned bigint not null,
  plan_failed bigint not null,
  applied bigint not null,
  apply_failed bigint not null,
  created bigint not null,
  updated bigint not null,
  deleted bigint not null,
  constraint inventory_sums_pkey PRIMARY KEY (source)
);

create table holdfast.items (
  operation_id uuid not null,
  no integer not null,
  batch integer not null,
  seq bigint default nextval('holdfast.item_seq'::regclass) not null,
  size integer not null,
  key text default ''::text not null,
  constraint items_pkey PRIMARY KEY (operation_id, no)
) partition by RANGE (operation_id);

create table holdfast.job_batches (
  operation_id uuid not null,
  generation integer not null,
  no integer not null,
  place integer not null,
  first_item integer not null,
  last_item integer not null,
  state text default 'ready'::text not null,
  lease integer default 0 not null,
  delivery smallint default 0 not null,
  holder text,
  ready_at timestamp with time zone default clock_timestamp() not null,
  leased_until timestamp with time zone,
  beat_until timestamp with time zone,
  constraint job_batches_pkey PRIMARY KEY (operation_id, generation, no),
  constraint job_batch_state_is_known CHECK ((state = ANY (ARRAY['ready'::text, 'leased'::text, 'done'::text]))),
  constraint leased_job_batch_has_holder_and_end CHECK (((state = 'leased'::text) = ((holder IS NOT NULL) AND (leased_until IS NOT NULL))))
) partition by RANGE (operation_id);
CREATE INDEX job_batches_by_end ON ONLY holdfast.job_batches USING btree (LEAST(leased_until, beat_until)) WHERE (state = 'leased'::text);
CREATE INDEX job_batches_by_holder ON ONLY holdfast.job_batches USING btree (holder) WHERE (state = 'leased'::text);
CREATE INDEX job_batches_leased ON ONLY holdfast.job_batches USING btree (operation_id, generation) WHERE (state = 'leased'::text);
CREATE INDEX job_batches_ready ON ONLY holdfast.job_batches USING btree (operation_id, generation, place, first_item) WHERE (state = 'ready'::text);

create table holdfast.job_debts (
  operation_id uuid not null,
  no bigint generated always as identity not null,
  served double precision not null,
  constraint job_debts_pkey PRIMARY KEY (operation_id, no)
);

create table holdfast.job_leases (
  operation_id uuid not null,
  generation integer not null,
  batch integer not null,
  lease integer not null,
  delivery smallint not null,
  handle bytea not null,
  holder text not null,
  at timestamp with time zone default clock_timestamp() not null,
  constraint job_leases_pkey PRIMARY KEY (operation_id, generation, batch, lease)
) partition by RANGE (operation_id);

create table holdfast.job_results (
  operation_id uuid not null,
  item_no integer not null,
  generation integer not null,
  body jsonb,
  reference text,
  counts jsonb,
  error text,
  worker text not null,
  at timestamp with time zone default clock_timestamp() not null,
  constraint job_results_pkey PRIMARY KEY (operation_id, item_no, generation)
) partition by RANGE (operation_id);

create table holdfast.job_turns (
  operation_id uuid not null,
  tenant text not null,
  pipeline text not null,
  served double precision not null,
  started double precision not null,
  served_at timestamp with time zone default '-infinity'::timestamp with time zone not null,
  constraint job_turns_pkey PRIMARY KEY (operation_id)
);
CREATE INDEX job_turns_by_start ON holdfast.job_turns USING btree (pipeline, started);

create table holdfast.job_workers (
  key text not null,
  worker text not null,
  tenants text[],
  pipelines text[] not null,
  first_seen_at timestamp with time zone default clock_timestamp() not null,
  seen_at timestamp with time zone default clock_timestamp() not null,
  constraint job_workers_pkey PRIMARY KEY (key, worker)
);

create table holdfast.jobs (
  operation_id uuid not null,
  tenant text not null,
  pipeline text not null,
  open_generation integer,
  weight double precision not null,
  batch_size integer not null,
  lease_seconds integer not null,
  heartbeat_seconds integer not null,
  deliveries smallint not null,
  max_failed_share double precision not null,
  run_again text default 'unfinished'::text not null,
  base_generation integer default 1 not null,
  shuffle boolean default false not null,
  collector text,
  take integer,
  collected_after text,
  collected integer default 0 not null,
  page_at timestamp with time zone,
  collected_at timestamp with time zone,
  repaired_at timestamp with time zone,
  constraint jobs_pkey PRIMARY KEY (operation_id),
  constraint job_failed_share_is_a_share CHECK (((max_failed_share >= (0)::double precision) AND (max_failed_share <= (1)::double precision))),
  constraint job_is_delivered_at_least_once CHECK (((deliveries >= 1) AND (deliveries <= 100))),
  constraint job_lease_is_bounded CHECK ((((lease_seconds >= 1) AND (lease_seconds <= 86400)) AND ((heartbeat_seconds >= 1) AND (heartbeat_seconds <= 86400)))),
  constraint job_run_again_is_known CHECK ((run_again = ANY (ARRAY['unfinished'::text, 'failed'::text, 'remaining'::text, 'all'::text]))),
  constraint job_weighs_at_least_one CHECK ((weight >= (1)::double precision))
);

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
  at timestamp with time zone default clock_timestamp() not null,
  constraint late_results_pkey PRIMARY KEY (operation_id, item_no, generation, lease)
) partition by RANGE (operation_id);

create table holdfast.logs (
  at timestamp with time zone default clock_timestamp() not null,
  seq bigint generated always as identity not null,
  operation_id uuid not null,
  level text not null,
  message text not null,
  fields jsonb,
  constraint log_level_is_known CHECK ((level = ANY (ARRAY['debug'::text, 'info'::text, 'warn'::text, 'error'::text])))
) partition by RANGE (at);
CREATE INDEX logs_of_an_operation ON ONLY holdfast.logs USING btree (operation_id, seq);
CREATE INDEX logs_of_what_went_wrong ON ONLY holdfast.logs USING btree (operation_id, seq) WHERE (level = ANY (ARRAY['warn'::text, 'error'::text]));

create table holdfast.marks (
  seq bigint generated always as identity not null,
  queue text not null,
  scope text not null,
  key text not null,
  due_at timestamp with time zone default clock_timestamp() not null,
  constraint marks_pkey PRIMARY KEY (seq)
);
CREATE INDEX marks_by_scope ON holdfast.marks USING btree (queue, scope, seq);
CREATE INDEX marks_due ON holdfast.marks USING btree (queue, due_at);

create table holdfast.object_journal (
  id bigint generated always as identity not null,
  object bigint not null,
  version integer not null,
  kind text not null,
  entity bigint not null,
  at timestamp with time zone default clock_timestamp() not null,
  constraint object_journal_pkey PRIMARY KEY (id),
  constraint journal_kind_is_known CHECK ((kind = ANY (ARRAY['create'::text, 'update'::text, 'delete'::text])))
);
CREATE INDEX object_journal_by_object ON holdfast.object_journal USING btree (object, id DESC);
CREATE INDEX object_journal_to_sweep ON holdfast.object_journal USING btree (at);

create table holdfast.object_keys (
  tenant text not null,
  branch text not null,
  key text not null,
  object bigint not null,
  constraint object_keys_pkey PRIMARY KEY (tenant, branch, key)
);
CREATE INDEX object_keys_by_object ON holdfast.object_keys USING btree (object);

create table holdfast.object_refs (
  from_object bigint not null,
  to_object bigint not null,
  constraint object_refs_pkey PRIMARY KEY (from_object, to_object)
);
CREATE INDEX object_refs_to ON holdfast.object_refs USING btree (to_object);

create table holdfast.objects (
  id bigint not null,
  tenant text not null,
  branch text not null,
  type text not null,
  version integer not null,
  data jsonb not null,
  created_at timestamp with time zone default clock_timestamp() not null,
  updated_at timestamp with time zone default clock_timestamp() not null,
  constraint objects_pkey PRIMARY KEY (id)
);
CREATE INDEX objects_by_type ON holdfast.objects USING btree (tenant, branch, type, id);

create table holdfast.observation_sources (
  observation_id bigint not null,
  part_seq bigint not null,
  chunk_no integer not null,
  ordinal smallint not null,
  constraint observation_sources_pkey PRIMARY KEY (observation_id, part_seq, chunk_no, ordinal),
  constraint observation_sources_observation_id_fkey FOREIGN KEY (observation_id) REFERENCES holdfast.observations(id) ON DELETE CASCADE
);
CREATE INDEX observations_built_on_a_fact ON holdfast.observation_sources USING btree (part_seq, chunk_no, ordinal);

create table holdfast.observations (
  id bigint generated always as identity not null,
  bank_id bigint not null,
  entity text not null,
  name text not null,
  text text not null,
  consolidator text not null,
  written_at timestamp with time zone default clock_timestamp() not null,
  constraint observations_pkey PRIMARY KEY (id)
);
CREATE UNIQUE INDEX one_observation_per_entity ON holdfast.observations USING btree (bank_id, entity);

create table holdfast.operations (
  id uuid not null,
  kind text not null,
  tenant text not null,
  scope text default ''::text not null,
  key text,
  digest bytea not null,
  exclusive_on text,
  state text default 'accepted'::text not null,
  generation integer default 1 not null,
  restarts smallint default 0 not null,
  priority smallint default 3 not null,
  total integer not null,
  batches integer not null,
  bytes bigint default 0 not null,
  input jsonb default '{}'::jsonb not null,
  result jsonb,
  reason text,
  trace text,
  submitted_by text not null,
  accepted_at timestamp with time zone default clock_timestamp() not null,
  start_after timestamp with time zone,
  due_at timestamp with time zone default clock_timestamp() not null,
  start_attempts integer default 0 not null,
  started_at timestamp with time zone,
  finished_at timestamp with time zone,
  wake_at timestamp with time zone,
  cancel_requested_at timestamp with time zone,
  cancel_requested_by text,
  cancel_due_at timestamp with time zone,
  paused_at timestamp with time zone,
  paused_by text,
  pause_reason text,
  constraint operations_pkey PRIMARY KEY (id),
  constraint input_is_small CHECK ((pg_column_size(input) < 16384)),
  constraint operation_holds_items CHECK (((total >= 0) AND (batches >= 0))),
  constraint operation_is_finished_exactly_when_terminal CHECK (((finished_at IS NOT NULL) = (state = ANY (ARRAY['completed'::text, 'failed'::text, 'cancelled'::text])))),
  constraint operation_state_is_known CHECK ((state = ANY (ARRAY['accepted'::text, 'running'::text, 'completed'::text, 'failed'::text, 'cancelled'::text]))),
  constraint running_operation_was_started CHECK (((state <> 'running'::text) OR (started_at IS NOT NULL)))
);
CREATE UNIQUE INDEX only_one_open_operation_per_exclusive_thing ON holdfast.operations USING btree (tenant, kind, exclusive_on) WHERE ((exclusive_on IS NOT NULL) AND (state = ANY (ARRAY['accepted'::text, 'running'::text])));
CREATE UNIQUE INDEX operation_key_is_unique_per_tenant_and_kind ON holdfast.operations USING btree (tenant, kind, key) WHERE (key IS NOT NULL);
CREATE INDEX operations_by_kind ON holdfast.operations USING btree (kind, id);
CREATE INDEX operations_by_scope ON holdfast.operations USING btree (tenant, scope, id);
CREATE INDEX operations_by_state ON holdfast.operations USING btree (state, id);
CREATE INDEX operations_finished ON holdfast.operations USING btree (finished_at) WHERE (finished_at IS NOT NULL);
CREATE INDEX operations_open ON holdfast.operations USING btree (tenant, scope, kind) WHERE (state = ANY (ARRAY['accepted'::text, 'running'::text]));
CREATE INDEX operations_to_cancel ON holdfast.operations USING btree (cancel_due_at) WHERE ((state = 'running'::text) AND (cancel_requested_at IS NOT NULL));
CREATE INDEX operations_to_start ON holdfast.operations USING btree (tenant COLLATE "C", scope COLLATE "C", priority, id) WHERE (state = 'accepted'::text);
CREATE INDEX operations_to_wake ON holdfast.operations USING btree (wake_at) WHERE ((state = 'running'::text) AND (wake_at IS NOT NULL));
CREATE INDEX operations_told_to_start ON holdfast.operations USING btree (due_at) WHERE ((state = 'accepted'::text) AND (start_attempts > 0));

create table holdfast.outcomes (
  operation_id uuid not null,
  item_no integer not null,
  generation integer not null,
  outcome text not null,
  reason text,
  attempt smallint default 0 not null,
  settled_by text default ''::text not null,
  settled_at timestamp with time zone default clock_timestamp() not null,
  constraint outcomes_pkey PRIMARY KEY (operation_id, item_no, generation),
  constraint outcome_is_known CHECK ((outcome = ANY (ARRAY['succeeded'::text, 'unchanged'::text, 'superseded'::text, 'blocked'::text, 'failed'::text, 'lost'::text, 'cancelled'::text])))
) partition by RANGE (operation_id);
CREATE INDEX outcomes_gone_wrong ON ONLY holdfast.outcomes USING btree (operation_id, generation, item_no) WHERE (outcome = ANY (ARRAY['failed'::text, 'lost'::text]));

create table holdfast.payloads (
  operation_id uuid not null,
  item_no integer not null,
  part integer default 0 not null,
  meta jsonb,
  content text not null,
  constraint payloads_pkey PRIMARY KEY (operation_id, item_no, part)
) partition by RANGE (operation_id);

create table holdfast.plans (
  operation_id uuid not null,
  tenant text not null,
  branch text not null,
  mode text not null,
  hash bytea,
  planned_at timestamp with time zone,
  told_at timestamp with time zone,
  escalated_at timestamp with time zone,
  expires_at timestamp with time zone,
  decision text,
  decided_by text,
  decided_at timestamp with time zone,
  reason text,
  constraint plans_pkey PRIMARY KEY (operation_id),
  constraint plan_decision_has_who_and_when CHECK ((((decision IS NULL) = (decided_by IS NULL)) AND ((decision IS NULL) = (decided_at IS NULL)))),
  constraint plan_decision_is_known CHECK ((decision = ANY (ARRAY['approve'::text, 'reject'::text])))
);

create table holdfast.progress (
  operation_id uuid not null,
  stage text not null,
  outcome text not null,
  n bigint not null,
  constraint progress_pkey PRIMARY KEY (operation_id, stage, outcome)
);

create table holdfast.progress_deltas (
  operation_id uuid not null,
  source text not null,
  stage text not null,
  outcome text not null,
  n integer not null,
  answer jsonb,
  folded boolean default false not null,
  at timestamp with time zone default clock_timestamp() not null,
  place smallint default 0 not null,
  constraint progress_deltas_pkey PRIMARY KEY (operation_id, source, place)
) partition by RANGE (operation_id);
CREATE INDEX deltas_not_folded ON ONLY holdfast.progress_deltas USING btree (operation_id) WHERE (NOT folded);
CREATE INDEX job_deltas_by_time ON ONLY holdfast.progress_deltas USING btree (operation_id, at) WHERE (stage = 'job'::text);

create table holdfast.quarantine (
  queue text not null,
  scope text not null,
  key text not null,
  reason text not null,
  attempts integer default 1 not null,
  held boolean default false not null,
  at timestamp with time zone default clock_timestamp() not null,
  constraint quarantine_pkey PRIMARY KEY (queue, scope, key)
);

create table holdfast.schema_migrations (
  version integer not null,
  name text not null,
  checksum text not null,
  breaking boolean not null,
  applied_at timestamp with time zone default clock_timestamp() not null,
  constraint schema_migrations_pkey PRIMARY KEY (version)
);

create table holdfast.scope_members (
  tenant text not null,
  branch text not null,
  scope text not null,
  identity bytea not null,
  entity bigint not null,
  request uuid not null,
  missing_since timestamp with time zone,
  removal bigint,
  constraint scope_members_pkey PRIMARY KEY (tenant, branch, scope, identity)
);
CREATE INDEX scope_members_entity ON holdfast.scope_members USING btree (entity);
CREATE INDEX scope_members_missing ON holdfast.scope_members USING btree (missing_since) WHERE ((missing_since IS NOT NULL) AND (removal IS NULL));
CREATE INDEX scope_members_removed ON holdfast.scope_members USING btree (removal) WHERE (removal IS NOT NULL);

create table holdfast.search_indexes (
  id integer generated always as identity not null,
  schema_name text not null,
  schema_oid oid not null,
  type text not null,
  generation integer default 0 not null,
  definition bytea not null,
  capture bytea not null,
  built_at timestamp with time zone,
  objects bigint default 0 not null,
  building integer,
  building_operation uuid,
  building_definition bytea,
  building_since timestamp with time zone,
  building_after text,
  building_objects bigint default 0 not null,
  drifted_at timestamp with time zone,
  drift_reason text,
  retry_at timestamp with time zone,
  installed_at timestamp with time zone default clock_timestamp() not null,
  constraint search_indexes_pkey PRIMARY KEY (id),
  constraint what_is_built_has_a_builder CHECK (((building IS NULL) = (building_operation IS NULL))),
  constraint what_is_built_is_another_generation CHECK ((building <> generation))
);
CREATE UNIQUE INDEX search_index_is_unique_per_schema_and_type ON holdfast.search_indexes USING btree (schema_name, type);

create table holdfast.sessions (
  hash bytea not null,
  key_id uuid not null,
  began_at timestamp with time zone default clock_timestamp() not null,
  ends_at timestamp with time zone not null,
  constraint sessions_pkey PRIMARY KEY (hash),
  constraint sessions_key_id_fkey FOREIGN KEY (key_id) REFERENCES holdfast.api_keys(id) ON DELETE CASCADE
);
CREATE INDEX sessions_by_end ON holdfast.sessions USING btree (ends_at);
CREATE INDEX sessions_of_key ON holdfast.sessions USING btree (key_id, began_at);

create table holdfast.staged_parts (
  part_seq bigint not null,
  operation_id uuid not null,
  item_no integer not null,
  bank_id bigint not null,
  extractor text not null,
  chunk_size integer not null,
  "position" integer default 0 not null,
  chunks integer default 0 not null,
  facts integer default 0 not null,
  updated_at timestamp with time zone default clock_timestamp() not null,
  constraint staged_parts_pkey PRIMARY KEY (part_seq)
);
CREATE INDEX staged_parts_of_a_bank ON holdfast.staged_parts USING btree (bank_id);
CREATE INDEX staged_parts_of_an_operation ON holdfast.staged_parts USING btree (operation_id, item_no);

create table holdfast.sub_batches (
  operation_id uuid not null,
  no integer not null,
  first_item integer not null,
  last_item integer not null,
  size bigint not null,
  constraint sub_batches_pkey PRIMARY KEY (operation_id, no),
  constraint sub_batch_holds_items CHECK ((last_item >= first_item))
) partition by RANGE (operation_id);

create table holdfast.targets (
  name text not null,
  default_branch text,
  branch_read_at timestamp with time zone,
  batch_size integer,
  failures integer default 0 not null,
  failing_since timestamp with time zone,
  retry_at timestamp with time zone,
  error text,
  constraint targets_pkey PRIMARY KEY (name),
  constraint failing_target_says_why CHECK (((failures > 0) = (error IS NOT NULL)))
);

create table holdfast.webhook_secrets (
  webhook_id uuid not null,
  secret text not null,
  constraint webhook_secrets_pkey PRIMARY KEY (webhook_id),
  constraint webhook_secrets_webhook_id_fkey FOREIGN KEY (webhook_id) REFERENCES holdfast.webhooks(id) ON DELETE CASCADE
);

create table holdfast.webhooks (
  id uuid not null,
  tenant text not null,
  url text not null,
  events text[] not null,
  created_by text not null,
  created_at timestamp with time zone default clock_timestamp() not null,
  disabled_at timestamp with time zone,
  disabled_reason text,
  constraint webhooks_pkey PRIMARY KEY (id)
);
CREATE INDEX webhooks_by_tenant ON holdfast.webhooks USING btree (tenant) WHERE (disabled_at IS NULL);

create table holdfast.workers (
  id uuid not null,
  identity text not null,
  version text not null,
  started_at timestamp with time zone default clock_timestamp() not null,
  seen_at timestamp with time zone default clock_timestamp() not null,
  constraint workers_pkey PRIMARY KEY (id)
);

create table holdfast.items_default partition of holdfast.items default;
create table holdfast.job_batches_default partition of holdfast.job_batches default;
create table holdfast.job_leases_default partition of holdfast.job_leases default;
create table holdfast.job_results_default partition of holdfast.job_results default;
create table holdfast.late_results_default partition of holdfast.late_results default;
create table holdfast.logs_default partition of holdfast.logs default;
create table holdfast.outcomes_default partition of holdfast.outcomes default;
create table holdfast.payloads_default partition of holdfast.payloads default;
create table holdfast.progress_deltas_default partition of holdfast.progress_deltas default;
create table holdfast.sub_batches_default partition of holdfast.sub_batches default;

CREATE OR REPLACE FUNCTION holdfast.accept_operation(asked text, first_items text, last_items text, batch_sizes text, item_batches text, item_sizes text, item_keys text, contents bytea, payload_items text, payload_parts text, payload_starts text, content_bytes text, meta_bytes text, OUT id uuid, OUT operations double precision, OUT items double precision, OUT bytes double precision)
 RETURNS record
 LANGUAGE plpgsql
 SET enable_seqscan TO 'off'
AS $function$
declare
  op record;
  bank_id bigint;
begin
  select * into op
    from jsonb_to_record(asked::jsonb) as a(
      id uuid, kind text, tenant text, scope text, bank text, key text, digest text,
      exclusive_on text, priority smallint, total integer, batches integer, bytes bigint,
      input jsonb, trace text, submitted_by text, start_after timestamptz, lock_timeout text,
      max_operations float8, max_items float8, max_bytes float8);
  if op.lock_timeout is not null then
    perform set_config('lock_timeout', op.lock_timeout, true);
  end if;

  select count(*), coalesce(sum(o.total), 0), coalesce(sum(o.bytes), 0)
    into operations, items, bytes
    from holdfast.operations o
   where o.tenant = op.tenant and o.state in ('accepted', 'running');
  if operations + 1 > op.max_operations or items + op.total > op.max_items
     or bytes + op.bytes > op.max_bytes then
    return;
  end if;

  if op.bank is not null then
    select b.id into bank_id from holdfast.banks b
     where b.tenant = op.tenant and b.name = op.bank and b.erased_at is null;
    if not found then return; end if;
    op.input := op.input || jsonb_build_object('bankId', bank_id::text);
  end if;

  insert into holdfast.operations
    (id, kind, tenant, scope, key, digest, exclusive_on, priority, total, batches, bytes, input,
     trace, submitted_by, start_after, due_at)
  values
    (op.id, op.kind, op.tenant, op.scope, op.key, decode(op.digest, 'hex'), op.exclusive_on,
     op.priority, op.total, op.batches, op.bytes, op.input, op.trace, op.submitted_by,
     op.start_after, greatest(clock_timestamp(), op.start_after))
  on conflict do nothing;
  if not found then return; end if;

  insert into holdfast.sub_batches (operation_id, no, first_item, last_item, size)
  select op.id, b.no, b.first_item, b.last_item, b.size
    from unnest(first_items::int[], last_items::int[], batch_sizes::bigint[])
           with ordinality as b(first_item, last_item, size, no);

  insert into holdfast.items (operation_id, no, batch, size, key)
  select op.id, i.no, i.batch, i.size, i.key
    from unnest(item_batches::int[], item_sizes::int[], item_keys::text[])
           with ordinality as i(batch, size, key, no);

  perform holdfast.accept_payloads(op.id, contents, payload_items, payload_parts, payload_starts,
                                   content_bytes, meta_bytes);
  id := op.id;
end $function$;

CREATE OR REPLACE FUNCTION holdfast.accept_payloads(operation_id uuid, contents bytea, item_nos text, parts text, start_ats text, content_bytes text, meta_bytes text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
  insert into holdfast.payloads (operation_id, item_no, part, meta, content)
  select accept_payloads.operation_id, p.item_no, p.part,
         case when p.meta_bytes > 0
              then convert_from(substring(contents from p.start_at + p.content_bytes
                                          for p.meta_bytes), 'UTF8')::jsonb end,
         convert_from(substring(contents from p.start_at for p.content_bytes), 'UTF8')
    from unnest(item_nos::int[], parts::int[], start_ats::int[], accept_payloads.content_bytes::int[],
                accept_payloads.meta_bytes::int[])
           as p(item_no, part, start_at, content_bytes, meta_bytes);
end $function$;

CREATE OR REPLACE FUNCTION holdfast.as_inet(value text)
 RETURNS inet
 LANGUAGE plpgsql
 IMMUTABLE STRICT
AS $function$
begin
  return value::inet;
exception when invalid_text_representation then
  return null;
end $function$;

CREATE OR REPLACE FUNCTION holdfast.begin_job_post(of_operation uuid, of_source text, generations integer[], batch_nos integer[], lease_nos integer[], digests bytea[])
 RETURNS jsonb
 LANGUAGE plpgsql
 SET lock_timeout TO '1s'
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $function$
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
end $function$;

CREATE OR REPLACE FUNCTION holdfast.claim_job_batches(asked text, secrets bytea)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
AS $function$
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
end $function$;

CREATE OR REPLACE FUNCTION holdfast.claimable_jobs()
 RETURNS TABLE(operation_id uuid, tenant text, pipeline text, generation integer)
 LANGUAGE sql
 STABLE
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION holdfast.claimed_items(of_operations uuid[], generations integer[], batch_nos integer[])
 RETURNS TABLE(place integer, no integer, key text, content text, meta jsonb)
 LANGUAGE plpgsql
 STABLE
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $function$
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
end $function$;

CREATE OR REPLACE FUNCTION holdfast.close_settled_batches(of_operation uuid, in_generation integer, nos integer[], waits boolean)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $function$
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
end $function$;

CREATE OR REPLACE FUNCTION holdfast.index_trigrams()
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
declare
  place name := (select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace
                  where e.extname = 'pg_trgm');
begin
  if place is null then return false; end if;
  execute format('create index if not exists index_rows_by_trigram on holdfast.index_rows
                    using gin (value %I.gin_trgm_ops) where words is null', place);
  return true;
end $function$;

CREATE OR REPLACE FUNCTION holdfast.job_standings(of_jobs uuid[], online_seconds integer, most integer, pace_seconds integer)
 RETURNS TABLE(id uuid, now timestamp with time zone, pipeline text, at_work boolean, started_at timestamp with time zone, collected integer, page_at timestamp with time zone, open double precision, ready integer, leased integer, workers_online integer, worker_seen_at timestamp with time zone, claimed_at timestamp with time zone, result_at timestamp with time zone, repaired_at timestamp with time zone, settled double precision, settled_since timestamp with time zone)
 LANGUAGE plpgsql
 STABLE
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_sort TO 'off'
AS $function$
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
end $function$;

CREATE OR REPLACE FUNCTION holdfast.operation_logs(of_operation uuid, levels text[], after_seq bigint, before_seq bigint, newest boolean, most integer)
 RETURNS TABLE(seq bigint, at timestamp with time zone, level text, message text, fields jsonb)
 LANGUAGE plpgsql
 STABLE
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET enable_sort TO 'off'
AS $function$
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
end $function$;

CREATE OR REPLACE FUNCTION holdfast.ready_job_work(pipelines text[], most integer, holders text[])
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
AS $function$
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
end $function$;

CREATE OR REPLACE FUNCTION holdfast.settle_job_items(of_operation uuid, in_generation integer, settled_by text, item_nos integer[], outcomes text[], attempts smallint[], bodies jsonb[], refs text[], sums jsonb[], errors text[], workers text[])
 RETURNS integer[]
 LANGUAGE plpgsql
 SET plan_cache_mode TO 'force_generic_plan'
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
AS $function$
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
end $function$;
