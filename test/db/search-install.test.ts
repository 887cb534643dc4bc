import { describe, expect, test } from "vitest";
import { examine } from "../../activities/doctor.ts";
import { newContext } from "../../client/context.ts";
import { holdfastOver, type Holdfast } from "../../client/index.ts";
import type { HoldfastConfig } from "../../contracts/config.ts";
import type { SearchTypeInput } from "../../contracts/search.ts";
import type { Db } from "../../db/pool.ts";
import { installCapture } from "../../db/search-capture.ts";
import { searchRegistry } from "../../domain/search.ts";
import { capturing, SITE, SITE_TABLE, takenMarks } from "../support/capturing.ts";
import { fresh } from "../support/fresh.ts";

const BRANCHES = { schemas: ["main", "branch"] };
const TWO = `${SITE_TABLE("main")}; ${SITE_TABLE("branch")}`;

/** Triggers and functions of ours, and rows that speak of indexes. */
async function traces(db: Db): Promise<string[]> {
  const { rows } = await db.query<{ trace: string }>(
    `select tgrelid::regclass || ' ' || tgname as trace from pg_trigger
       join pg_proc p on p.oid = tgfoid
      where p.pronamespace = 'holdfast'::regnamespace and not tgisinternal
     union all select proname from pg_proc
      where pronamespace = 'holdfast'::regnamespace and prorettype = 'trigger'::regtype
     union all select 'index ' || schema_name || '.' || type from holdfast.search_indexes
     union all select 'mark' from holdfast.index_marks
     union all select 'row' from holdfast.index_rows
     union all select 'held' from holdfast.quarantine
     union all select 'gap' from holdfast.index_gaps
     order by 1`,
  );
  return rows.map((row) => row.trace);
}

const withTypes = (db: Db, types: SearchTypeInput[], search: HoldfastConfig["search"] = {}) => {
  const config = { search: { builtIn: false, types, schemas: ["main"], ...search } };
  return { config, holdfast: holdfastOver(newContext({ db, config, actor: "test" })) };
};

const outcomes = async (holdfast: Holdfast) =>
  (await holdfast.search.install()).map((one) => `${one.schema}.${one.type} ${one.outcome}`);

