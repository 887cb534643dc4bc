import { INDEX_QUEUE } from "./index-marks.ts";
import type { Queryable } from "./pool.ts";
import { INDEX_COLUMNS, type SearchIndex } from "./search-indexes.ts";

/** How each index stands: what is in it, what waits for it, what is held back. */

export interface IndexStanding extends SearchIndex {
  /** Objects with rows, as far as COUNTED_ROWS go; `countedAll` when that was to the end. */
  counted: number;
  countedAll: boolean;
  marks: number;
  oldestMarkAt: Date | null;
  quarantined: number;
  /** A table of it was written while marks could not be. */
  gap: boolean;
}

const COUNTED_ROWS = 10_000;
/** Rows of marks that are looked at. */
const MARKS_READ = 100_000;

/** Every index with what waits for it. */
export async function readStandings(db: Queryable): Promise<IndexStanding[]> {
  const { rows } = await db.query<IndexStanding>(
    `with waiting as (
       select schema_name, type, count(*)::int as marks, min(at) as oldest
         from (select schema_name, type, at from holdfast.index_marks limit ${MARKS_READ}) read
        group by 1, 2),
     held as (
       select scope, split_part(key, '/', 1) as type, count(*)::int as n
         from holdfast.quarantine where queue = $1 and held group by 1, 2)
     select i.*, c.counted, c."countedAll", coalesce(w.marks, 0) as marks, w.oldest as "oldestMarkAt",
            coalesce(h.n, 0) as quarantined,
            exists (select from holdfast.index_gaps g
                     where (g.schema_name, g.type) = (i.schema, i.type)) as gap
       from (select ${INDEX_COLUMNS} from holdfast.search_indexes) i
      cross join lateral (
        select count(distinct key)::int as counted, count(*) < ${COUNTED_ROWS} as "countedAll"
          from (select key from holdfast.index_rows r
                 where r.index_id = i.id and r.generation = i.generation
                 limit ${COUNTED_ROWS}) read) c
       left join waiting w on (w.schema_name, w.type) = (i.schema, i.type)
       left join held h on (h.scope, h.type) = (i.schema, i.type)
      order by i.schema, i.type`,
    [INDEX_QUEUE],
  );
  return rows;
}

/** False where look-ups have no trigrams to go by, and read everything. */
export async function hasTrigrams(db: Queryable): Promise<boolean> {
  const { rows } = await db.query<{ there: boolean }>(
    "select to_regclass('holdfast.index_rows_by_trigram') is not null as there",
  );
  return rows[0]!.there;
}

/** Lanes and indexes that cannot go on as things stand. */
export async function countFailing(db: Queryable): Promise<number> {
  const { rows } = await db.query<{ n: number }>(
    `select (select count(*) from holdfast.index_lanes where failing_since is not null)::int
          + (select count(*) from holdfast.search_indexes where drifted_at is not null)::int as n`,
  );
  return rows[0]!.n;
}
