import { classify } from "../domain/faults.ts";
import { holdObject } from "./index-held.ts";
import { ALL_LANES } from "./index-lanes.ts";
import { INDEX_QUEUE } from "./index-marks.ts";
import { findSourcePage, keyBetween, type SourcePage } from "./index-pages.ts";
import { expectedRows, placed, type Source } from "./index-source.ts";
import { ownIndexLanes } from "./locks.ts";
import type { Db, Queryable, Tx } from "./pool.ts";

/**
 * Building an index anew beside the generation that is searched. While `building` is set the drain
 * writes both; all that is here happens under every lane of the schema, so that neither overtakes the
 * other, and the new generation takes the place of the old at one instant.
 */

/** A user's own lock on a table is not waited for any longer while the lanes are held. */
const LOCK_TIMEOUT_MS = 5_000;

/** No drain writes in this schema until the transaction ends. */
export async function ownIndexes(tx: Tx, schema: string): Promise<void> {
  await ownIndexLanes(tx, schema, ALL_LANES);
  await tx.query(`set local lock_timeout = ${LOCK_TIMEOUT_MS}`);
}

/** A build at work: it is worked only as long as the row says the same. */
export interface Build {
  indexId: number;
  building: number;
  operationId: string;
  /** When it was begun: numbers of generations are used again, once all rows of one are gone. */
  since: Date;
}

/**
 * Begins a build from nothing, in place of any before it whose operation is over or the same. Its
 * number is above all that have rows. Undefined: another open operation builds this index, or there
 * is no such index any more.
 */
export async function beginBuild(
  tx: Tx,
  indexId: number,
  operationId: string,
  definition: Buffer,
): Promise<Build | undefined> {
  const { rows } = await tx.query<Build>(
    `update holdfast.search_indexes i
        set building = 1 + greatest(i.generation, (select max(r.generation)
                             from holdfast.index_rows r where r.index_id = i.id)),
            building_operation = $2, building_definition = $3, building_since = clock_timestamp(),
            building_after = null, building_objects = 0
      where i.id = $1
        and (i.building is null or i.building_operation = $2 or ${BUILDER_IS_OVER("i")})
      returning id as "indexId", building, building_operation as "operationId",
                building_since as since`,
    [indexId, operationId, definition],
  );
  return rows[0];
}

/** SQL: nobody works at the build of this row of `search_indexes` any more. */
export const BUILDER_IS_OVER = (index: string) => `not exists (
  select from holdfast.operations op
   where op.id = ${index}.building_operation and op.state in ('accepted', 'running'))`;

export interface BuiltPage extends SourcePage {
  /** Those of them that the type indexes. */
  objects: number;
}

/** Writes index rows of the next objects into the generation that is built, and remembers where. */
export async function buildPage(
  tx: Tx,
  source: Source,
  build: Build,
  page: { after: string | null; limit: number; language: string },
): Promise<BuiltPage> {
  const after = page.after ?? undefined;
  const { rows, last } = await findSourcePage(tx, source, after, page.limit);
  if (last === null) return { rows, last, objects: 0 };
  await insertBuiltRows(tx, source, build, page.language, after, last);
  const objects =
    source.type.when === undefined ? rows : await countIndexed(tx, source, after, last);
  await moveOn(tx, build, last, objects);
  return { rows, last, objects };
}

// A row that the drain has written already is brought to what is live now: what nothing has marked
// is found here as well.
async function insertBuiltRows(
  tx: Tx,
  source: Source,
  { indexId, building }: Build,
  language: string,
  after: string | undefined,
  last: string,
): Promise<void> {
  const which = keyBetween(source, "t", after === undefined ? undefined : "$4::text", "$3::text");
  await tx.query(
    `insert into holdfast.index_rows as r
       (index_id, generation, key, field, part, weight, kind, value, net, words)
     select $1, $2, key, field, part, weight, kind, value, net, words
       from (${expectedRows(source, language, which)}) as fresh
     on conflict (index_id, generation, key, field, part) do update
        set weight = excluded.weight, kind = excluded.kind, value = excluded.value,
            net = excluded.net, words = excluded.words
      where (r.weight, r.kind, r.value, r.net, r.words)
            is distinct from (excluded.weight, excluded.kind, excluded.value, excluded.net,
                              excluded.words)`,
    after === undefined ? [indexId, building, last] : [indexId, building, last, after],
  );
}

async function countIndexed(
  tx: Tx,
  source: Source,
  after: string | undefined,
  last: string,
): Promise<number> {
  const which = keyBetween(source, "t", after === undefined ? undefined : "$2::text", "$1::text");
  const { rows } = await tx.query<{ n: number }>(
    `select count(*)::int as n from ${source.table} t
      where (${placed(source.type.when!, source.schema)}) and ${which}`,
    after === undefined ? [last] : [last, after],
  );
  return rows[0]!.n;
}

/**
 * Leaves one object out of the build because its rows cannot be made: it keeps those it has, and
 * stands in the quarantine with the reason.
 */
export async function passOver(
  tx: Tx,
  source: Source,
  build: Build,
  object: { key: string; reason: string },
): Promise<void> {
  const { indexId, building } = build;
  await tx.query(
    `insert into holdfast.index_rows
       (index_id, generation, key, field, part, weight, kind, value, net, words)
     select r.index_id, $2, r.key, r.field, r.part, r.weight, r.kind, r.value, r.net, r.words
       from holdfast.search_indexes i
       join holdfast.index_rows r
         on r.index_id = i.id and r.generation = i.generation and r.key = $3
      where i.id = $1
     on conflict do nothing`,
    [indexId, building, object.key],
  );
  const held = { schema: source.schema, type: source.type.name, key: object.key };
  await holdObject(tx, held, object.reason);
  await moveOn(tx, build, object.key, 0);
}