describe("install", () => {
  test("answers what it did, and a repeat does nothing", async () => {
    const { db } = await fresh();
    await db.query(TWO);
    const { holdfast } = withTypes(db, [SITE], BRANCHES);
    expect(await outcomes(holdfast)).toEqual(["main.site installed", "branch.site installed"]);
    const before = await traces(db);
    expect(await outcomes(holdfast)).toEqual(["main.site unchanged", "branch.site unchanged"]);
    expect(await traces(db)).toEqual(before);
    const { rows } = await db.query(
      "select actor, action, subject from holdfast.audit order by id",
    );
    expect(rows).toEqual([
      { actor: "test", action: "search.install", subject: "index/main.site" },
      { actor: "test", action: "search.install", subject: "index/branch.site" },
    ]);
  });

  test("by ten at once puts everything up once", async () => {
    const { db } = await fresh();
    await db.query(TWO);
    const { holdfast } = withTypes(db, [SITE], BRANCHES);
    await Promise.all(Array.from({ length: 10 }, () => holdfast.search.install()));
    const standing = await traces(db);
    expect(standing).toHaveLength(2 * (4 + 4 + 1));
    await db.query("insert into main.site (id) values (1)");
    expect(await takenMarks(db)).toEqual(["main.site 1"]);
  });

  test("takes up a changed declaration, a disabled trigger and a new partition, and marks what was missed", async () => {
    const { db, holdfast } = await capturing(
      `create schema main;
       create table main.site (id int, name text, status text, labels json, extra text,
         primary key (id)) partition by range (id);
       create table main.site_1 partition of main.site for values from (0) to (10)`,
      [SITE],
    );
    const whole = ["main.site *"];
    const wider = withTypes(db, [{ ...SITE, fields: [...SITE.fields, { name: "extra" }] }]);
    expect(await outcomes(wider.holdfast)).toEqual(["main.site updated"]);
    expect(await takenMarks(db)).toEqual(whole);
    await db.query("insert into main.site (id) values (1)");
    await takenMarks(db);
    await db.query("update main.site set extra = 'x'");
    expect(await takenMarks(db)).toEqual(["main.site 1"]);
    expect(await outcomes(holdfast)).toEqual(["main.site updated"]);
    await takenMarks(db);

    await db.query("alter table main.site disable trigger user");
    expect(await outcomes(holdfast)).toEqual(["main.site updated"]);
    expect(await takenMarks(db)).toEqual(whole);
    await db.query("update main.site set name = 'y'");
    expect(await takenMarks(db)).toEqual(["main.site 1"]);

    await db.query("create table main.site_2 partition of main.site for values from (10) to (20)");
    expect(await outcomes(holdfast)).toEqual(["main.site updated"]);
    expect(await takenMarks(db)).toEqual(whole);
    await db.query("insert into main.site_2 (id) values (11)");
    expect(await takenMarks(db)).toEqual(["main.site 11"]);

    await db.query("alter table main.site detach partition main.site_2");
    expect(await outcomes(holdfast)).toEqual(["main.site updated"]);
    await db.query("insert into main.site_2 (id) values (12)");
    expect(await takenMarks(db)).toEqual([]);
  });

  test("goes with a type that moves to another table, and a dependency that ends", async () => {
    const { db } = await capturing(
      `${SITE_TABLE("main")}; create table main.place (like main.site including all);
       create table main.region (id int primary key)`,
      [{ ...SITE, dependsOn: [{ table: "region", via: "region_id" }] }],
    );
    const moved = withTypes(db, [{ ...SITE, table: "place" }]);
    expect(await outcomes(moved.holdfast)).toEqual(["main.site updated"]);
    await takenMarks(db);
    await db.query("insert into main.site (id) values (1); insert into main.region values (1)");
    await db.query("insert into main.place (id) values (2)");
    expect(await takenMarks(db)).toEqual(["main.site 2"]);
    expect(await traces(db)).toHaveLength(4 + 4 + 1);
  });

  test("of a schema that was made anew begins anew", async () => {
    const { db, holdfast } = await capturing(TWO, [SITE], BRANCHES);
    await db.query("insert into branch.site (id) values (1)");
    await db.query(`drop schema branch cascade; ${SITE_TABLE("branch")}`);
    expect(await outcomes(holdfast)).toEqual(["main.site unchanged", "branch.site installed"]);
    expect(await takenMarks(db)).toEqual([]);
    expect(await traces(db)).toHaveLength(2 * (4 + 4 + 1));
  });

  const REFUSED: [what: string, sql: string, type: Partial<SearchTypeInput>, message: RegExp][] = [
    [
      "an unknown column",
      "",
      { fields: [{ name: "nmae" }] },
      /type site: field nmae: main.site has no column "nmae"; it has id, name/,
    ],
    [
      "an unknown column of a computed field",
      "",
      { fields: [{ name: "x", sql: "t.name", columns: ["gone"] }] },
      /type site: field x: .*no column "gone"/,
    ],
    [
      "SQL that cannot run",
      "",
      { fields: [{ name: "x", sql: "t.nmae || 1" }] },
      /type site: its SQL cannot be run in schema main: column t.nmae does not exist/,
    ],
    [
      "a visibility that cannot run",
      "",
      { visible: "t.tennant = 1" },
      /type site: its SQL cannot be run in schema main: column t.tennant/,
    ],
    ["a title that cannot run", "", { title: "t.nmae" }, /its SQL cannot be run/],
    ["an unknown table", "", { table: "siet" }, /no table main.siet: check "table" of type site/],
    [
      "an unknown table it depends on",
      "",
      { dependsOn: [{ table: "regoin", via: "region_id" }] },
      /no table main.regoin: check "table" of type site: dependsOn\[0\]/,
    ],
    [
      "an unknown key it depends on",
      "create table main.region (code int)",
      { dependsOn: [{ table: "region", via: "region_id" }] },
      /type site: dependsOn\[0\]: main.region has no column "id"/,
    ],
    [
      "an unknown column of its own it depends by",
      "create table main.region (id int)",
      { dependsOn: [{ table: "region", via: "region" }] },
      /type site: dependsOn\[0\].via: main.site has no column "region"/,
    ],
    [
      "a view",
      "create view main.v as select * from main.site",
      { table: "v" },
      /main.v is no ordinary table/,
    ],
    [
      "a table without a key",
      "create table main.k (name text, status text, labels json)",
      { table: "k" },
      /main.k has no primary key/,
    ],
    [
      "a partition by itself",
      "create table main.p (like main.site) partition by list (id); alter table main.p add primary key (id); create table main.p1 partition of main.p default",
      { table: "p1" },
      /main.p1 is a part of main.p, whose writes would be missed: register main.p/,
    ],
    [
      "a schema that is not there",
      "drop schema main cascade",
      {},
      /no schema main: name one that exists/,
    ],
  ];
  test("refuses what cannot be followed, in words, and leaves nothing behind", async () => {
    const { db } = await fresh();
    for (const [what, sql, type, message] of REFUSED) {
      await db.query(`drop schema if exists main cascade; ${SITE_TABLE("main")}; ${sql}`);
      const { holdfast } = withTypes(db, [{ ...SITE, ...type }]);
      await expect(holdfast.search.install(), what).rejects.toThrow(message);
      expect(await traces(db), what).toEqual([]);
    }
  });

  test("says who holds a table, and takes back what it had put elsewhere", async () => {
    const { db } = await fresh();
    await db.query(`${SITE_TABLE("main")}; create table main.region (id int primary key)`);
    const { config } = withTypes(db, [
      { ...SITE, dependsOn: [{ table: "region", via: "region_id" }] },
    ]);
    const registry = searchRegistry(config, "holdfast");
    const install = () =>
      installCapture(db, "main", registry.types.get("site")!, { registry, lockTimeoutMs: 100 });
    await db.transaction(async (tx) => {
      await tx.query("insert into main.region values (1)");
      await expect(install()).rejects.toMatchObject({
        code: "table-is-busy",
        message: expect.stringMatching(
          /^main.region could not be locked within 100 ms: it is held by connection \d+ of \S+ \(test\) idles inside a transaction for \d+ s\. Let that end/,
        ),
      });
      expect(await traces(db)).toEqual([]);
    });
    expect(await install()).toBe("installed");
  });

  test("names the right that is missing, and needs no more than it says", async () => {
    const { db, url } = await fresh();
    const role = `owner_${process.pid}_${Date.now()}`;
    await db.query(SITE_TABLE("main"));
    await db.query(`create role ${role} login password 'x'`);
    const theirs = new URL(url);
    Object.assign(theirs, { username: role, password: "x" });
    const { config } = withTypes(db, [SITE]);
    await db.query(
      `grant all on schema holdfast to ${role}; grant all on all tables in schema holdfast to ${role};
       grant all on all sequences in schema holdfast to ${role}; grant usage on schema main to ${role}`,
    );
    const { connect } = await import("../../client/index.ts");
    const restricted = connect({ databaseUrl: theirs.href, config });
    try {
      await expect(restricted.search.install()).rejects.toThrow(
        new RegExp(
          `role ${role} may not put triggers on main.site: run .*grant select, trigger on main.site to ${role}`,
        ),
      );
      expect(await traces(db)).toEqual([]);
      await db.query(`grant select, trigger on main.site to ${role}`);
      // Trigrams are an index of ours, which only its owner makes.
      await db.query(`alter table holdfast.index_rows owner to ${role}`);
      expect(await outcomes(restricted)).toEqual(["main.site installed"]);
      await db.query("insert into main.site (id) values (1)");
      expect(await takenMarks(db)).toEqual(["main.site 1"]);
      expect(await restricted.search.uninstall()).toHaveLength(1);
      expect(await traces(db)).toEqual([]);
    } finally {
      await restricted.close();
      await db.query("alter table holdfast.index_rows owner to current_user");
      await db.query(`drop owned by ${role}; drop role ${role}`);
    }
  });

  test("names a type or schema that is not known", async () => {
    const { holdfast } = await capturing(TWO, [{ ...SITE, schema: "main" }], BRANCHES);
    await expect(holdfast.search.install({ types: ["siet"] })).rejects.toThrow(
      'types[0]: "siet" is not known; there are site',
    );
    await expect(holdfast.search.install({ types: ["site"], schemas: ["branch"] })).rejects.toThrow(
      "schemas: none of site lives there",
    );
    await expect(holdfast.search.uninstall({ schemas: ["branch"] })).rejects.toThrow(
      'schemas[0]: "branch" is not known; there are main',
    );
    await expect(holdfast.search.install({ schemas: [] })).rejects.toThrow("schemas");
    const held = holdfast.as({ actor: "k", tenants: ["acme"] });
    await expect(held.search.install()).rejects.toThrow("concerns every tenant");
    await expect(held.search.uninstall()).rejects.toThrow("concerns every tenant");
  });
});

