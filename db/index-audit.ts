import type { Difference } from "../contracts/reindex.ts";
import { heldKeySql } from "./index-held.ts";
import { INDEX_QUEUE, laneOf } from "./index-marks.ts";
import { findSourcePage, keyBetween, type SourcePage } from "./index-pages.ts";
import { expectedRows, keyIn, keySql, type Source } from "./index-source.ts";
import type { Queryable } from "./pool.ts";

/**
 * Index and source compared, page by page: what the rows of each object add up to, and what they
 * should. Each comparison is one statement, so an object that was written but not yet indexed has its
 * mark in the same snapshot, and is no finding.
 */

export interface Differing {
  key: string;
  kind: Difference;
}

export interface AuditedPage extends SourcePage {
  found: Differing[];
}

/** Compares the next objects of a source, in order of their primary key. */
export async function auditObjects(
  db: Queryable,
  index: { id: number; source: Source },
  page: { after: string | undefined; limit: number; language: string },
): Promise<AuditedPage> {
  const { source } = index;
  const { after } = page;
  const { rows, last } = await findSourcePage(db, source, after, page.limit);
  if (last === null) return { rows, last, found: [] };
  const which = keyBetween(source, "t", after === undefined ? undefined : "$5::text", "$4::text");
  const key = keySql(source, "t");
  const { rows: found } = await db.query<Differing>(
    `with live as materialized (
       select ${key} as key from ${source.table} t where ${which} and ${isFree("$2", "$3", key)}
     ), expected as materialized (
       select key, sum(${checksum("e")}) as total
         from (${expectedRows(source, page.language, `${which} and ${isFree("$2", "$3", key)}`)}) e
        group by key
     ), compared as materialized (
       select live.key, e.total as expected, a.total as actual
         from live
         left join expected e on e.key = live.key
        cross join lateral (
          select sum(${checksum("r")}) as total from holdfast.index_rows r
           where r.index_id = $1 and r.generation = ${SEARCHED} and r.key = live.key offset 0) a
     )
     select key, case when actual is null then 'missing'
                      when expected is null then 'orphan' else 'stale' end as kind
       from compared c
      where expected is distinct from actual and ${isUnmarked("$2", "$3", "c.key")}
      order by key`,
    [index.id, source.schema, source.type.name, last, ...(after === undefined ? [] : [after])],
  );
  return { rows, last, found };
}

/** Looks for index rows of objects that are not there, in order of their keys as text. */
export async function auditKeys(
  db: Queryable,
  index: { id: number; source: Source },
  page: { after: string; limit: number },
): Promise<AuditedPage> {
  const { source } = index;
  const { rows } = await db.query<{ n: number; last: string | null; gone: string[] | null }>(
    `with held as materialized (
       select distinct r.key from holdfast.index_rows r
        where r.index_id = $1 and r.generation = ${SEARCHED} and r.key > $4
        order by r.key limit $5
     ), live as materialized (
       select ${keySql(source, "t")} as key from ${source.table} t
        where ${keyIn(source, "t", "(select array_agg(key) from held)")}
     )
     select (select count(*)::int from held) as n, (select max(key) from held) as last,
            (select array_agg(h.key order by h.key) from held h
              where not exists (select from live where live.key = h.key)
                and ${isFree("$2", "$3", "h.key")} and ${isUnmarked("$2", "$3", "h.key")}) as gone`,
    [index.id, source.schema, source.type.name, page.after, page.limit],
  );
  const { n, last, gone } = rows[0]!;
  return { rows: n, last, found: (gone ?? []).map((key) => ({ key, kind: "orphan" })) };
}

/** The generation that is searched, as the same statement sees it. */
const SEARCHED = "(select i.generation from holdfast.search_indexes i where i.id = $1)";

const checksum = (row: string) => `hashtextextended(concat_ws(chr(31), ${row}.field, ${row}.part,
  ${row}.weight, ${row}.kind, coalesce(${row}.net::text, '-'), coalesce(${row}.words::text, '-'),
  ${row}.value), 0)`;

// What is held in quarantine is known. The offset keeps it a look-up per row, made before anything else
// of a row is computed: that is what fails for these.
const isFree = (schema: string, type: string, key: string) => `not exists (
  select from holdfast.quarantine q
   where q.queue = '${INDEX_QUEUE}' and q.held and q.scope = ${schema}::text
     and q.key = ${heldKeySql(`${type}::text`, key)} offset 0)`;

// Asked of what differs only, and answered from sets that are made once.
const isUnmarked = (schema: string, type: string, key: string) => `
  not exists (select from holdfast.index_marks m
               where m.schema_name = ${schema}::text and m.type = ${type}::text
                 and m.through is not null)
  and ${laneOf(key)} not in (select m.lane from holdfast.index_marks m
               where m.schema_name = ${schema}::text and m.type = ${type}::text and m.keys is null)
  and ${key} not in (select marked from holdfast.index_marks m
                      cross join lateral unnest(m.keys) as marked
               where m.schema_name = ${schema}::text and m.type = ${type}::text
                 and m.through is null)`;

/** What was known to be unmarked has been looked at since. */
export async function forgetGaps(
  db: Queryable,
  schema: string,
  type: string,
  before: Date,
): Promise<void> {
  await db.query(
    "delete from holdfast.index_gaps where schema_name = $1 and type = $2 and at < $3",
    [schema, type, before],
  );
}

/** A key of the source somewhere in it, each part as likely as any other; undefined when it is empty. */
export async function someKey(db: Queryable, source: Source): Promise<string | undefined> {
  const { rows } = await db.query<{ percent: number }>(
    `select least(100, 100 * ${SAMPLED_PAGES} / greatest(1, sum(leaf.relpages)))::float8 as percent
       from (select $1::oid as oid union select relid from pg_partition_tree($1::oid)) parts
       join pg_class leaf on leaf.oid = parts.oid`,
    [source.tableOid],
  );
  const { rows: found } = await db.query<{ key: string }>(
    `select ${keySql(source, "t")} as key from ${source.table} t tablesample system ($1)
      order by random() limit 1`,
    [rows[0]!.percent],
  );
  return found[0]?.key;
}

const SAMPLED_PAGES = 20;
