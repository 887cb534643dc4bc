import type { Db, Queryable } from "../db/pool.ts";
import { indexOf } from "./search-objects.ts";

/**
 * The index somebody keeps by hand: the same rows into a table with the same columns and indexes.
 * No marks, no lanes, no second generation, nothing about savepoints, deadlocks or crashes.
 */

/** The rows that devices have in the index. `where` is a condition over `t`. */
const rowsOf = (devices: string, where: string, { id, generation } = { id: 1, generation: 0 }) => `
  select ${id}, ${generation}, 0, f.weight, f.kind, t.id::text, f.field, f.value, f.net, f.words
    from ${devices} t
   cross join lateral (values
     ('serial', 50::smallint, 'text', t.serial, null::inet, null::tsvector),
     ('name', 100, 'text', t.name, null, null),
     ('address', 150, 'address', t.address::text, host(t.address)::inet, null),
     ('comments', 5000, 'prose', t.comments, null, to_tsvector('pg_catalog.english', t.comments))
   ) as f(field, weight, kind, value, net, words)
   where ${where}`;

const COLUMNS = "(index_id, generation, part, weight, kind, key, field, value, net, words)";
const INTO = `insert into rival.index_rows ${COLUMNS}`;

export async function createRival(db: Queryable): Promise<void> {
  await db.query(
    `create schema rival;
     create table rival.index_rows (like holdfast.index_rows including all)`,
  );
}

/** All rows, in one statement, beside those of other generations. */
export async function insertAll(db: Queryable, schema: string, generation = 0): Promise<void> {
  await db.query(`${INTO} ${rowsOf(`${schema}.devices`, "true", { id: 1, generation })}`);
}

/** The rows of the index itself, made anew in one statement and indexed after. */
export async function fillIndex(db: Db, schema: string): Promise<void> {
  const index = await indexOf(db, schema);
  const { rows: large } = await db.query<{ name: string; definition: string }>(
    `select indexrelid::regclass::text as name, pg_get_indexdef(indexrelid) as definition
       from pg_index where indrelid = 'holdfast.index_rows'::regclass and not indisprimary`,
  );
  for (const { name } of large) await db.query(`drop index ${name}`);
  await db.query(
    `insert into holdfast.index_rows ${COLUMNS} ${rowsOf(`${schema}.devices`, "true", index)}`,
  );
  for (const { definition } of large) await db.query(definition);
  await db.query("vacuum analyze holdfast.index_rows");
}

/** Deletes the rows of these devices and inserts them anew, in one transaction. */
export async function replaceRows(db: Db, schema: string, ids: readonly number[]): Promise<void> {
  await db.transaction(async (tx) => {
    await tx.query(
      "delete from rival.index_rows where index_id = 1 and generation = 0 and key = any ($1::text[])",
      [ids.map(String)],
    );
    await tx.query(`${INTO} ${rowsOf(`${schema}.devices`, "t.id = any ($1::bigint[])")}`, [ids]);
  });
}

/** Triggers that keep the rows in the writer's own transaction. */
export async function indexInTransaction(db: Queryable, schema: string): Promise<void> {
  const gone = `delete from rival.index_rows
    where index_id = 1 and generation = 0 and key = any (array(select id::text from old_rows))`;
  const come = `${INTO} ${rowsOf("new_rows", "true")}`;
  const on = (event: string, tables: string, body: string) => `
    create function rival.on_${event}() returns trigger language plpgsql as $$
      begin ${body}; return null; end $$;
    create trigger index_${event} after ${event} on ${schema}.devices ${tables}
      for each statement execute function rival.on_${event}();`;
  await db.query(
    on("insert", "referencing new table as new_rows", come) +
      on("update", "referencing old table as old_rows new table as new_rows", `${gone}; ${come}`) +
      on("delete", "referencing old table as old_rows", gone),
  );
}

const SHOWN = "key, field, part, weight, kind, value, net, words";

/** Rows that the index of a schema has and should not have, or has not and should have. */
export async function countDifferent(db: Db, schema: string): Promise<number> {
  const { id, generation } = await indexOf(db, schema);
  const wanted = `select ${SHOWN} from (${rowsOf(`${schema}.devices`, "true")})
    as w${COLUMNS}`;
  const actual = `select ${SHOWN} from holdfast.index_rows
    where index_id = ${id} and generation = ${generation}`;
  const { rows } = await db.query<{ n: number }>(
    `select ((select count(*) from (${wanted} except all ${actual}) m)
           + (select count(*) from (${actual} except all ${wanted}) e))::int as n`,
  );
  return rows[0]!.n;
}
