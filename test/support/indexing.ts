import { searchActivities, type SearchDeps } from "../../activities/search.ts";
import type { HoldfastConfig } from "../../contracts/config.ts";
import type { Drained } from "../../contracts/messages.ts";
import type { SearchBackend, SearchTypeInput } from "../../contracts/search.ts";
import { ALL_LANES } from "../../db/index-lanes.ts";
import { expectedRows, readSource } from "../../db/index-source.ts";
import type { Db, Queryable } from "../../db/pool.ts";
import { captureDigest, definitionDigest, searchRegistry } from "../../domain/search.ts";
import { fresh, type Fresh } from "./fresh.ts";
import { inActivity } from "./retaining.ts";

/** Cities and their people in two schemas, installed without triggers: marks are made by the test. */

const CITY: SearchTypeInput = {
  name: "city",
  table: "cities",
  fields: [
    { name: "name", weight: 100 },
    { name: "founded", kind: "number", weight: 200 },
    // Fails for a city whose size is 0.
    { name: "density", kind: "number", weight: 300, sql: "1000 / t.size", columns: ["size"] },
    { name: "notes", kind: "prose", weight: 5_000 },
  ],
};

const PERSON: SearchTypeInput = {
  name: "person",
  table: "people",
  fields: [
    { name: "name", weight: 100 },
    {
      name: "city",
      weight: 300,
      columns: ["city"],
      sql: "(select c.name from {schema}.cities c where c.id = t.city)",
    },
  ],
  dependsOn: [{ table: "cities", columns: ["name"], via: "city" }],
};

const SCHEMAS = ["main", "branch"];

export interface Indexing extends Fresh {
  config: HoldfastConfig;
  /** Runs the drain of every lane until none has more to do. */
  drained(using?: Db, deps?: Partial<SearchDeps>): Promise<Drained[]>;
}

export async function indexing(
  search: HoldfastConfig["search"] = {},
  { backend }: { backend?: SearchBackend } = {},
): Promise<Indexing> {
  const config: HoldfastConfig = {
    search: {
      schemas: SCHEMAS,
      types: [CITY, PERSON],
      builtIn: false,
      ...(backend && { backend }),
      ...search,
    },
  };
  const made = await fresh(config);
  for (const schema of SCHEMAS) await createCities(made.db, schema);
  await install(made.db, config);
  return {
    ...made,
    config,
    drained: (using = made.db, deps = {}) => drainAll({ db: using, config, ...deps }),
  };
}

export async function createCities(db: Queryable, schema: string): Promise<void> {
  await db.query(`create schema ${schema}`);
  await db.query(
    `create table ${schema}.cities (id bigint primary key, name text, founded int,
       size int not null default 10, notes text)`,
  );
  await db.query(
    `create table ${schema}.people (country text, no int, name text, city bigint,
       primary key (country, no))`,
  );
}

/** As `search install` leaves it, but for the triggers. */
export async function install(
  db: Db,
  config: HoldfastConfig,
  schemas: readonly string[] = SCHEMAS,
): Promise<void> {
  const { types, settings } = searchRegistry(config, db.schema);
  for (const schema of schemas) {
    for (const type of types.values()) {
      await db.query(
        `insert into holdfast.search_indexes
                (schema_name, schema_oid, type, definition, capture, built_at)
         values ($1, $1::text::regnamespace, $2, $3, $4, now())`,
        [schema, type.name, definitionDigest(type, settings.language), captureDigest(type)],
      );
    }
  }
}

export function drainLane(deps: SearchDeps, lane: number): Promise<Drained> {
  const { drainIndex } = searchActivities({ lingerMs: 0, ...deps });
  return inActivity(() => drainIndex({ queue: "index", lane }));
}

async function drainAll(deps: SearchDeps): Promise<Drained[]> {
  for (let rounds = 0; rounds < 100; rounds++) {
    const answers: Drained[] = [];
    for (const lane of ALL_LANES) answers.push(await drainLane(deps, lane));
    // What one lane finds may be marks of another.
    if (answers.every((one) => !one.more) && (await marksLeft(deps.db)) === 0) return answers;
    if (answers.some((one) => one.nextDueAt !== undefined)) return answers;
  }
  throw new Error("the drain does not come to its end");
}

export async function marksLeft(db: Queryable): Promise<number> {
  const { rows } = await db.query<{ n: number }>(
    "select count(*)::int as n from holdfast.index_marks",
  );
  return rows[0]!.n;
}

/** Index rows as `schema.type key field = value`, of what is searched. */
export async function indexed(db: Queryable): Promise<string[]> {
  const { rows } = await db.query<{ row: string }>(
    `select format('%s.%s %s %s.%s = %s', i.schema_name, i.type, r.key, r.field, r.part, r.value) as row
       from holdfast.index_rows r
       join holdfast.search_indexes i on i.id = r.index_id and i.generation = r.generation
      order by 1`,
  );
  return rows.map(({ row }) => row);
}

/** The same, as a full rebuild from what is committed would give it. */
export async function rebuilt(db: Db, config: HoldfastConfig): Promise<string[]> {
  const { types, settings } = searchRegistry(config, db.schema);
  const all: string[] = [];
  for (const schema of settings.schemas) {
    for (const type of types.values()) {
      const source = await readSource(db, schema, type);
      const { rows } = await db.query<{ row: string }>(
        `select format('%s.%s %s %s.%s = %s', $1::text, $2::text, e.key, e.field, e.part, e.value) as row
           from (${expectedRows(source, settings.language, "true")}) e`,
        [schema, type.name],
      );
      all.push(...rows.map(({ row }) => row));
    }
  }
  return all.toSorted();
}

/** Everything there is of index rows, to the byte, with where they stand. */
export async function rowsAsTheyAre(db: Queryable): Promise<unknown[]> {
  const { rows } = await db.query(
    "select ctid::text as place, xmin::text, r.* from holdfast.index_rows r order by 1, 2",
  );
  return rows;
}