describe("uninstall", () => {
  const planted = async (db: Db, schema: string) =>
    db.query(
      `insert into ${schema}.site (id) values (1);
       insert into holdfast.index_rows (index_id, generation, part, weight, kind, key, field, value)
       select id, g, 0, 1, 'text', '1', 'name', 'v' from holdfast.search_indexes, generate_series(0, 2) g
        where schema_name = '${schema}';
       insert into holdfast.quarantine (queue, scope, key, reason, held) values ('index', '${schema}', 'site/1', 'r', true);
       insert into holdfast.index_gaps (schema_name, type) values ('${schema}', 'site')`,
    );

  test("of a schema removes every trace of it and nothing else", async () => {
    const { db, holdfast } = await capturing(TWO, [SITE], BRANCHES);
    await planted(db, "main");
    const kept = await traces(db);
    await planted(db, "branch");
    const gone = await holdfast.search.uninstall({ schemas: ["branch"], types: ["site"] });
    expect(gone).toEqual([{ schema: "branch", type: "site" }]);
    const isBranch = (trace: string) => trace.includes("branch") || trace.includes("capture_2_");
    expect(await traces(db)).toEqual(kept.filter((trace) => !isBranch(trace)));
    await db.query("insert into branch.site (id) values (2)");
  });

  test("of everything removes every trace there ever was", async () => {
    const { db, holdfast } = await capturing(TWO, [SITE], BRANCHES);
    await planted(db, "main");
    await planted(db, "branch");
    await db.query("drop schema branch cascade");
    await db.query(
      `create function holdfast.capture_99_insert() returns trigger language plpgsql as 'begin return null; end';
       insert into holdfast.index_marks (lane, schema_name, type) values (0, 'gone', 'gone');
       insert into holdfast.index_rows (index_id, generation, part, weight, kind, key, field, value)
       values (99, 0, 0, 1, 'text', '1', 'name', 'v')`,
    );
    expect(await holdfast.search.uninstall()).toHaveLength(2);
    expect(await traces(db)).toEqual([]);
    expect(await holdfast.search.uninstall()).toEqual([]);
    expect(await outcomes(withTypes(db, [SITE]).holdfast)).toEqual(["main.site installed"]);
  });
});

