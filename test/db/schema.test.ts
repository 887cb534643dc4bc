import { readFileSync } from "node:fs";
import pg from "pg";
import { v7 as uuidv7 } from "uuid";
import { expect, onTestFinished, test } from "vitest";
import { connect } from "../../client/index.ts";
import { SchemaMismatch } from "../../contracts/errors.ts";
import { dumpSchema, SCHEMA_FILE } from "../../db/dump.ts";
import { assertSchema, knownMigrations, migrate, printMigrations } from "../../db/migrate.ts";
import { makePartitions, operationIdBound } from "../../db/partitions.ts";
import { openDb, type Db } from "../../db/pool.ts";
import { documents, fresh } from "../support/fresh.ts";

async function emptied(): Promise<{ url: string; db: Db }> {
  const { url, db } = await fresh();
  await db.query("drop schema holdfast cascade");
  return { url, db };
}

const dumped = (db: Db, schema?: string) => db.transaction((tx) => dumpSchema(tx, schema));

test("db/schema.sql is the schema after all migrations", async () => {
  const { db } = await fresh();
  const hint = 'a migration changed: run "npx tsx db/dump.ts --write" and review the difference';
  expect(await dumped(db), hint).toBe(readFileSync(SCHEMA_FILE, "utf8"));
});

test("twenty migrators of one empty database apply each migration once", async () => {
  const { url, db } = await emptied();
  const answers = await Promise.all(Array.from({ length: 20 }, () => migrate(url)));
  const applied = answers.flatMap((answer) => answer.applied);
  expect(applied.toSorted()).toEqual(
    knownMigrations().map(({ version, name }) => `${String(version).padStart(4, "0")}_${name}`),
  );
  expect(await dumped(db)).toBe(readFileSync(SCHEMA_FILE, "utf8"));
  expect(await migrate(url)).toMatchObject({ applied: [] });
});

test("another schema name works from migration to a read of what was accepted", async () => {
  const { url, db } = await emptied();
  await migrate(url, { schema: "other" });
  expect(await dumped(db, "other")).toBe(readFileSync(SCHEMA_FILE, "utf8"));

  const holdfast = connect({ databaseUrl: url, schema: "other" });
  onTestFinished(() => holdfast.close());
  await assertSchema(holdfast.db);
  const accepted = await holdfast.retain.submit({ bank: "notes", key: "k", items: documents(3) });
  expect(await holdfast.operation.get(accepted.id)).toMatchObject({ total: 3, state: "accepted" });
  expect((await holdfast.operation.items(accepted.id)).items).toHaveLength(3);
  expect(await holdfast.operation.cancel(accepted.id)).toMatchObject({ state: "cancelled" });
  expect(await holdfast.operation.events(accepted.id)).toHaveLength(1);
  const { rows } = await db.query("select 1 from pg_namespace where nspname = 'holdfast'");
  expect(rows).toEqual([]);
});

test("a migration that was edited after it was applied is refused", async () => {
  const { url, db } = await fresh();
  await db.query("update holdfast.schema_migrations set checksum = 'other' where version = 2");
  await expect(migrate(url)).rejects.toThrow(
    /migration 2 \(retain\) was applied with another content: restore the file/,
  );
});

test("the printed migrations are the migrations, and accept needs nothing more", async () => {
  const { url, db } = await emptied();
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  onTestFinished(() => client.end());
  await client.query(printMigrations());
  await assertSchema(db);
  expect(await dumped(db)).toBe(readFileSync(SCHEMA_FILE, "utf8"));
  expect(await migrate(url)).toMatchObject({ applied: [] });

  const holdfast = connect({ databaseUrl: url });
  onTestFinished(() => holdfast.close());
  await holdfast.retain.submit({ bank: "notes", items: documents(2) });
  const { rows } = await db.query<{ n: number }>(
    "select count(*)::int as n from holdfast.items_default",
  );
  expect(rows[0]!.n).toBe(0);
});

