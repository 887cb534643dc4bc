import { INDEX_LANES, INDEX_QUEUE } from "./index-marks.ts";
import { findDeadGenerations } from "./index-sweep.ts";
import { ownIndexLanes } from "./locks.ts";
import type { Tx } from "./pool.ts";

/**
 * Erasing from the index of retained documents and facts, in the transaction that erases their rows: no
 * word of them is left though no drain runs. Objects that died before and are still marked go as well.
 */

const ALL_LANES = Array.from({ length: INDEX_LANES }, (_, lane) => lane);

/** SQL: keys as the index has them. */
export const DOCUMENT_KEY = "jsonb_build_array(bank_id::text, document_id)::text";
export const FACT_KEY = "jsonb_build_array(part_seq::text, chunk_no::text, ordinal::text)::text";

interface Erased {
  type: "document" | "fact";
  keys: readonly string[];
}

/** Waits for batches of the drain in flight: those to come see what is erased. */
export async function ownOwnIndex(tx: Tx): Promise<void> {
  const { rows } = await tx.query<{ schema: string }>(
    `select n.nspname as schema from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.oid = 'holdfast.index_rows'::regclass`,
  );
  await ownIndexLanes(tx, rows[0]!.schema, ALL_LANES);
}

/** Removes objects from every generation there is, and from quarantine. The lanes are owned. */
export async function eraseFromIndex(tx: Tx, { type, keys }: Erased): Promise<void> {
  if (keys.length === 0) return;
  const { rows } = await tx.query<{ id: number; generations: number[] }>(
    `select id, array_remove(array[generation, building], null) as generations
       from holdfast.search_indexes i where type = $1 and ${IS_OWN}`,
    [type],
  );
  const index = rows[0];
  if (!index) return;
  const dead = (await findDeadGenerations(tx)).filter(({ indexId }) => indexId === index.id);
  await tx.query(
    `delete from holdfast.index_rows
      where index_id = $1 and generation = any ($2::int[]) and key = any ($3::text[])`,
    [index.id, [...index.generations, ...dead.map(({ generation }) => generation)], keys],
  );
  await tx.query(
    `delete from holdfast.quarantine q
      where queue = $1 and ${IS_OWN.replace("i.schema_name", "q.scope")}
        and exists (select from unnest($2::text[]) as k(key)
                     where q.key = $3 || '/' || k.key
                        or starts_with(q.key, $3 || '/' || left(k.key, 200) || U&'\\2026#'))`,
    [INDEX_QUEUE, keys, type],
  );
}

const IS_OWN = `i.schema_name = (select n.nspname from pg_class c
  join pg_namespace n on n.oid = c.relnamespace where c.oid = 'holdfast.index_rows'::regclass)`;

/** Facts of these parts: those that live, and those that are gone and marked. */
export async function factKeysOf(tx: Tx, seqs: readonly string[]): Promise<string[]> {
  const { rows } = await tx.query<{ key: string }>(
    `select ${FACT_KEY} as key from holdfast.facts where part_seq = any ($1::bigint[])
     union
     select key from holdfast.index_marks i cross join unnest(i.keys) as k(key)
      where i.lane = any ($2::smallint[]) and i.type = 'fact' and i.through is null and ${IS_OWN}
        and split_part(key, '"', 2) = any ($1::text[])`,
    [seqs, ALL_LANES],
  );
  return rows.map((row) => row.key);
}

/** Marks of one statement. */
const MARKS = 200;

/**
 * Of marks that wait: removes what the index has of objects that are gone, and takes their keys out of
 * the marks, for a key may be a word as well. Answers how many marks were changed; 0: it is done.
 */
export async function eraseDeadKeys(tx: Tx, type: "document" | "fact"): Promise<number> {
  await ownOwnIndex(tx);
  const live =
    type === "document"
      ? `select from holdfast.documents d
          where d.bank_id = (key::jsonb ->> 0)::bigint and d.document_id = key::jsonb ->> 1`
      : `select from holdfast.facts f
          where f.part_seq = (key::jsonb ->> 0)::bigint and f.chunk_no = (key::jsonb ->> 1)::int
            and f.ordinal = (key::jsonb ->> 2)::smallint`;
  const isDead = `case when key ~ '^\\["[0-9]+", "' then not exists (${live}) else false end`;
  const { rows } = await tx.query<{ place: string; dead: string[]; live: string[] }>(
    `select i.ctid::text as place, array_agg(key) filter (where dead) as dead,
            coalesce(array_agg(key) filter (where not dead), '{}') as live
       from holdfast.index_marks i
      cross join unnest(i.keys) as k(key)
      cross join lateral (select ${isDead} as dead) as d
      where i.lane = any ($1::smallint[]) and i.type = $2 and i.through is null and ${IS_OWN}
      group by i.ctid having bool_or(dead)
      limit ${MARKS}`,
    [ALL_LANES, type],
  );
  await eraseFromIndex(tx, { type, keys: rows.flatMap((row) => row.dead) });
  for (const { place, live } of rows) {
    if (live.length > 0) {
      await tx.query("update holdfast.index_marks set keys = $2 where ctid = $1::tid", [
        place,
        live,
      ]);
    } else await tx.query("delete from holdfast.index_marks where ctid = $1::tid", [place]);
  }
  return rows.length;
}
