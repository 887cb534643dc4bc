import pg from "pg";
import { onTestFinished } from "vitest";
import type { HoldfastConfig } from "../../contracts/config.ts";
import type { SearchTypeInput } from "../../contracts/search.ts";
import type { Queryable } from "../../db/pool.ts";
import { fresh, type Fresh } from "./fresh.ts";

/** Tables of an application with capture on them, and a connection of the application's own. */

export const SITE: SearchTypeInput = {
  name: "site",
  table: "site",
  fields: [
    { name: "name" },
    { name: "status" },
    { name: "labels", sql: "t.labels::text", columns: ["labels"] },
  ],
};

export const SITE_TABLE = (schema: string) => `
  create schema if not exists ${schema};
  create table ${schema}.site (
    id bigint primary key, name text, status text, labels json, seen timestamptz, region_id int)`;

export interface Capturing extends Fresh {
  app: pg.Client;
  /** Warnings the application's connection was given. */
  warnings: string[];
  config: HoldfastConfig;
  /** Another connection of the application. */
  connected(role?: string): Promise<pg.Client>;
}

/** Runs `sql`, then installs the types. */
export async function capturing(
  sql: string,
  types: SearchTypeInput[],
  search: HoldfastConfig["search"] = {},
): Promise<Capturing> {
  const config = { search: { builtIn: false, types, schemas: ["main"], ...search } };
  const setup = await fresh(config);
  await setup.db.query(sql);
  await setup.holdfast.search.install();
  const connected = async (role?: string) => {
    const url = new URL(setup.url);
    if (role) Object.assign(url, { username: role, password: "x" });
    const client = new pg.Client({ connectionString: url.href, application_name: "app" });
    await client.connect();
    onTestFinished(() => client.end());
    return client;
  };
  const app = await connected();
  const warnings: string[] = [];
  app.on("notice", (notice) => warnings.push(`${notice.severity}: ${notice.message}`));
  return { ...setup, app, warnings, config, connected };
}

/** Takes all marks: `schema.type key`, sorted; `*` for a whole type; a parent's after its dependency. */
export async function takenMarks(db: Queryable): Promise<string[]> {
  const { rows } = await db.query<{ mark: string }>(
    `with taken as (delete from holdfast.index_marks returning *)
     select distinct schema_name || '.' || type || ' ' || coalesce(through || '=', '') ||
            coalesce(key, '*') as mark
       from taken left join lateral unnest(keys) as k(key) on true order by 1`,
  );
  return rows.map((row) => row.mark).toSorted();
}
