import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import pg from "pg";
import { migrate } from "../../db/migrate.ts";

const DB = new URL("../../db/", import.meta.url);
// Any number, as long as everybody who makes templates on one server uses the same.
const MAKING_TEMPLATES = 4_210_017;

/**
 * Makes the migrated database that test databases are copied from, unless the server has it. Its name
 * carries a hash of the migrations, so people with different migrations can share a server.
 * @returns its name.
 */
export async function makeTemplate(databaseUrl: string): Promise<string> {
  const name = `holdfast_template_${await migrationsHash()}`;
  const making = `${name}_making`;
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query("select pg_advisory_lock($1)", [MAKING_TEMPLATES]);
    const { rowCount } = await client.query("select from pg_database where datname = $1", [name]);
    if (rowCount === 1) return name;
    await client.query(`drop database if exists ${making} with (force)`);
    await client.query(`create database ${making}`);
    await migrate(inDatabase(databaseUrl, making));
    await client.query(`alter database ${making} rename to ${name}`);
    return name;
  } finally {
    await client.end();
  }
}

/** The same server and login, another database. */
export function inDatabase(databaseUrl: string, database: string): string {
  const url = new URL(databaseUrl);
  url.pathname = `/${database}`;
  return url.href;
}

async function migrationsHash(): Promise<string> {
  const hash = createHash("sha256");
  const migrations = (await readdir(new URL("migrations/", DB))).filter((file) =>
    file.endsWith(".sql"),
  );
  for (const file of ["migrate.ts", ...migrations.toSorted().map((file) => `migrations/${file}`)]) {
    hash.update(`${file}\n`).update(await readFile(new URL(file, DB)));
  }
  return hash.digest("hex").slice(0, 12);
}