test("a database that is empty, behind, or ahead by a breaking migration is refused with what to do", async () => {
  const { db } = await fresh();
  const set = (sql: string) => db.query(sql);
  await assertSchema(db);

  await set("insert into holdfast.schema_migrations values (9000, 'later', 'x', false)");
  await assertSchema(db);
  await set("update holdfast.schema_migrations set breaking = true where version = 9000");
  await expect(assertSchema(db)).rejects.toThrow(
    "the database has breaking migration 9000, newer than this version: upgrade this process",
  );

  await set("delete from holdfast.schema_migrations where version > 1");
  const behind = assertSchema(db);
  await expect(behind).rejects.toThrow(/behind by \d+ migration.*run "holdfast migrate"/);
  await expect(behind).rejects.toBeInstanceOf(SchemaMismatch);

  await set("drop schema holdfast cascade");
  await expect(assertSchema(db)).rejects.toThrow('not there yet: run "holdfast migrate"');
});

test("a role that owns the database and is no superuser can migrate and accept", async () => {
  const { url, db } = await emptied();
  const role = `owner_${process.pid}_${Date.now()}`;
  const { rows } = await db.query<{ name: string }>("select current_database() as name");
  await db.query(`create role ${role} login password 'x' nosuperuser nocreaterole`);
  await db.query(`alter database ${rows[0]!.name} owner to ${role}`);
  const theirs = new URL(url);
  theirs.username = role;
  theirs.password = "x";
  const holdfast = connect({ databaseUrl: theirs.href });
  onTestFinished(async () => {
    await holdfast.close();
    await db.query(`alter database ${rows[0]!.name} owner to current_user`);
    await db.query(`drop owned by ${role} cascade`);
    await db.query(`drop role ${role}`);
  });
  await migrate(theirs.href);
  const accepted = await holdfast.retain.submit({ bank: "notes", items: documents(2) });
  expect(await holdfast.operation.cancel(accepted.id)).toMatchObject({ state: "cancelled" });
});

test("rows that came before their partition move into it, and the other partitions are made", async () => {
  const { db, holdfast } = await fresh();
  const { id } = await holdfast.retain.submit({ bank: "notes", items: documents(3) });
  const inSixWeeks = Date.now() + 6 * 7 * 86_400_000;
  const late = `${operationIdBound(inSixWeeks).slice(0, 14)}7000-8000-000000000001`;
  await db.query(
    "insert into holdfast.items (operation_id, no, batch, size) values ($1, 1, 1, 1)",
    [late],
  );
  await db.query(
    "insert into holdfast.logs (at, operation_id, level, message) values ($1, $2, 'info', 'late')",
    [new Date(inSixWeeks), late],
  );
  const standing = async (table: string) =>
    (
      await db.query<{ at: string }>(
        `select relname as at from holdfast.${table} t join pg_class c on c.oid = t.tableoid where operation_id = $1`,
        [late],
      )
    ).rows[0]!.at;
  expect(await standing("items")).toBe("items_default");

  await Promise.all(Array.from({ length: 4 }, () => makePartitions(db, inSixWeeks)));
  expect(await standing("items")).toMatch(/^items_\d{8}$/);
  expect(await standing("logs")).toMatch(/^logs_\d{8}$/);
  expect((await holdfast.operation.items(id)).items).toHaveLength(3);
  const { rows } = await db.query<{ n: number }>(
    "select count(*)::int as n from pg_inherits where inhparent = 'holdfast.outcomes'::regclass",
  );
  expect(rows[0]!.n).toBe(1 + 5 + 5);
  expect(await dumped(db)).toBe(readFileSync(SCHEMA_FILE, "utf8"));
});

test("a client outlives a schema that is dropped and made anew beneath it", async () => {
  const { url, db, holdfast } = await fresh();
  await holdfast.retain.submit({ bank: "notes", items: documents(2) });
  await db.query("drop schema holdfast cascade");
  await expect(holdfast.retain.submit({ bank: "notes", items: documents(2) })).rejects.toThrow(
    /does not fit this version.*run "holdfast migrate"/,
  );
  await migrate(url);
  const accepted = await holdfast.retain.submit({ bank: "notes", items: documents(2) });
  expect(await holdfast.operation.get(accepted.id)).toMatchObject({ total: 2 });
});

test("a schema name that is no plain name is refused before it reaches SQL", () => {
  expect(() => openDb({ url: "postgres://x", schema: `a"; drop` })).toThrow(/lower-case letters/);
  expect(uuidv7() > operationIdBound(Date.now() - 1)).toBe(true);
});
