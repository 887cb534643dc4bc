import type { Queryable, Tx } from "./pool.ts";

/**
 * Marks of the search index: "these objects are dirty", and nothing more. Appended by triggers and by
 * hand in the writer's own transaction, deleted by the drain in the transaction that handled them.
 */

/** Lanes work side by side; an object's key belongs to exactly one. Written into the triggers. */
export const INDEX_LANES = 4;
export const INDEX_QUEUE = "index";
/** Keys of one mark, at the most. */
export const KEYS_PER_MARK = 1_000;

/** SQL: the lane of a key. */
export const laneOf = (key: string) => `(hashtext(${key}) & ${INDEX_LANES - 1})::smallint`;

/** SQL: true when a lane has marks, braked or not. */
export const hasIndexMarks = (lane: string) =>
  `exists (select from holdfast.index_marks m where m.lane = ${lane})`;

/**
 * SQL that appends marks for the keys of `keys`, a select of one text column `key`: per lane, in
 * rows of up to KEYS_PER_MARK. `schema` and `type` are SQL expressions.
 */
const markingSql = (schema: string, type: string, keys: string) => `
  insert into holdfast.index_marks (lane, schema_name, type, keys)
  select lane, ${schema}, ${type}, array_agg(key)
    from (select key, lane, (row_number() over () - 1) / ${KEYS_PER_MARK} as bundle
            from (select key, ${laneOf("key")} as lane from (${keys}) as dirty) as placed) as bundled
   group by lane, bundle`;

/** "These objects are dirty", by hand. Part of the caller's transaction, if there is one. */
export async function appendIndexMarks(
  tx: Queryable,
  schema: string,
  type: string,
  keys: readonly string[],
): Promise<void> {
  if (keys.length === 0) return;
  await tx.query(markingSql("$1::text", "$2::text", "select distinct unnest($3::text[]) as key"), [
    schema,
    type,
    keys,
  ]);
}

/** "Every object of this type may be dirty, and there may be rows of objects that are gone." */
export async function markWholeType(tx: Tx, schema: string, type: string): Promise<void> {
  await tx.query(
    `insert into holdfast.index_marks (lane, schema_name, type)
     select lane, $1, $2 from generate_series(0, ${INDEX_LANES - 1}) as lane`,
    [schema, type],
  );
}
