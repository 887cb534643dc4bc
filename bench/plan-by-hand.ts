import type { Db, Queryable, Tx } from "../db/pool.ts";

/**
 * The same change as somebody writes it who knows the feed: a few statements over all entities at once,
 * the same rows into tables with the same columns and indexes, change sets and journal included. It knows
 * three kinds of entity, that nothing contradicts itself, and that nothing there is changed: no merge, no
 * order of versions, no rules, no approvals, nothing that waits, and one bad entity fails all.
 */

const TABLES = [
  "entities",
  "objects",
  "object_keys",
  "object_refs",
  "object_journal",
  "change_sets",
] as const;

export async function createRivalInventory(db: Queryable): Promise<void> {
  await db.query("create schema rival; create sequence rival.object_ids");
  for (const table of TABLES) {
    await db.query(`create table rival.${table} (like holdfast.${table} including all)`);
  }
}

/** The queued entities of a tenant, put into the inventory in one transaction. */
export function applyByHand(db: Db, tenant: string): Promise<void> {
  return db.transaction(
    async (tx) => {
      await tx.query(SAID, [tenant]);
      await tx.query("analyze said");
      await tx.query(NAMED);
      for (const find of [ROLES, SITES, MAKERS, MODELS, DEVICES, PORTS, ADDRESSES]) {
        await tx.query(find, [tenant]);
        await tx.query("analyze named");
      }
      await write(tx, tenant);
    },
    { statementTimeoutMs: 600_000, withoutJit: true },
  );
}

/** What the entities say, taken out of the JSON once. */
const SAID = `
  create temp table said on commit drop as
  select entity, type, own, port, port ->> 'name' as port_name,
         device ->> 'name' as device_name, device #>> '{site,name}' as site,
         device #>> '{role,name}' as role, device #>> '{device_type,model}' as model,
         device #>> '{device_type,manufacturer,name}' as maker
    from (select e.id as entity, e.type, e.fields as own,
                 case e.type when 'interface' then e.fields
                             when 'ip_address' then e.fields -> 'assigned_object_interface' end as port,
                 case e.type when 'device' then e.fields when 'interface' then e.fields -> 'device'
                             else e.fields #> '{assigned_object_interface,device}' end as device
            from rival.entities e
           where e.tenant = $1 and e.branch = 'main' and e.state = 1 and e.operation is null) e`;

/** What they name: each object once, with who said it first. */
const NAMED = `
  create temp table named (
    type text, name text, beside text, key text, id bigint, known boolean, entity bigint,
    identity jsonb, shown jsonb, data jsonb, refs bigint[]) on commit drop`;

/** Finds what is there by its key and gives the others an id. */
const found = (type: string, told: string) => `
  insert into named (type, name, beside, key, id, known, entity, identity, shown, data, refs)
  select '${type}', w.name, w.beside, w.key, coalesce(k.object, nextval('rival.object_ids')),
         k.object is not null, w.entity, w.identity, w.shown, w.data, w.refs
    from (${told}) as w(name, beside, key, entity, identity, shown, data, refs)
    left join rival.object_keys k on k.tenant = $1 and k.branch = 'main' and k.key = w.key collate "C"`;

const namedOnly = (type: string, name: string) =>
  found(
    type,
    `select ${name}, '', '${type}:name:' || to_jsonb(${name})::text, min(entity), ${only(name)},
            ${only(name)}, ${only(name)}, null::bigint[] from said group by ${name}`,
  );
const only = (name: string) => `jsonb_build_object('name', ${name})`;

const ROLES = namedOnly("device_role", "role");
const SITES = namedOnly("site", "site");
const MAKERS = namedOnly("manufacturer", "maker");

const MODELS = found(
  "device_type",
  `select s.model, s.maker, 'device_type:model+manufacturer:' || to_jsonb(s.model)::text || ' ' || m.id,
          s.entity, jsonb_build_object('model', s.model, 'manufacturer', m.identity),
          jsonb_build_object('model', s.model, 'manufacturer', m.identity),
          jsonb_build_object('model', s.model, 'manufacturer', m.id::text), array[m.id]
     from (select model, maker, min(entity) as entity from said group by 1, 2) s
     join named m on m.type = 'manufacturer' and m.name = s.maker`,
);

