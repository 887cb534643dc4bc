import { expectedRows, keyIn, keySql, placed, quoted, type Source } from "./index-source.ts";
import { laneOf } from "./index-marks.ts";
import type { Queryable, Tx } from "./pool.ts";
import type { SearchIndex } from "./search-indexes.ts";

/**
 * Brings index rows to what the live rows say. Under the lane's lock, in a statement that begins after
 * it: whoever commits later marks its objects again.
 */

/** A registered table in one schema with the SQL for it, made once. */
export interface Indexed {
  source: Source;
  sql: IndexSql;
}

interface IndexSql {
  apply: string;
  live: string;
  objects: string;
  rowsPage: string;
  fans: ReadonlyMap<string, string>;
}

export function indexSql(source: Source, language: string): IndexSql {
  const wanted = expectedRows(source, language, isAmong(source, "$1"));
  return {
    apply: applySql(wanted),
    live: `select ${keySql(source, "t")} as key from ${source.table} t where ${isAmong(source, "$1")}`,
    objects: wanted,
    rowsPage: rowsPageSql(source),
    fans: new Map(source.type.dependsOn.map((_, no) => [fanName(source, no), fanSql(source, no)])),
  };
}

// A key that is written in another way than the source writes it belongs to another lane.
function isAmong(source: Source, keys: string): string {
  return `${keyIn(source, "t", keys)} and ${keySql(source, "t")} = any ((${keys})::text[])`;
}

// Only what differs is written, and nothing is away in between, because it is one statement. What goes
// is counted before anything comes, so that a row may take the place of the one it replaces: cheaper
// than an update in place, which would lock each row first and touch every index all the same. Rows are
// taken by ctid, so that no plan hangs on how many rows the source is believed to give.
function applySql(wanted: string): string {
  return `
    with fresh as materialized (${wanted}),
    old as materialized (
      select r.ctid as place, r.generation, r.key, r.field, r.part, r.weight, r.kind, r.value, r.net,
             r.words
        from holdfast.index_rows r
       where r.index_id = $2 and r.generation = any ($3::int[]) and r.key = any ($1::text[])
    ), same as materialized (
      select o.place, o.generation, o.key, o.field, o.part
        from old o join fresh f on (f.key, f.field, f.part) = (o.key, o.field, o.part)
       where (o.weight, o.kind, o.value) = (f.weight, f.kind, f.value)
         and o.net is not distinct from f.net and o.words is not distinct from f.words
    ), gone as (
      delete from holdfast.index_rows where ctid = any (array(
        select o.place from old o where not exists (select from same s where s.place = o.place)))
      returning 1
    )
    insert into holdfast.index_rows
           (index_id, generation, part, weight, kind, key, field, value, net, words)
    select $2, g, f.part, f.weight, f.kind, f.key, f.field, f.value, f.net, f.words
      from fresh f cross join unnest($3::int[]) as g
     where (select count(*) from gone) >= 0
       and not exists (
         select from same s
          where (s.generation, s.key, s.field, s.part) = (g, f.key, f.field, f.part))`;
}

/** Brings the rows of these objects up to date, in what is searched and what is built beside it. */
export async function applyKeys(
  tx: Tx,
  index: SearchIndex,
  { sql }: Indexed,
  keys: readonly string[],
): Promise<void> {
  await tx.query(sql.apply, [keys, index.id, generationsOf(index)]);
}

function generationsOf({ generation, building }: SearchIndex): number[] {
  return building === null ? [generation] : [generation, building];
}

/** The next live keys of a lane, in order of the primary key. */
export async function nextLiveKeys(
  db: Queryable,
  { sql }: Indexed,
  page: { lane: number; after: string | undefined; limit: number },
): Promise<string[]> {
  const { rows } = await db.query<{ key: string }>(sql.rowsPage, [
    page.after ?? null,
    page.lane,
    page.limit,
  ]);
  return rows.map(({ key }) => key);
}

