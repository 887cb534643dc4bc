import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { SchemaMismatch } from "../contracts/errors.ts";
import { qualifier, runner, type Queryable } from "./pool.ts";
import { makePartitions, partitionStatements } from "./partitions.ts";

/** Migrations are plain SQL, forward only, one transaction each, in the order of their numbers. */
export interface Migration {
  version: number;
  name: string;
  sql: string;
  checksum: string;
  /** Older workers must not run against a database that has this migration. */
  breaking: boolean;
}

const FOLDER = new URL("./migrations/", import.meta.url);
// Any two migrators of one database meet at this lock, whatever schema they migrate.
const MIGRATION_LOCK = 7_260_413_001;

/** Every migration this version knows, oldest first. */
export function knownMigrations(): Migration[] {
  return readdirSync(FOLDER)
    .filter((file) => /^\d{4}_.+\.sql$/.test(file))
    .toSorted()
    .map((file) => {
      const sql = readFileSync(fileURLToPath(new URL(file, FOLDER)), "utf8");
      return {
        version: Number(file.slice(0, 4)),
        name: file.slice(5, -4),
        sql,
        checksum: createHash("sha256").update(sql.replaceAll("\r\n", "\n")).digest("hex"),
        breaking: /^-- breaking\b/m.test(sql),
      };
    });
}

/** The whole schema as one script a DBA can read and run. */
export function printMigrations(schema = "holdfast"): string {
  const qualify = qualifier(schema);
  const steps = knownMigrations().map(
    ({ version, name, sql, checksum, breaking }) =>
      `-- ${version} ${name}\nbegin;\n${qualify(sql)}\n${qualify(
        `insert into holdfast.schema_migrations (version, name, checksum, breaking) values (${version}, '${name}', '${checksum}', ${breaking});`,
      )}\ncommit;\n`,
  );
  return [
    qualify(BOOTSTRAP.replaceAll("SCHEMA", schema)),
    ...steps,
    "-- partitions of the time ahead; a worker makes more as time goes on",
    qualify(partitionStatements()),
  ].join("\n");
}

const BOOTSTRAP = `create schema if not exists SCHEMA;
create table if not exists holdfast.schema_migrations (
  version integer primary key,
  name text not null,
  checksum text not null,
  breaking boolean not null,
  applied_at timestamptz not null default clock_timestamp()
);`;

/**
 * Brings a database to this version's schema. Safe to run from any number of processes at once.
 * Refuses when an applied migration differs from the file of the same number.
 */
export async function migrate(
  databaseUrl: string,
  options: { schema?: string } = {},
): Promise<{ applied: string[]; version: number }> {
  const schema = options.schema ?? "holdfast";
  const qualify = qualifier(schema);
  const client = new pg.Client({
    connectionString: databaseUrl,
    application_name: "holdfast-migrate",
  });
  await client.connect();
  try {
    const applied: string[] = [];
    for (;;) {
      const name = await applyNext(client, schema, qualify);
      if (name === undefined) break;
      applied.push(name);
    }
    await makePartitions({ query: runner(client, qualify) });
    return { applied, version: knownMigrations().at(-1)?.version ?? 0 };
  } finally {
    await client.end();
  }
}

// One transaction per migration, each under the lock, so that a crash leaves a whole number of them.
async function applyNext(
  client: pg.Client,
  schema: string,
  qualify: (text: string) => string,
): Promise<string | undefined> {
  await client.query("begin");
  try {
    await client.query("select pg_advisory_xact_lock($1)", [MIGRATION_LOCK]);
    await client.query(qualify(BOOTSTRAP.replaceAll("SCHEMA", schema)));
    const { rows } = await client.query<{ version: number; name: string; checksum: string }>(
      qualify("select version, name, checksum from holdfast.schema_migrations order by version"),
    );
    assertUnchanged(rows);
    const done = new Set(rows.map((row) => row.version));
    const next = knownMigrations().find((migration) => !done.has(migration.version));
    if (!next) {
      await client.query("commit");
      return undefined;
    }
    await client.query(qualify(next.sql));
    await client.query(
      qualify(
        "insert into holdfast.schema_migrations (version, name, checksum, breaking) values ($1, $2, $3, $4)",
      ),
      [next.version, next.name, next.checksum, next.breaking],
    );
    await client.query("commit");
    return `${String(next.version).padStart(4, "0")}_${next.name}`;
  } catch (error) {
    await client.query("rollback");
    throw error;
  }
}

function assertUnchanged(applied: { version: number; name: string; checksum: string }[]): void {
  const known = new Map(knownMigrations().map((migration) => [migration.version, migration]));
  for (const { version, name, checksum } of applied) {
    const ours = known.get(version);
    if (ours && ours.checksum !== checksum) {
      throw new SchemaMismatch(
        `migration ${version} (${name}) was applied with another content: restore the file, migrations are never edited`,
      );
    }
  }
}

/**
 * Refuses to run against a schema that is missing, behind this version, or ahead by a breaking
 * migration. Ahead by expanding migrations is fine: that is a rolling upgrade.
 */
export async function assertSchema(db: Queryable): Promise<void> {
  const applied = await appliedVersions(db);
  const missing = knownMigrations().filter(({ version }) => !applied.has(version));
  if (missing.length > 0) {
    throw new SchemaMismatch(
      `the database schema is ${applied.size === 0 ? "not there yet" : `behind by ${missing.length} migration(s)`}: run "holdfast migrate"`,
    );
  }
  const newest = knownMigrations().at(-1)?.version ?? 0;
  for (const [version, breaking] of applied) {
    if (version > newest && breaking) {
      throw new SchemaMismatch(
        `the database has breaking migration ${version}, newer than this version: upgrade this process`,
      );
    }
  }
}

async function appliedVersions(db: Queryable): Promise<Map<number, boolean>> {
  try {
    const { rows } = await db.query<{ version: number; breaking: boolean }>(
      "select version, breaking from holdfast.schema_migrations",
    );
    return new Map(rows.map((row) => [row.version, row.breaking]));
  } catch (error) {
    const code = (error as { code?: string }).code;
    if (code === "42P01" || code === "3F000") return new Map();
    throw error;
  }
}
