import type { HoldfastConfig } from "../../contracts/config.ts";
import type { SearchTypeInput } from "../../contracts/search.ts";
import { expectedRows, readSource } from "../../db/index-source.ts";
import type { Db, Queryable } from "../../db/pool.ts";
import { searchRegistry } from "../../domain/search.ts";
import { listIndexes } from "../../db/search-indexes.ts";

/**
 * An estate of sites, devices in them, their addresses and notes about them, in a main schema and a
 * branch of it: names go down two levels, keys are of one column and of two, numbers and text.
 */

export const ESTATE_SCHEMAS = ["main", "branch"] as const;
export const ESTATE_TABLES = ["sites", "devices", "addresses", "notes"] as const;

const ESTATE_TYPES: SearchTypeInput[] = [
  {
    name: "site",
    table: "sites",
    title: "t.name",
    fields: [
      { name: "name", weight: 100 },
      { name: "code", weight: 50 },
      { name: "tags", weight: 300, many: true },
    ],
  },
  {
    name: "device",
    table: "devices",
    when: "t.status is distinct from 'retired'",
    fields: [
      { name: "name", weight: 100 },
      { name: "status", weight: 400 },
      {
        name: "site",
        weight: 300,
        sql: "(select s.name from {schema}.sites s where s.id = t.site)",
        columns: ["site"],
      },
    ],
    dependsOn: [{ table: "sites", columns: ["name"], via: "site" }],
  },
  {
    name: "address",
    table: "addresses",
    fields: [
      { name: "host", kind: "address", weight: 60 },
      {
        name: "device",
        weight: 300,
        sql: "(select d.name from {schema}.devices d where d.id = t.device)",
        columns: ["device"],
      },
    ],
    dependsOn: [
      {
        table: "devices",
        columns: ["name"],
        where: "t.device = any ({keys}::bigint[])",
      },
    ],
  },
  { name: "note", table: "notes", fields: [{ name: "body", kind: "prose", weight: 5_000 }] },
];

export const ESTATE: HoldfastConfig = {
  search: { schemas: [...ESTATE_SCHEMAS], types: ESTATE_TYPES, builtIn: false },
};

/** The main schema has foreign keys that cascade, the branch has none. */
export async function createEstate(db: Queryable): Promise<void> {
  for (const schema of ESTATE_SCHEMAS) {
    await db.query(`
      create schema ${schema};
      create table ${schema}.sites (id int primary key, name text, code text, tags text[], seen timestamptz);
      create table ${schema}.devices (id bigint primary key, name text, status text, site int);
      create table ${schema}.addresses (vrf text, no int, host inet, device bigint, primary key (vrf, no));
      create table ${schema}.notes (id text primary key, body text, about bigint);
      create index on ${schema}.devices (site);
      create index on ${schema}.addresses (device)`);
  }
  await db.query(`
    alter table main.devices add foreign key (site) references main.sites
      on update cascade on delete set null;
    alter table main.addresses add foreign key (device) references main.devices
      on update cascade on delete cascade`);
}

/** SQL: `sites` sites in every schema with `each` devices, two addresses and a note of each device. */
export function estateSql(sites: number, each: number): string {
  const devices = sites * each;
  return ESTATE_SCHEMAS.map(
    (schema) => `
      insert into ${schema}.sites (id, name, code, tags)
        select n, '${schema} site ' || n, 'S-' || n, array['area ' || n % 3, 'kept']
          from generate_series(1, ${sites}) n;
      insert into ${schema}.devices (id, name, status, site)
        select n, 'router ' || n, case when n % 5 = 0 then 'retired' else 'active' end, 1 + n % ${sites}
          from generate_series(1, ${devices}) n;
      insert into ${schema}.addresses (vrf, no, host, device)
        select v, n, '10.0.0.0'::inet + n, n
          from generate_series(1, ${devices}) n, unnest(array['in "side"', 'out']) v;
      insert into ${schema}.notes (id, body, about)
        select 'note/' || n, repeat('Mounted near the river by order ' || n || '. ', 1 + n % 4), n
          from generate_series(1, ${devices}) n`,
  ).join(";");
}

/** How the searched index differs from a rebuild over committed rows; all zero when it does not. */
export interface Score {
  /** Rows a rebuild would have. */
  missing: number;
  /** Rows that say something else than a rebuild would. */
  stale: number;
  /** Rows of what a rebuild has nothing of. */
  orphan: number;
  /** Rows above one for a place. */
  duplicate: number;
  marks: number;
  held: number;
  drifted: number;
  /** Some of what differs. */
  examples: string[];
}

export const RIGHT: Score = {
  missing: 0,
  stale: 0,
  orphan: 0,
  duplicate: 0,
  marks: 0,
  held: 0,
  drifted: 0,
  examples: [],
};

/** Compares every row of every index with the table it is made from. */
export async function scoreOf(db: Db, config: HoldfastConfig = ESTATE): Promise<Score> {
  const { types, settings } = searchRegistry(config, db.schema);
  const score: Score = { ...RIGHT, examples: [] };
  for (const index of await listIndexes(db)) {
    const source = await readSource(db, index.schema, types.get(index.type)!);
    const { rows } = await db.query<Differing>(
      `with expected as (${expectedRows(source, settings.language, "true")}),
            actual as (
              select key, field, part, weight, kind, value, net, words,
                     row_number() over (partition by key, field, part) as no
                from holdfast.index_rows where index_id = $1 and generation = $2)
       select case when e.key is null then 'orphan' when a.key is null then 'missing'
                   when a.no > 1 then 'duplicate' else 'stale' end as is,
              coalesce(e.key, a.key) as key, coalesce(e.field, a.field) as field,
              a.value as found, e.value as expected
         from expected e
         full join actual a on (a.key, a.field, a.part) = (e.key, e.field, e.part)
        where e.key is null or a.key is null or a.no > 1
           or (a.weight, a.kind, a.value, a.net, a.words)
              is distinct from (e.weight, e.kind, e.value, e.net, e.words)`,
      [index.id, index.generation],
    );
    for (const { is, key, field, found, expected } of rows) {
      score[is]++;
      if (score.examples.length >= 10) continue;
      const place = `${index.schema}.${index.type} ${key} ${field}`;
      score.examples.push(`${is}: ${place} is ${show(found)}, not ${show(expected)}`);
    }
    if (index.driftedAt) score.drifted++;
  }
  const { rows } = await db.query<{ marks: number; held: number }>(
    `select (select count(*) from holdfast.index_marks)::int as marks,
            (select count(*) from holdfast.quarantine where queue = 'index')::int as held`,
  );
  return { ...score, ...rows[0]! };
}

interface Differing {
  is: "missing" | "stale" | "orphan" | "duplicate";
  key: string;
  field: string;
  found: string | null;
  expected: string | null;
}

const show = (value: string | null) =>
  value === null ? "absent" : JSON.stringify(value.slice(0, 60));
