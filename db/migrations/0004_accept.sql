-- Accepting as functions, because the server keeps their plans: parsing and planning the statement
-- anew took longer than writing a batch of a hundred items. Plans of functions need no prepared
-- statement, so they hold behind a transaction pooler, and go when the schema changes.
--
-- Both are part of what a running process expects: another signature is another name in a later
-- migration. Arrays come as text, which every driver can send.

-- Payloads out of one buffer of UTF-8. The meta JSON of an entry (length 0: none) follows its content.
create function holdfast.accept_payloads(
  operation_id uuid, contents bytea,
  item_nos text, parts text, start_ats text, content_bytes text, meta_bytes text
) returns void language plpgsql as $$
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
end $$;

-- An operation with its sub-batches, items and first payloads. `id` is null when it is not accepted:
-- its key or exclusive thing is taken, its bank is not there, or what the tenant has open leaves no
-- room. Nothing is written then. A limit that is null is none.
--
-- A plan is kept, and one made while a table was small would read all of it for ever after.
create function holdfast.accept_operation(
  asked text, first_items text, last_items text, batch_sizes text,
  item_batches text, item_sizes text, item_keys text,
  contents bytea,
  payload_items text, payload_parts text, payload_starts text, content_bytes text, meta_bytes text,
  out id uuid, out operations float8, out items float8, out bytes float8
) language plpgsql set enable_seqscan = off as $$
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
end $$;
