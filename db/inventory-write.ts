import { storedJson } from "../domain/exact-json.ts";
import type { ObjectWrite } from "../domain/plan-batch.ts";
import { column } from "./columns.ts";
import type { InventoryPlace } from "./inventory-look-up.ts";
import type { Tx } from "./pool.ts";

/**
 * What a planned batch comes to, written set by set. Every statement counts what it wrote: fewer rows
 * than planned mean that somebody changed an object, or took a name, after the plan had looked.
 */

export class StalePlan extends Error {
  override readonly name = "StalePlan";
  constructor(what: string) {
    super(`the inventory changed since the plan looked: ${what}`);
  }
}

/** @throws StalePlan when an object is not as the plan saw it; then nothing of the transaction may stay */
export async function writeObjects(
  tx: Tx,
  place: InventoryPlace,
  writes: readonly ObjectWrite[],
): Promise<void> {
  const created = writes.filter(({ version }) => version === 0);
  const updated = writes.filter(({ version }) => version > 0);
  await dropKeys(tx, place, updated);
  await insertObjects(tx, place, created);
  await updateObjects(tx, updated);
  await insertKeys(tx, place, writes);
  await dropRefs(tx, updated);
  await insertRefs(tx, writes);
}

async function insertObjects(
  tx: Tx,
  place: InventoryPlace,
  created: readonly ObjectWrite[],
): Promise<void> {
  if (created.length === 0) return;
  await tx.query(
    `insert into holdfast.objects (tenant, branch, id, type, version, data)
     select $1, $2, id::bigint, type, 1, data::jsonb
       from rows from (string_to_table($3, e'\\n'), string_to_table($4, e'\\n'),
                       string_to_table($5, e'\\n')) as o(id, type, data)`,
    [
      place.tenant,
      place.branch,
      column(created.map(({ id }) => id)),
      column(created.map(({ type }) => type)),
      column(created.map(({ data }) => storedJson(data))),
    ],
  );
}

// Their ids come from a look-up in the branch.
async function updateObjects(tx: Tx, updated: readonly ObjectWrite[]): Promise<void> {
  if (updated.length === 0) return;
  const { rowCount } = await tx.query(
    `update holdfast.objects o
        set version = o.version + 1, data = w.data::jsonb, updated_at = clock_timestamp()
       from rows from (string_to_table($1, e'\\n'), string_to_table($2, e'\\n'),
                       string_to_table($3, e'\\n')) as w(id, version, data)
      where o.id = w.id::bigint and o.version = w.version::int`,
    [
      column(updated.map(({ id }) => id)),
      column(updated.map(({ version }) => String(version))),
      column(updated.map(({ data }) => storedJson(data))),
    ],
  );
  expectAll(rowCount, updated.length, "objects");
}

// Where two objects are called the same by a matcher that is new, only one of them has the name.
async function dropKeys(
  tx: Tx,
  place: InventoryPlace,
  updated: readonly ObjectWrite[],
): Promise<void> {
  const dropped = updated.flatMap(({ id, droppedKeys }) => droppedKeys.map((key) => [id, key]));
  if (dropped.length === 0) return;
  await tx.query(
    `delete from holdfast.object_keys where ctid = any (array(
       select k.ctid
         from rows from (string_to_table($3, e'\\n'), string_to_table($4, e'\\n')) as d(object, key)
        cross join lateral (
          select ctid, object from holdfast.object_keys
           where tenant = $1 and branch = $2 and key = d.key collate "C" limit 1) k
        where k.object = d.object::bigint))`,
    [
      place.tenant,
      place.branch,
      column(dropped.map(([id]) => id)),
      column(dropped.map(([, key]) => key)),
    ],
  );
}

async function insertKeys(
  tx: Tx,
  place: InventoryPlace,
  writes: readonly ObjectWrite[],
): Promise<void> {
  const added = writes.flatMap(({ id, addedKeys }) => addedKeys.map((key) => [id, key]));
  if (added.length === 0) return;
  const { rowCount } = await tx.query(
    `insert into holdfast.object_keys (tenant, branch, key, object)
     select $1, $2, key, object::bigint
       from rows from (string_to_table($3, e'\\n'), string_to_table($4, e'\\n')) as a(object, key)
     on conflict do nothing`,
    [
      place.tenant,
      place.branch,
      column(added.map(([id]) => id)),
      column(added.map(([, key]) => key)),
    ],
  );
  expectAll(rowCount, added.length, "names");
}

async function dropRefs(tx: Tx, updated: readonly ObjectWrite[]): Promise<void> {
  if (updated.length === 0) return;
  await tx.query(
    `delete from holdfast.object_refs r
      where r.from_object = any ($1::bigint[])
        and (r.from_object, r.to_object) not in (
          select f, t from unnest($2::bigint[], $3::bigint[]) as kept(f, t))`,
    [updated.map(({ id }) => id), ...pairsOf(updated)],
  );
}

async function insertRefs(tx: Tx, writes: readonly ObjectWrite[]): Promise<void> {
  const [from, to] = pairsOf(writes);
  if (from.length === 0) return;
  await tx.query(
    `insert into holdfast.object_refs (from_object, to_object)
     select f, t from unnest($1::bigint[], $2::bigint[]) as r(f, t) on conflict do nothing`,
    [from, to],
  );
}

function pairsOf(writes: readonly ObjectWrite[]): [string[], string[]] {
  const from = writes.flatMap(({ id, refs }) => refs.map(() => id));
  return [from, writes.flatMap(({ refs }) => refs)];
}

export function expectAll(written: number | null, wanted: number, what: string): void {
  if (written !== wanted) throw new StalePlan(`${wanted - (written ?? 0)} of ${wanted} ${what}`);
}

export interface JournalEntry {
  object: string;
  version: number;
  kind: "create" | "update" | "delete";
  entity: string;
}

export async function appendJournal(tx: Tx, entries: readonly JournalEntry[]): Promise<void> {
  if (entries.length === 0) return;
  await tx.query(
    `insert into holdfast.object_journal (object, version, kind, entity)
     select object::bigint, version::int, kind, entity::bigint
       from rows from (string_to_table($1, e'\\n'), string_to_table($2, e'\\n'),
                       string_to_table($3, e'\\n'), string_to_table($4, e'\\n'))
              as j(object, version, kind, entity)`,
    [
      column(entries.map(({ object }) => object)),
      column(entries.map(({ version }) => String(version))),
      column(entries.map(({ kind }) => kind)),
      column(entries.map(({ entity }) => entity)),
    ],
  );
}
