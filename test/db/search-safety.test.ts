import { describe, expect, test } from "vitest";
import { connect } from "../../client/index.ts";
import type { SearchTypeInput } from "../../contracts/search.ts";
import { indexDrain } from "../../db/index-drain.ts";
import { ALL_LANES } from "../../db/index-lanes.ts";
import { expectedRows, PART_OVERLAP, PART_SIZE, readSource } from "../../db/index-source.ts";
import { IndexSources } from "../../db/index-sources.ts";
import { searchRegistry } from "../../domain/search.ts";
import { capturing, SITE, SITE_TABLE, takenMarks } from "../support/capturing.ts";
import { fresh } from "../support/fresh.ts";

/** Tables and roles of others: neither hostile nor merely odd ones turn what search does. */

test("a role that may write a table runs no code of its own as the role of Holdfast", async () => {
  const { db, connected } = await capturing(SITE_TABLE("main"), [SITE]);
  const role = `app_${process.pid}_${Date.now()}`;
  await db.query(
    `create role ${role} login password 'x'; grant usage on schema main to ${role};
     grant select, insert, update, delete on main.site to ${role}`,
  );
  const app = await connected(role);
  try {
    await app.query("create table pg_temp.seen (who pg_catalog.text)");
    await app.query("grant insert on pg_temp.seen to public");
    await app.query(
      `create function pg_temp.look(value pg_catalog.text) returns boolean language plpgsql as
       'begin insert into pg_temp.seen values (current_user); return true; end'`,
    );
    await app.query("create domain pg_temp.text as pg_catalog.text check (pg_temp.look(value))");
    await app.query("create table pg_temp.pg_attribute (attname name)");
    await app.query("insert into main.site (id) values (1), (2), (3)");
    await app.query("update main.site set name = 'x'");
    await app.query("delete from main.site where id = 3");
    expect((await app.query("select * from pg_temp.seen")).rows).toEqual([]);
    expect(await takenMarks(db)).toEqual(["main.site 1", "main.site 2", "main.site 3"]);
  } finally {
    await app.end();
    await db.query(`drop owned by ${role}; drop role ${role}`);
  }
});

describe("the key of an object", () => {
  const THING: SearchTypeInput = { name: "thing", table: "thing", fields: [{ name: "name" }] };
  const keysFound = async (made: Awaited<ReturnType<typeof capturing>>, text: string) => {
    const { items } = await made.holdfast.search.query({ text });
    return items.map(({ key }) => key);
  };

  test("is the columns its table is unique by, and none that its index only carries along", async () => {
    const made = await capturing(
      `create schema main;
       create table main.thing (id int, name text, city text, primary key (id) include (city))`,
      [THING],
    );
    await made.app.query("insert into main.thing values (1, 'first', null), (2, 'second', 'Rome')");
    await made.holdfast.search.drainOnce();
    expect(await keysFound(made, "first")).toEqual(["1"]);
    await made.app.query("update main.thing set name = 'third', city = 'Oslo' where id = 1");
    expect(await takenMarks(made.db)).toEqual(["main.thing 1"]);
  });

  test("may hold times and bytes, and means the object in any spelling of them", async () => {
    const made = await capturing(
      `create schema main;
       create table main.thing (at timestamptz, day date, code bytea, name text,
                                primary key (at, day, code))`,
      [THING],
    );
    await made.app.query(
      "insert into main.thing values ('2020-01-02 03:04Z', '2020-01-02', '\\x00ff', 'first')",
    );
    const marked = await takenMarks(made.db);
    const spelling = JSON.stringify(["2020-01-02 05:04:00+02", "Jan 2 2020", "\\000\\377"]);
    await made.holdfast.search.markDirty({ type: "thing", keys: [spelling] });
    expect(await takenMarks(made.db)).toEqual(marked);
    expect(marked).toHaveLength(1);
  });

  test("is compared letter by letter, also where the table takes cases for one", async () => {
    const made = await capturing(
      `create schema main;
       create collation main.folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
       create table main.thing (code text collate main.folded primary key, name text)`,
      [THING],
    );
    const { db, app, holdfast } = made;
    await app.query(
      "insert into main.thing select 'Key' || g, 'name' || g from generate_series(1, 40) g",
    );
    await holdfast.search.drainOnce();
    await app.query("update main.thing set code = upper(code)");
    // The lane of the new key before that of the old one, and the other way round.
    const registry = searchRegistry(made.config, db.schema);
    const drain = indexDrain(db, made.config, registry, new IndexSources(registry));
    for (const lane of ALL_LANES.toReversed()) {
      await drain.batch(lane, "main", new AbortController().signal);
    }
    expect(await keysFound(made, "name7")).toEqual(["KEY7"]);
    const { rows } = await db.query(
      "select count(distinct key)::int as n, count(*)::int as rows from holdfast.index_rows",
    );
    expect(rows).toEqual([{ n: 40, rows: 40 }]);
    expect((await db.query("select key from holdfast.quarantine")).rows).toEqual([]);
  });
});

