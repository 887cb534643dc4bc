import type { Fields, InventoryObject } from "../contracts/inventory.ts";
import { parseExactJson, type Json } from "../domain/exact-json.ts";
import type { InventoryPlace } from "./inventory-look-up.ts";
import type { Queryable } from "./pool.ts";

/** What people and programs ask the built-in inventory: every list is a walk along an index. */

export interface StoredObject extends InventoryObject, InventoryPlace {
  createdAt: Date;
  updatedAt: Date;
}

interface Row extends Omit<StoredObject, "data"> {
  data: string;
}

const COLUMNS = `o.id::text, o.tenant, o.branch, o.type, o.version, o.data::text as data,
            o.created_at as "createdAt", o.updated_at as "updatedAt"`;

function stored({ data, ...row }: Row): StoredObject {
  return { ...row, data: parseExactJson(data) as Fields };
}

/** Branches that hold objects, in order of tenant and name. */
export async function listBranches(
  db: Queryable,
  tenants: readonly string[] | undefined,
  limit: number,
): Promise<InventoryPlace[]> {
  const { rows } = await db.query<InventoryPlace>(
    `with recursive places as (
       (select tenant, branch from holdfast.objects order by tenant, branch limit 1)
       union all
       select n.tenant, n.branch from places p
        cross join lateral (
          select tenant, branch from holdfast.objects
           where (tenant, branch) > (p.tenant, p.branch)
           order by tenant, branch limit 1) n
     )
     select tenant, branch from places where $1::text[] is null or tenant = any ($1) limit $2`,
    [tenants ?? null, limit],
  );
  return rows;
}

/** The types that a branch holds, each counted up to `countTo`; 0 counts none. */
export async function listTypes(
  db: Queryable,
  { tenant, branch }: InventoryPlace,
  countTo: number,
): Promise<{ type: string; objects: number }[]> {
  const { rows } = await db.query<{ type: string; objects: number }>(
    `with recursive types as (
       (select type from holdfast.objects where tenant = $1 and branch = $2 order by type limit 1)
       union all
       select n.type from types t
        cross join lateral (
          select type from holdfast.objects
           where tenant = $1 and branch = $2 and type > t.type order by type limit 1) n
     )
     select t.type, c.n as objects from types t
      cross join lateral (
        select count(*)::int as n from (
          select from holdfast.objects o
           where o.tenant = $1 and o.branch = $2 and o.type = t.type limit $3) counted) c
      order by t.type`,
    [tenant, branch, countTo],
  );
  return rows;
}

/** Objects of one type in order of id, after the given one. */
export async function listObjects(
  db: Queryable,
  { tenant, branch }: InventoryPlace,
  type: string,
  { after, limit }: { after: string | undefined; limit: number },
): Promise<StoredObject[]> {
  const { rows } = await db.query<Row>(
    `select ${COLUMNS} from holdfast.objects o
      where o.tenant = $1 and o.branch = $2 and o.type = $3 and o.id > $4
      order by o.id limit $5`,
    [tenant, branch, type, after ?? "-1", limit],
  );
  return rows.map(stored);
}

/** Objects by key, in order of keys, those after the given one, inside the given ranges. */
export async function listObjectsByKey(
  db: Queryable,
  { tenant, branch }: InventoryPlace,
  ranges: readonly { from: string; to: string }[],
  { after, limit }: { after: string | undefined; limit: number },
): Promise<{ key: string; object: StoredObject }[]> {
  const { rows } = await db.query<Row & { key: string }>(
    `with found as materialized (
       select k.key, k.object
         from unnest($3::text[], $4::text[]) as r(f, t)
        cross join lateral (
          select key, object from holdfast.object_keys
           where tenant = $1 and branch = $2 and key >= r.f collate "C" and key < r.t collate "C"
             and key > $5 collate "C"
           order by key limit $6) k
        order by k.key limit $6
     )
     select f.key, ${COLUMNS} from found f
       join holdfast.objects o on o.id = f.object
      order by f.key`,
    [
      tenant,
      branch,
      ranges.map(({ from }) => from),
      ranges.map(({ to }) => to),
      after ?? "",
      limit,
    ],
  );
  return rows.map(({ key, ...row }) => ({ key, object: stored(row) }));
}

export async function findObject(db: Queryable, id: string): Promise<StoredObject | undefined> {
  const { rows } = await db.query<Row>(
    `select ${COLUMNS} from holdfast.objects o where o.id = $1`,
    [id],
  );
  return rows[0] && stored(rows[0]);
}

/** Objects that refer to this one, in order of id, after the given one. */
export async function listReferrers(
  db: Queryable,
  id: string,
  { after, limit }: { after: string | undefined; limit: number },
): Promise<StoredObject[]> {
  const { rows } = await db.query<Row>(
    `with found as materialized (
       select from_object from holdfast.object_refs
        where to_object = $1 and from_object > $2 order by from_object limit $3)
     select ${COLUMNS} from found f join holdfast.objects o on o.id = f.from_object
      order by o.id`,
    [id, after ?? "-1", limit],
  );
  return rows.map(stored);
}

export interface JournalRow {
  id: string;
  version: number;
  kind: "create" | "update" | "delete";
  at: Date;
  entity: string;
  tenant: string | null;
  title: string | null;
  decidedBy: string | null;
  rule: string | null;
  request: string | null;
  operation: string | null;
  before: Fields | undefined;
  after: Fields | undefined;
}

/** What happened to an object, newest first, before the given entry; also when it is gone. */
export async function listJournal(
  db: Queryable,
  object: string,
  { before, limit }: { before: string | undefined; limit: number },
): Promise<JournalRow[]> {
  const { rows } = await db.query<
    Omit<JournalRow, "before" | "after"> & { changed: string | null }
  >(
    `select j.id::text, j.version, j.kind, j.at, j.entity::text, e.tenant, c.title,
            e.decided_by as "decidedBy", e.rule, e.request, e.operation, c.changed
       from (select * from holdfast.object_journal
              where object = $1 and ($2::bigint is null or id < $2)
              order by id desc limit $3) j
       left join holdfast.entities e on e.id = j.entity
       left join lateral (
         select s.title,
                (select x.value::text from jsonb_array_elements(s.changes) as x(value)
                  where x.value ->> 'objectId' = $1::bigint::text and x.value ->> 'kind' = j.kind
                  limit 1) as changed
           from holdfast.change_sets s
          where s.entity = j.entity and s.applied_at <= j.at
          order by s.id desc limit 1) c on true
      order by j.id desc`,
    [object, before ?? null, limit],
  );
  return rows.map(({ changed, ...row }) => {
    const change = changed === null ? {} : (parseExactJson(changed) as Record<string, Json>);
    return { ...row, before: change["before"] as Fields, after: change["after"] as Fields };
  });
}
