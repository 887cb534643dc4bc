import { connect, type Holdfast, type HoldfastConfig } from "../../client/index.ts";
import type { SearchTypeInput } from "../../contracts/search.ts";
import { expectedRows, readSource } from "../../db/index-source.ts";
import type { Db } from "../../db/pool.ts";
import { captureDigest, definitionDigest, searchRegistry } from "../../domain/search.ts";
import { testDatabase } from "./database.ts";

/** An inventory to search in: sites, devices and notes of two tenants, in any schema. */
export const INVENTORY_TYPES: SearchTypeInput[] = [
  {
    name: "site",
    label: "Sites",
    category: "Places",
    table: "sites",
    title: "t.name",
    visible: "viewer -> 'tenants' is null or viewer -> 'tenants' ? t.tenant",
    url: "https://inventory.example/sites/{key}",
    fields: [
      { name: "serial", weight: 50 },
      { name: "name", weight: 100 },
      { name: "floors", kind: "number", weight: 200 },
      { name: "description", weight: 500 },
    ],
    display: [{ name: "status" }, { name: "opened", label: "Opened on", sql: "t.opened::text" }],
  },
  {
    name: "device",
    label: "Devices",
    category: "Hardware",
    table: "devices",
    visible: "viewer -> 'tenants' is null or viewer -> 'tenants' ? t.tenant",
    fields: [
      { name: "name", weight: 100 },
      { name: "address", kind: "address", weight: 150 },
      { name: "network", kind: "network", weight: 160 },
      { name: "tags", weight: 300, many: true },
      { name: "comments", kind: "prose", weight: 5_000 },
    ],
  },
  // Without `visible`: for callers of all tenants.
  { name: "port", table: "ports", fields: [{ name: "label", weight: 100 }] },
];

export async function createInventory(db: Db, schema: string): Promise<void> {
  await db.query(`create schema if not exists ${schema}`);
  await db.query(
    `create table ${schema}.sites (id int primary key, tenant text not null default 'acme',
       name text, serial text, floors int, description text, status text, opened date)`,
  );
  await db.query(
    `create table ${schema}.devices (id bigint primary key, tenant text not null default 'acme',
       name text, address text, network text, tags text[], comments text)`,
  );
  await db.query(
    `create table ${schema}.ports (device bigint, no int, label text, primary key (device, no))`,
  );
}

export interface Searching extends AsyncDisposable {
  holdfast: Holdfast;
  db: Db;
  databaseUrl: string;
  config: HoldfastConfig;
  /** Installs the types of a schema and makes their index rows what they should be. */
  fill(schema?: string): Promise<void>;
}

/** An inventory in `public`, indexed by hand where a test says so. */
export async function searching(search: HoldfastConfig["search"] = {}): Promise<Searching> {
  const database = await testDatabase();
  const config = { search: { types: INVENTORY_TYPES, builtIn: false, ...search } };
  const holdfast = connect({ databaseUrl: database.url, poolSize: 4, config });
  const { db } = holdfast;
  await createInventory(db, "public");
  return {
    holdfast,
    db,
    databaseUrl: database.url,
    config,
    fill: (schema = "public") => fillIndexes(db, config, schema),
    [Symbol.asyncDispose]: async () => {
      await holdfast.close();
      await database.drop();
    },
  };
}

/** As a drain leaves it: every type of the schema installed, its rows those of the live objects. */
export async function fillIndexes(db: Db, config: HoldfastConfig, schema: string): Promise<void> {
  const { types, settings } = searchRegistry(config, db.schema);
  for (const type of types.values()) {
    if (type.schema !== undefined && type.schema !== schema) continue;
    const source = await readSource(db, schema, type);
    const { rows } = await db.query<{ id: number; generation: number }>(
      `insert into holdfast.search_indexes
              (schema_name, schema_oid, type, definition, capture, built_at)
       values ($1, $2, $3, $4, $5, now())
       on conflict (schema_name, type) do update set built_at = now() returning id, generation`,
      [
        schema,
        source.schemaOid,
        type.name,
        definitionDigest(type, settings.language),
        captureDigest(type),
      ],
    );
    const { id, generation } = rows[0]!;
    await db.query("delete from holdfast.index_rows where index_id = $1", [id]);
    await db.query(
      `insert into holdfast.index_rows
              (index_id, generation, key, field, part, weight, kind, value, net, words)
       select $1, $2, e.* from (${expectedRows(source, settings.language, "true")}) e`,
      [id, generation],
    );
  }
}