test("a schema may be called anything, and the SQL of a type reads no other", async () => {
  const odd = `a$$b$&"'`;
  const quoted = `"${odd.replaceAll('"', '""')}"`;
  const made = await capturing(
    `create schema ${quoted}; create table ${quoted}.site (id int primary key, name text);
     create schema "a$b"; create table "a$b".site (id int primary key, name text)`,
    [
      {
        name: "site",
        table: "site",
        fields: [{ name: "name", sql: "(select s.name from {schema}.site s where s.id = t.id)" }],
        visible: "exists (select from {schema}.site s where s.id = t.id)",
      },
    ],
    { schemas: [odd] },
  );
  await made.app.query(`insert into ${quoted}.site values (1, 'Oslo')`);
  await made.holdfast.search.drainOnce();
  const { items } = await made.holdfast.search.query({ text: "oslo" });
  expect(items.map(({ schema, key }) => [schema, key])).toEqual([[odd, "1"]]);
});

test("a long value is cut into parts that overlap, each as if counted out from its beginning", async () => {
  const { db, config } = await capturing(SITE_TABLE("main"), [SITE]);
  const { types } = searchRegistry(config, db.schema);
  const source = await readSource(db, "main", types.get("site")!);
  await db.query("insert into main.site (id) values (1)");
  const text = Array.from({ length: 800_000 }, (_, no) => (no % 7 ? String(no % 10) : "é"));
  for (const size of [1, 8_000, 8_001, 15_900, 15_901, 395_100, 395_101, 396_000, 800_000]) {
    const value = text.slice(0, size);
    await db.query("update main.site set name = $1", [value.join("")]);
    const { rows } = await db.query<{ part: number; value: string }>(
      `select part, value from (${expectedRows(source, "english", "true")}) e
        where field = 'name' order by part`,
    );
    const parts = size <= PART_SIZE ? 1 : Math.floor((size - PART_OVERLAP - 1) / STEP) + 1;
    const expected = Array.from({ length: parts }, (_, part) => ({
      part,
      value: value.slice(part * STEP, part * STEP + PART_SIZE).join(""),
    }));
    expect(rows.length, `${size} characters`).toBe(parts);
    expect(rows).toEqual(expected);
  }
});

const STEP = PART_SIZE - PART_OVERLAP;

test("a table that hides rows from the role of Holdfast is refused, unless a policy shows it all of them", async () => {
  const { db, url } = await fresh();
  const role = `reader_${process.pid}_${Date.now()}`;
  await db.query(SITE_TABLE("main"));
  await db.query(
    `create role ${role} login password 'x'; grant usage on schema main to ${role};
     grant select, trigger on main.site to ${role}; grant all on schema holdfast to ${role};
     grant all on all tables in schema holdfast to ${role};
     grant all on all sequences in schema holdfast to ${role};
     alter table holdfast.index_rows owner to ${role};
     alter table main.site enable row level security;
     create policy public_ones on main.site using (status = 'public')`,
  );
  const theirs = new URL(url);
  Object.assign(theirs, { username: role, password: "x" });
  const config = { search: { builtIn: false, types: [SITE], schemas: ["main"] } };
  const restricted = connect({ databaseUrl: theirs.href, config });
  try {
    await expect(restricted.search.install()).rejects.toThrow(
      `main.site hides rows from role ${role} (row level security), which could not be found then: run "alter role ${role} bypassrls"`,
    );
    await db.query(`create policy all_of_it on main.site for select to ${role} using (true)`);
    expect(await restricted.search.install()).toMatchObject([{ outcome: "installed" }]);
    await db.query("create policy but_the_first on main.site as restrictive using (id > 1)");
    await restricted.search.uninstall();
    await expect(restricted.search.install()).rejects.toThrow("hides rows");
  } finally {
    await restricted.close();
    await db.query(
      `alter table holdfast.index_rows owner to current_user; drop owned by ${role}; drop role ${role}`,
    );
  }
});

test("no function of ours that catches an error is said to run in parallel, which it cannot before Postgres 17", async () => {
  const { db } = await fresh();
  const { rows } = await db.query<{ name: string; parallel: string }>(
    `select proname as name, proparallel as parallel from pg_proc
      where pronamespace = 'holdfast'::regnamespace and prosrc like '%exception when%'`,
  );
  expect(rows).toContainEqual({ name: "as_inet", parallel: "u" });
  expect(rows.filter(({ parallel }) => parallel !== "u")).toEqual([]);
});
