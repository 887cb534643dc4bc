import type { HoldfastConfig } from "../../contracts/config.ts";
import type { SearchTypeInput } from "../../contracts/search.ts";
import { applyKeys, indexSql } from "../../db/index-apply.ts";
import { ALL_LANES } from "../../db/index-lanes.ts";
import { expectedRows, readSource } from "../../db/index-source.ts";
import { ownIndexLanes } from "../../db/locks.ts";
import type { Db, Queryable } from "../../db/pool.ts";
import { findIndex, listIndexes } from "../../db/search-indexes.ts";
import { captureDigest, definitionDigest, searchRegistry } from "../../domain/search.ts";

/** Sites and their racks in two schemas, indexed but not yet built. */

export const SITES: SearchTypeInput = {
  name: "site",
  table: "sites",
  fields: [
    { name: "name", weight: 100 },
    { name: "address", kind: "address", column: "ip", weight: 200 },
    { name: "notes", kind: "prose", weight: 5_000 },
    { name: "ratio", kind: "number", sql: "100 / t.divisor", columns: ["divisor"] },
  ],
};

/** A key of two columns, and rows that are not indexed. */
export const RACKS: SearchTypeInput = {
  name: "rack",
  table: "racks",
  when: "not t.hidden",
  fields: [{ name: "label", weight: 100 }],
};

export const SEARCHED: HoldfastConfig = {
  search: { schemas: ["crm", "branch"], types: [SITES, RACKS], builtIn: false },
};

export async function makeTables(db: Queryable, schema: string, sites: number): Promise<void> {
  await db.query(`
    create schema ${schema};
    create table ${schema}.sites (
      id bigint primary key, name text, ip inet, notes text, divisor int not null default 1);
    create table ${schema}.racks (
      site_id bigint, code varchar(20), label text, hidden boolean not null default false,
      primary key (site_id, code));
    insert into ${schema}.sites (id, name, ip, notes)
      select n, '${schema} site ' || n, '10.0.0.0'::inet + n, 'Stands by river number ' || n
        from generate_series(1, ${sites}) n;
    insert into ${schema}.racks (site_id, code, label, hidden)
      select n / 3, 'r "' || n, 'Rack ' || n, n % 5 = 0 from generate_series(1, ${sites}) n`);
}

/** The row of each index, without triggers: what these tests write they mark by hand. */
export async function install(
  db: Queryable,
  schema: string,
  config: HoldfastConfig,
): Promise<void> {
  const { types, settings } = searchRegistry(config, "holdfast");
  for (const type of types.values()) {
    await db.query(
      `insert into holdfast.search_indexes (schema_name, schema_oid, type, definition, capture)
       select nspname, oid, $2, $3, $4 from pg_namespace where nspname = $1`,
      [schema, type.name, definitionDigest(type, settings.language), captureDigest(type)],
    );
  }
}

/** What the drain does for some objects: under their lanes, in every generation that is kept. */
export async function drained(
  db: Db,
  config: HoldfastConfig,
  schema: string,
  typeName: string,
  keys: readonly string[],
): Promise<void> {
  const { types, settings } = searchRegistry(config, db.schema);
  await db.transaction(async (tx) => {
    await ownIndexLanes(tx, schema, ALL_LANES);
    const index = await findIndex(tx, schema, typeName);
    const source = await readSource(tx, schema, types.get(typeName)!);
    await applyKeys(tx, index!, { source, sql: indexSql(source, settings.language) }, keys);
  });
}

/** Rows that are in the searched generation or in a rebuild of it, and not in both: none is right. */
export async function differences(db: Db, config: HoldfastConfig, of = ""): Promise<unknown[]> {
  const { types, settings } = searchRegistry(config, db.schema);
  const found: unknown[] = [];
  for (const index of await listIndexes(db)) {
    if (!`${index.schema}.${index.type}`.startsWith(of)) continue;
    const source = await readSource(db, index.schema, types.get(index.type)!);
    const { rows } = await db.query(
      `with expected as (${expectedRows(source, settings.language, "true")}),
            actual as (select key, field, part, weight, kind, value, net, words
                         from holdfast.index_rows where index_id = $1 and generation = $2)
       select $3::text as index, d.* from (
         (select 'missing' as is, e.* from (select * from expected except select * from actual) e)
         union all
         (select 'extra' as is, a.* from (select * from actual except select * from expected) a)) d`,
      [index.id, index.generation, `${index.schema}.${index.type}`],
    );
    found.push(...rows);
  }
  return found;
}

export async function builtRows(db: Db): Promise<Record<string, number>> {
  const { rows } = await db.query<{ name: string; n: number }>(
    `select i.schema_name || '.' || i.type as name, count(r.key)::int as n
       from holdfast.search_indexes i
       left join holdfast.index_rows r on r.index_id = i.id and r.generation = i.generation
      group by 1 order by 1`,
  );
  return Object.fromEntries(rows.map(({ name, n }) => [name, n]));
}