async function moveOn(tx: Tx, build: Build, last: string, objects: number): Promise<void> {
  const { rowCount } = await tx.query(
    `update holdfast.search_indexes
        set building_after = $4, building_objects = building_objects + $5
      where id = $1 and building = $2 and building_operation = $3`,
    [build.indexId, build.building, build.operationId, last, objects],
  );
  if (rowCount !== 1) throw new Error(`build ${build.building} of index ${build.indexId} is lost`);
}

/**
 * What was built is searched from now on. What was held back for an object before the build began,
 * and what was known to be unmarked, is made good with it. False: the build is not there any more.
 */
export async function swapBuild(tx: Tx, build: Build): Promise<boolean> {
  const { rows } = await tx.query<{ schema: string; type: string; since: Date }>(
    `with built as (
       select id, schema_name, type, building_since from holdfast.search_indexes
        where id = $1 and building = $2 and building_operation = $3 for update
     ), swapped as (
       update holdfast.search_indexes i
          set generation = i.building, definition = i.building_definition,
              built_at = clock_timestamp(), objects = i.building_objects,
              building = null, building_operation = null, building_definition = null,
              building_since = null, building_after = null, building_objects = 0,
              retry_at = case when i.drifted_at is not null then clock_timestamp() end
         from built where i.id = built.id
     ), released as (
       delete from holdfast.quarantine q using built
        where q.queue = '${INDEX_QUEUE}' and q.scope = built.schema_name
          and starts_with(q.key, built.type || '/') and q.at < built.building_since
     ), made_good as (
       delete from holdfast.index_gaps g using built
        where g.schema_name = built.schema_name and g.type = built.type
          and g.at < built.building_since
     )
     select schema_name as schema, type, building_since as since from built`,
    [build.indexId, build.building, build.operationId],
  );
  return rows.length === 1;
}

/** What is indexed outside Postgres is brought to this definition by the drain, object by object. */
export async function markHandedOver(tx: Tx, indexId: number, definition: Buffer): Promise<void> {
  await tx.query(
    `update holdfast.search_indexes
        set definition = $2, built_at = clock_timestamp(), ${NO_BUILD} where id = $1`,
    [indexId, definition],
  );
}

/** Gives a build up; its rows go with the next sweep. */
export async function abandonBuild(tx: Tx, build: Build): Promise<void> {
  await tx.query(
    `update holdfast.search_indexes set ${NO_BUILD}
      where id = $1 and building = $2 and building_operation = $3`,
    [build.indexId, build.building, build.operationId],
  );
}

/** SQL: what an update sets to end a build. */
export const NO_BUILD = `building = null, building_operation = null, building_definition = null,
  building_since = null, building_after = null, building_objects = 0`;

/** True when the select of a source can be planned: what failed then was one of its rows. */
export async function canBeRead(db: Db, source: Source, language: string): Promise<boolean> {
  try {
    await db.query(`${expectedRows(source, language, "true")} limit 0`);
    return true;
  } catch (error) {
    if (classify(error) === "domain") return false;
    throw error;
  }
}

/** True while there is a schema of this name. */
export async function schemaExists(db: Queryable, schema: string): Promise<boolean> {
  const { rowCount } = await db.query("select from pg_catalog.pg_namespace where nspname = $1", [
    schema,
  ]);
  return rowCount === 1;
}

/** True when writes were not marked for a while and nobody has looked since. */
export async function hasGaps(db: Queryable, schema: string, type: string): Promise<boolean> {
  const { rowCount } = await db.query(
    "select from holdfast.index_gaps where schema_name = $1 and type = $2 limit 1",
    [schema, type],
  );
  return rowCount === 1;
}

/** Objects that this build has passed over, up to `most`. */
export async function countPassedOver(tx: Tx, build: Build, most: number): Promise<number> {
  const { rows } = await tx.query<{ n: number }>(
    `select count(*)::int as n
       from (select from holdfast.quarantine q
               join holdfast.search_indexes i
                 on i.id = $1 and i.schema_name = q.scope and q.at >= i.building_since
              where q.queue = '${INDEX_QUEUE}' and starts_with(q.key, i.type || '/')
              limit $2) passed`,
    [build.indexId, most],
  );
  return rows[0]!.n;
}

/** The planner's idea of how many objects some indexes hold, in their order. */
export async function estimateObjects(
  db: Queryable,
  tables: readonly { schema: string; table: string }[],
): Promise<number[]> {
  const { rows } = await db.query<{ n: number }>(
    `select coalesce(e.n, 0)::float8 as n
       from unnest($1::text[], $2::text[]) with ordinality as w(schema, name, place)
       left join lateral (
         select sum(case when leaf.reltuples >= 0 then leaf.reltuples
                         else pg_relation_size(leaf.oid) / ${BYTES_OF_A_ROW} end) as n
           from pg_class c
           join pg_namespace s on s.oid = c.relnamespace and s.nspname = w.schema
          cross join lateral (
            select c.oid where c.relkind = 'r' union all
            select relid from pg_partition_tree(c.oid) where c.relkind = 'p' and isleaf) parts
           join pg_class leaf on leaf.oid = parts.oid
          where c.relname = w.name and c.relkind in ('r', 'p')) e on true
      order by w.place`,
    [tables.map(({ schema }) => schema), tables.map(({ table }) => table)],
  );
  return rows.map(({ n }) => Math.round(n));
}

/** Of a table that was never analysed. */
const BYTES_OF_A_ROW = 100;