// The device's own line comes before what is nested in others, and says more.
const DEVICES = found(
  "device",
  `select s.device_name, s.site,
          'device:name+site+tenant?:' || to_jsonb(s.device_name)::text || ' ' || p.id || ' -', s.entity,
          jsonb_build_object('name', s.device_name, 'site', p.identity),
          said || jsonb_build_object('device_type', t.identity, 'role', r.identity, 'site', p.identity),
          said || jsonb_build_object('device_type', t.id::text, 'role', r.id::text, 'site', p.id::text),
          array[t.id, r.id, p.id]
     from (select distinct on (device_name, site) *,
                  jsonb_strip_nulls(jsonb_build_object(
                    'name', device_name, 'serial', own -> 'serial', 'status', own -> 'status')) as said
             from said order by device_name, site, entity) s
     join named p on p.type = 'site' and p.name = s.site
     join named r on r.type = 'device_role' and r.name = s.role
     join named t on t.type = 'device_type' and t.name = s.model and t.beside = s.maker`,
);

const PORTS = found(
  "interface",
  `select s.port_name, s.device_name || '/' || s.site,
          'interface:name+device:' || to_jsonb(s.port_name)::text || ' ' || d.id, s.entity,
          jsonb_build_object('name', s.port_name, 'device', d.identity),
          s.port || jsonb_build_object('device', d.identity),
          s.port || jsonb_build_object('device', d.id::text), array[d.id]
     from (select distinct on (port_name, device_name, site) *
             from said where port is not null order by port_name, device_name, site, entity) s
     join named d on d.type = 'device' and d.name = s.device_name and d.beside = s.site`,
);

const ADDRESSES = found(
  "ip_address",
  `select s.own ->> 'address', '', 'ip_address:address+vrf?:' || (s.own -> 'address')::text || ' -', s.entity,
          jsonb_build_object('address', s.own -> 'address'),
          s.own || jsonb_build_object('assigned_object_interface', i.identity),
          s.own || jsonb_build_object('assigned_object_interface', i.id::text), array[i.id]
     from (select * from said where type = 'ip_address') s
     join named i on i.type = 'interface' and i.name = s.port_name
      and i.beside = s.device_name || '/' || s.site`,
);

/** One statement for each table. */
async function write(tx: Tx, tenant: string): Promise<void> {
  await tx.query(
    `insert into rival.objects (tenant, branch, id, type, version, data)
     select $1, 'main', id, type, 1, data from named where not known`,
    [tenant],
  );
  await tx.query(
    `insert into rival.object_keys (tenant, branch, key, object)
     select $1, 'main', key, id from named where not known`,
    [tenant],
  );
  await tx.query(
    `insert into rival.object_refs (from_object, to_object)
     select distinct id, unnest(refs) from named where not known`,
  );
  await tx.query(
    `insert into rival.object_journal (object, version, kind, entity)
     select id, 1, 'create', entity from named where not known`,
  );
  await tx.query(CHANGE_SETS);
  await tx.query(
    `update rival.entities e
        set state = 3, rule = 'all', plan_hash = c.hash, plans = e.plans + 1,
            planned_at = clock_timestamp(), settled_at = clock_timestamp()
       from rival.change_sets c, said s
      where c.entity = s.entity and e.id = s.entity`,
  );
}

/** Each entity's objects, in order: created by it, or there already. */
const CHANGE_SETS = `
  insert into rival.change_sets
    (entity, hash, title, changes, creates, updates, deletes, applied_at)
  select entity, sha256(convert_to(changes::text, 'utf8')), title, changes, creates, 0, 0,
         clock_timestamp()
    from (
      select s.entity, max(n.type || ' ' || n.name || ' created') filter (where n.type = s.type) as title,
             count(*) filter (where n.entity = s.entity) as creates,
             jsonb_agg(jsonb_build_object(
               'no', w.no, 'kind', case when n.entity = s.entity then 'create' else 'noop' end,
               'type', n.type, 'identity', n.identity, 'objectId', n.id::text,
               'version', n.known::int, 'before', '{}'::jsonb,
               'after', case when n.entity = s.entity then n.shown else '{}' end,
               'newRefs', '[]'::jsonb, 'primary', n.type = s.type) order by w.no) as changes
        from said s
       cross join lateral (values
         (0, 'device_role', s.role, ''), (1, 'site', s.site, ''), (2, 'manufacturer', s.maker, ''),
         (3, 'device_type', s.model, s.maker), (4, 'device', s.device_name, s.site),
         (5, 'interface', s.port_name, s.device_name || '/' || s.site),
         (6, 'ip_address', s.own ->> 'address', '')) as w(no, type, name, beside)
        join named n on n.type = w.type and n.name = w.name and n.beside = w.beside
       group by s.entity) c`;