describe("the doctor", () => {
  const look = async (db: Db, config: HoldfastConfig, repair = false) => {
    const { findings, checks } = await examine({ db, config, repair });
    expect(checks.filter(({ notDone }) => notDone && !/no Temporal/.test(notDone))).toEqual([]);
    return findings
      .filter(({ check }) => check.startsWith("capture-"))
      .map(({ check, subject, left, did }) => [
        check,
        subject,
        ...(repair ? [did ?? "", left] : []),
      ]);
  };

  test("finds nothing where capture is as configured, or nobody asked for search", async () => {
    const { db, config } = await capturing(TWO, [SITE], BRANCHES);
    expect(await look(db, config)).toEqual([]);
    const other = await fresh();
    expect(await look(other.db, {})).toEqual([]);
  });

  test.each([
    ["disabled", "alter table main.site disable trigger user"],
    ["dropped", "drop trigger holdfast_capture_1_update on main.site"],
    ["without its function", "drop function holdfast.capture_1_insert() cascade"],
    [
      "changed",
      `create or replace function holdfast.capture_1_insert() returns trigger language plpgsql
       security definer set search_path = '' as 'begin return null; end'`,
    ],
    ["without its rights", "alter function holdfast.capture_1_insert() security invoker"],
    ["half installed", "update holdfast.search_indexes set capture = ''"],
  ])("mends capture that is %s", async (_how, sql) => {
    const { db, config } = await capturing(SITE_TABLE("main"), [SITE]);
    await db.query(sql);
    const subject = ["capture-incomplete", "index main.site"];
    expect(await look(db, config)).toEqual([subject]);
    expect(await look(db, config, true)).toEqual([[...subject, "installed it again", false]]);
    expect(await look(db, config)).toEqual([]);
    await takenMarks(db);
    await db.query("insert into main.site (id) values (1)");
    await db.query("update main.site set name = 'x'");
    expect(await takenMarks(db)).toEqual(["main.site 1"]);
  });

  test("mends a partition without capture, and marks what it may hold", async () => {
    const { db, config } = await capturing(
      `create schema main; create table main.site (id int primary key, name text, status text, labels json)
         partition by range (id)`,
      [SITE],
    );
    await db.query("create table main.late partition of main.site default");
    const { findings } = await examine({ db, config, repair: true });
    expect(findings.map(({ message, left }) => ({ message, left }))).toEqual([
      {
        message:
          "writes of site in main may be missed: triggers are missing, disabled or changed on main.late",
        left: false,
      },
    ]);
    expect(await takenMarks(db)).toEqual(["main.site *"]);
  });

  test("mends a gap by marking the whole type", async () => {
    const { db, config } = await capturing(SITE_TABLE("main"), [SITE]);
    await db.query(
      "insert into holdfast.index_gaps (schema_name, type) values ('main', 'site'), ('main', 'gone')",
    );
    expect(await look(db, config, true)).toEqual([
      ["capture-gap", "index main.gone", "forgot it: no such index", false],
      ["capture-gap", "index main.site", "marked the whole type", false],
    ]);
    expect(await takenMarks(db)).toEqual(["main.site *"]);
    expect(await look(db, config)).toEqual([]);
  });

  test("tells of a table that cannot be followed any more, and of what is not configured", async () => {
    const { db, config } = await capturing(TWO, [SITE], BRANCHES);
    await db.query("alter table main.site drop column status");
    expect(await look(db, config, true)).toEqual([
      ["capture-incomplete", "index main.site", "", true],
    ]);
    const other = withTypes(db, [{ ...SITE, name: "place" }]).config;
    expect(await look(db, other)).toEqual([
      ["capture-absent", "index main.place"],
      ["capture-absent", "index branch.site"],
      ["capture-absent", "index main.site"],
    ]);
  });
});
