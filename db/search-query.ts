import { randomBytes } from "node:crypto";
import type { Lookup } from "../contracts/search.ts";
import type { Queryable, Tx } from "./pool.ts";
import { isVisible, type Searched } from "./search-live.ts";
import { matching, wordsQuery } from "./search-match.ts";

/**
 * A page of results in one statement: match, the best row of each object, order, visibility, and
 * only then the limit. The order is total, so that a page goes on exactly where the last one ended.
 */

/** Where a result stands in the order. */
export type Place = readonly [
  weight: number,
  type: string,
  head: string,
  key: string,
  field: string,
];

export interface PageQuery {
  text: string;
  lookup: Lookup;
  fields?: readonly string[] | undefined;
  language: string;
  viewer: Record<string, unknown>;
  limit: number;
  after?: Place | undefined;
}

export interface FoundRow {
  indexId: number;
  place: Place;
  /** The part of the value that was found. */
  value: string;
  /** The same with what was found between `marks`; null where that is for the reader to find. */
  marked: string | null;
}

export interface FoundPage {
  rows: FoundRow[];
  /** Objects, counted up to COUNTED_TO. */
  total: number;
  totalIsExact: boolean;
  /** More values match than are read: nothing of the page may be used. */
  tooBroad: boolean;
  marks: readonly [open: string, close: string];
}

/** Objects are counted up to here. */
const COUNTED_TO = 10_000;
/** Values of one look-up that are read and put in order, at the most. */
const MATCHED_TO = 100_000;

/**
 * The indexes as the snapshot of this transaction has them: one that was swapped since they were chosen
 * may have lost its rows by now. Those that are no more are left out.
 */
export async function asOfNow(tx: Tx, indexes: readonly Searched[]): Promise<Searched[]> {
  const { rows } = await tx.query<{ id: number; generation: number }>(
    "select id, generation from holdfast.search_indexes where id = any ($1::int[])",
    [indexes.map(({ id }) => id)],
  );
  const searched = new Map(rows.map(({ id, generation }) => [id, generation]));
  return indexes.flatMap((index) => {
    const generation = searched.get(index.id);
    return generation === undefined ? [] : [{ ...index, generation }];
  });
}

const IN_ORDER = `weight, type collate "C", head collate "C", key collate "C", field collate "C"`;

/**
 * Reads one page of what is found in these indexes. The limits stand on rows already in order, so
 * that visibility is asked of as many objects as are needed, and of no more.
 */
export async function searchPage(
  tx: Tx,
  indexes: readonly Searched[],
  query: PageQuery,
): Promise<FoundPage> {
  const { text, lookup, fields, language, after, limit } = query;
  const nonce = randomBytes(6).toString("hex");
  const marks = [`\u0001${nonce}(`, `)${nonce}\u0001`] as const;
  const visible = isVisible(indexes, "$2::jsonb");
  const arms = matching(lookup, "$1::text", language).map(
    (condition) => `
      (select r.index_id, r.key, r.field, r.part, r.weight, left(r.value, 200) as head
         from holdfast.index_rows r
        where ${ofGenerations(indexes)}
          and ($3::text[] is null or r.field = any ($3)) and ${condition}
        limit ${MATCHED_TO + 1})`,
  );
  const { rows } = await tx.query<Answer>(
    `with found as materialized (${arms.join(" union all ")}),
     best as (
       select distinct on (index_id, key collate "C") index_id, key, field, part, weight, head
         from found where (select count(*) from found) <= ${MATCHED_TO}
        order by index_id, key collate "C", weight, head collate "C", field collate "C", part),
     ordered as materialized (
       select b.*, i.type from best b
         join (values ${indexes.map(({ id }, no) => `(${id}, ($4::text[])[${no + 1}])`).join(", ")})
              as i(id, type) on i.id = b.index_id
        order by ${IN_ORDER}),
     seen as materialized (
       select * from ordered b where ${visible} limit ${COUNTED_TO + 1}),
     page as (
       select * from ${after ? "ordered" : "seen"} b
        where ${after ? `(${IN_ORDER}) > ($8::smallint, $9::text, $10::text, $11::text, $12::text) and ${visible}` : "true"}
        limit $5)
     select t.total, t.matched, p.index_id as "indexId", p.weight, p.type, p.head, p.key, p.field,
            r.value, ${marking(lookup, language)} as marked
       from (select (select count(*) from seen)::int as total,
                    (select count(*) from found)::int as matched) t
       left join page p on true
       left join holdfast.index_rows r
         on (r.index_id, r.key, r.field, r.part) = (p.index_id, p.key, p.field, p.part)
        and (${ofGenerations(indexes)})
      order by ${IN_ORDER.replaceAll(/(weight|type|head|key|field)/g, "p.$1")}`,
    [
      text,
      JSON.stringify(query.viewer),
      fields ?? null,
      indexes.map(({ source }) => source.type.name),
      limit,
      ...marks,
      ...(after ?? []),
    ],
  );
  return {
    rows: rows.flatMap(({ indexId, weight, type, head, key, field, value, marked }) =>
      indexId === null ? [] : [{ indexId, place: [weight, type, head, key, field], value, marked }],
    ),
    total: Math.min(rows[0]!.total, COUNTED_TO),
    totalIsExact: rows[0]!.total <= COUNTED_TO,
    tooBroad: rows[0]!.matched > MATCHED_TO,
    marks,
  };
}

interface Answer {
  total: number;
  matched: number;
  indexId: number | null;
  weight: number;
  type: string;
  head: string;
  key: string;
  field: string;
  value: string;
  marked: string | null;
}

function ofGenerations(indexes: readonly Searched[]): string {
  const generations = [...new Set(indexes.map(({ generation }) => generation))];
  const conditions = generations.map((generation) => {
    const ids = indexes.filter((index) => index.generation === generation).map(({ id }) => id);
    return `r.generation = ${generation} and r.index_id in (${ids.join(", ")})`;
  });
  return `(${conditions.join(" or ")})`;
}

// What Postgres found only Postgres can point at: words by their stems, letters by its expressions.
function marking(lookup: Lookup, language: string): string {
  if (lookup === "regex") {
    return `regexp_replace(r.value, $1, $6::text || '\\&' || $7::text, 'gi')`;
  }
  const headline = `ts_headline('pg_catalog.${language}', r.value, ${wordsQuery(lookup, "$1::text", language)},
    'HighlightAll=true, StartSel="' || $6::text || '", StopSel="' || $7::text || '"')`;
  return lookup === "words" || lookup === "partial"
    ? `case when r.words is not null then ${headline} end`
    : `case when false then $6::text || $7::text end`;
}

/** @throws what Postgres says of an expression it cannot read (2201B) */
export async function assertRegex(db: Queryable, text: string): Promise<void> {
  await db.query("select '' ~* $1::text as readable", [text]);
}

/** Which of these objects are live and visible, in the order given: their positions from 0. */
export async function visibleAmong(
  tx: Tx,
  indexes: readonly Searched[],
  objects: readonly { indexId: number; key: string }[],
  viewer: Record<string, unknown>,
): Promise<number[]> {
  const { rows } = await tx.query<{ no: number }>(
    `select (b.no - 1)::int as no
       from unnest($1::int[], $2::text[]) with ordinality as b(index_id, key, no)
      where ${isVisible(indexes, "$3::jsonb")} order by b.no`,
    [objects.map(({ indexId }) => indexId), objects.map(({ key }) => key), JSON.stringify(viewer)],
  );
  return rows.map(({ no }) => no);
}