function rowsPageSql(source: Source): string {
  const key = keySql(source, "t");
  return `select ${key} as key from ${source.table} t
    where ($1::text is null or ${isAfter(source, "$1")}) and ${laneOf(key)} = $2::smallint
    order by ${ordered(source)} limit $3`;
}

function ordered(source: Source): string {
  return source.keys.map(({ column }) => `t.${quoted(column)}`).join(", ");
}

function isAfter(source: Source, after: string): string {
  const { keys } = source;
  const values = keys.map(({ type }, no) =>
    keys.length === 1 ? `(${after}::text)::${type}` : `(${after}::jsonb ->> ${no})::${type}`,
  );
  return `(${ordered(source)}) > (${values.join(", ")})`;
}

/** The next keys of a lane that the index has rows of. */
export async function nextIndexedKeys(
  db: Queryable,
  index: SearchIndex,
  page: { lane: number; after: string | undefined; limit: number },
): Promise<string[]> {
  const { rows } = await db.query<{ key: string }>(
    `select distinct r.key from unnest($2::int[]) as g
      cross join lateral (
        select distinct key from holdfast.index_rows
         where index_id = $1 and generation = g and key > $3 and ${laneOf("key")} = $4::smallint
         order by key limit $5) r
      order by r.key limit $5`,
    [index.id, generationsOf(index), page.after ?? "", page.lane, page.limit],
  );
  return rows.map(({ key }) => key);
}

/** Those of the keys that have a live row. */
export async function liveKeys(
  db: Queryable,
  { sql }: Indexed,
  keys: readonly string[],
): Promise<Set<string>> {
  const { rows } = await db.query<{ key: string }>(sql.live, [keys]);
  return new Set(rows.map(({ key }) => key));
}

/** Removes the rows of objects that are no more. */
export async function removeKeys(
  tx: Tx,
  index: SearchIndex,
  keys: readonly string[],
): Promise<void> {
  await tx.query(
    `delete from holdfast.index_rows
      where index_id = $1 and generation = any ($2::int[]) and key = any ($3::text[])`,
    [index.id, generationsOf(index), keys],
  );
}

/** What a dependency is called in marks: its table, and which of the type's dependencies it is. */
function fanName(source: Source, no: number): string {
  return `${source.type.dependsOn[no]!.table}.${no}`;
}

// In order of the key, a page at a time: a parent may have any number of objects.
function fanSql(source: Source, no: number): string {
  return `select ${keySql(source, "t")} as key from ${source.table} t
    where (${isChild(source, no, "$1::text[]")}) and ($2::text is null or ${isAfter(source, "$2")})
    order by ${ordered(source)} limit $3`;
}

function isChild({ type, schema, columns }: Source, no: number, parents: string): string {
  const { via, where } = type.dependsOn[no]!;
  if (via === undefined) return placed(where!, schema).replaceAll("{keys}", `(${parents})`);
  const cast = columns.get(via);
  // A column that is not there is for Postgres to name.
  return `t.${quoted(via)} = any ((${parents})${cast ? `::${cast}[]` : ""})`;
}

/** The next objects of these parents; undefined: the type knows no such dependency any more. */
export async function nextChildren(
  db: Queryable,
  { sql }: Indexed,
  fan: { dependency: string; parents: readonly string[] },
  page: { after: string | undefined; limit: number },
): Promise<string[] | undefined> {
  const text = sql.fans.get(fan.dependency);
  if (text === undefined) return undefined;
  const { rows } = await db.query<{ key: string }>(text, [
    fan.parents,
    page.after ?? null,
    page.limit,
  ]);
  return rows.map(({ key }) => key);
}

/** Asks for nothing, in all the ways the source is read. @throws what is wrong with it */
export async function trySource(db: Queryable, { sql }: Indexed): Promise<void> {
  await db.query(sql.objects, [[]]);
  await db.query(sql.live, [[]]);
  for (const text of sql.fans.values()) await db.query(text, [[], null, 0]);
}
