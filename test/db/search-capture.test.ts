import { once } from "node:events";
import { from as copyFrom } from "pg-copy-streams";
import { describe, expect, test } from "vitest";
import type { Db } from "../../db/pool.ts";
import { capturing, SITE, SITE_TABLE, takenMarks } from "../support/capturing.ts";
import { randomProgram } from "../support/savepoint-program.ts";

const of = (...keys: (number | string)[]) => keys.map((key) => `main.site ${key}`).toSorted();
const rows = (n: number, from = 1) =>
  `insert into main.site (id, name) select i, 'n' || i from generate_series(${from}, ${from + n - 1}) i`;

describe("a write marks exactly the objects it changed", () => {
  const sites = () => capturing(SITE_TABLE("main"), [SITE]);

  test("by any statement, one row or many", async () => {
    const { app, db } = await sites();
    const marks = async (sql: string) => {
      await app.query(sql);
      return takenMarks(db);
    };
    expect(await marks(rows(1))).toEqual(of(1));
    expect(await marks(rows(2, 2))).toEqual(of(2, 3));
    expect(await marks(rows(3, 4))).toEqual(of(4, 5, 6));
    expect(await marks("update main.site set name = 'x' where id = 2")).toEqual(of(2));
    expect(await marks("update main.site set status = 'new' where id < 5")).toEqual(of(1, 2, 3, 4));
    expect(await marks("delete from main.site where id = 6")).toEqual(of(6));
    expect(await marks("delete from main.site where id in (3, 4, 5)")).toEqual(of(3, 4, 5));
    expect(await marks("delete from main.site where false")).toEqual([]);
    expect(
      await marks(
        `insert into main.site (id, name) values (1, 'one'), (2, 'x'), (7, 'seven')
         on conflict (id) do update set name = excluded.name`,
      ),
    ).toEqual(of(1, 7));
    expect(await marks("insert into main.site (id) values (7) on conflict do nothing")).toEqual([]);
    expect(
      await marks(
        `merge into main.site s using (values (1, 'merged'), (2, 'gone'), (8, 'eight')) v(id, name)
            on s.id = v.id
          when matched and v.name = 'gone' then delete
          when matched then update set name = v.name
          when not matched then insert (id, name) values (v.id, v.name)`,
      ),
    ).toEqual(of(1, 2, 8));
    expect(
      await marks(
        `with gone as (delete from main.site where id = 8 returning 9 as id)
         insert into main.site (id) select id from gone`,
      ),
    ).toEqual(of(8, 9));
    expect(await marks("truncate main.site")).toEqual(of("*"));
  });

  test("by COPY, and by a cascade, however many levels deep", async () => {
    const { app, db } = await capturing(
      `create schema main;
       create table main.region (id int primary key);
       create table main.tenant (id int primary key,
         region_id int references main.region on delete cascade on update cascade);
       create table main.site (id bigint primary key, name text, status text, labels json,
         tenant_id int references main.tenant on delete cascade)`,
      [SITE],
    );
    await app.query(
      `insert into main.region select generate_series(1, 3);
       insert into main.tenant select i, i from generate_series(1, 3) i`,
    );
    const copy = app.query(copyFrom("copy main.site (id, name, tenant_id) from stdin"));
    for (let id = 1; id <= 3_000; id++) copy.write(`${id}\tcopied\t${(id % 3) + 1}\n`);
    copy.end();
    await once(copy, "finish");
    expect(await takenMarks(db)).toHaveLength(3_000);
    await app.query("update main.region set id = id + 10");
    expect(await takenMarks(db)).toEqual([]);
    await app.query("delete from main.region where id < 13");
    expect(await takenMarks(db)).toHaveLength(2_000);
    await app.query("truncate main.region cascade");
    expect(await takenMarks(db)).toEqual(of("*"));
  });

  test("with many keys in one row, none above the bound, each in its lane", async () => {
    const { app, db } = await sites();
    await app.query(rows(10_000));
    const { rows: shape } = await db.query<{
      marks: number;
      most: number;
      keys: number;
      astray: number;
    }>(
      `select count(distinct seq)::int as marks, max(cardinality(keys)) as most,
              count(distinct key)::int as keys,
              count(*) filter (where lane <> hashtext(key) & 3)::int as astray
         from holdfast.index_marks cross join unnest(keys) key`,
    );
    expect(shape[0]).toMatchObject({ keys: 10_000, astray: 0 });
    expect(shape[0]!.marks).toBeLessThanOrEqual(42);
    expect(shape[0]!.most).toBeLessThanOrEqual(1_000);
  });

  test("not by what changes no watched column; json counts by its text", async () => {
    const { app, db } = await sites();
    await app.query(rows(3));
    await app.query("update main.site set labels = '{\"a\":1}'");
    await takenMarks(db);
    const marks = async (sql: string) => {
      await app.query(sql);
      return takenMarks(db);
    };
    expect(await marks("update main.site set seen = now() where id = 1")).toEqual([]);
    expect(await marks("update main.site set seen = now(), name = name")).toEqual([]);
    expect(await marks("update main.site set labels = '{\"a\":1}'")).toEqual([]);
    expect(await marks("update main.site set labels = '{\"a\":2}' where id = 3")).toEqual(of(3));
    expect(await marks("update main.site set name = null where id = 3")).toEqual(of(3));
    expect(
      await marks(
        "update main.site set seen = now(), name = case id when 2 then 'x' else name end",
      ),
    ).toEqual(of(2));
  });

  test("under both keys when the key changes", async () => {
    const { app, db } = await sites();
    await app.query(rows(3));
    await takenMarks(db);
    await app.query("update main.site set id = 9 where id = 1");
    expect(await takenMarks(db)).toEqual(of(1, 9));
    await app.query("update main.site set id = id + 100");
    expect(await takenMarks(db)).toEqual(of(2, 3, 9, 102, 103, 109));
  });

  test("for any column when the type does not say which", async () => {
    const { app, db } = await capturing(SITE_TABLE("main"), [
      { ...SITE, when: "t.status <> 'hidden'" },
    ]);
    await app.query(rows(3));
    await takenMarks(db);
    await app.query("update main.site set seen = '2020-01-01' where id = 2");
    expect(await takenMarks(db)).toEqual(of(2));
    await app.query("update main.site set seen = '2020-01-01'");
    expect(await takenMarks(db)).toEqual(of(1, 3));
  });
});

describe("a write that did not commit", () => {
  test("leaves no mark, and the next one on the connection is marked", async () => {
    const { app, db } = await capturing(SITE_TABLE("main"), [SITE]);
    await app.query(`begin; ${rows(2)}; rollback`);
    expect(await takenMarks(db)).toEqual([]);
    await expect(app.query(`${rows(2)}; select 1/0`)).rejects.toThrow("division by zero");
    expect(await takenMarks(db)).toEqual([]);
    await app.query(rows(1, 3));
    expect(await takenMarks(db)).toEqual(of(3));
  });

  test("is forgotten savepoint by savepoint: random trees mark what really changed", async () => {
    const { app, db } = await capturing(`${SITE_TABLE("main")}; ${SITE_TABLE("branch")}`, [SITE], {
      schemas: ["main", "branch"],
    });
    for (let seed = 1; seed <= 150; seed++) {
      const program = randomProgram(seed, ["main", "branch"]);
      await app.query(program.setup);
      await db.query("delete from holdfast.index_marks");
      for (const statement of program.statements) {
        await app.query(statement).catch((error: Error) => {
          throw new Error(`seed ${seed}: ${program.statements.join("; ")}`, { cause: error });
        });
      }
      expect(await takenMarks(db), `seed ${seed}: ${program.statements.join(";\n")}`).toEqual(
        program.changed,
      );
      await app.query("truncate main.site, branch.site");
      await takenMarks(db);
    }
  });
});

describe("the schema of a mark", () => {
  test("is that of the table really written, whatever the path says", async () => {
    const { app, db } = await capturing(`${SITE_TABLE("main")}; ${SITE_TABLE("branch")}`, [SITE], {
      schemas: ["main", "branch"],
    });
    await app.query("set search_path = branch, main");
    await app.query("insert into site (id) values (1); insert into main.site (id) values (2)");
    expect(await takenMarks(db)).toEqual(["branch.site 1", "main.site 2"]);
  });

  test("cannot be turned by functions and tables put into a caller's path", async () => {
    const { app, db } = await capturing(SITE_TABLE("main"), [SITE]);
    await app.query(
      `create schema evil;
       create function evil.to_regclass(text) returns regclass language sql as 'select null::regclass';
       create function evil.hashtext(text) returns int language sql as 'select 1/0';
       create function evil.evil_eq(text, text) returns boolean language sql as 'select false';
       create operator evil.= (leftarg = text, rightarg = text, function = evil.evil_eq);
       create table evil.index_marks (lane int);
       create temp table pg_attribute (attname text);
       set search_path = evil, pg_temp, pg_catalog`,
    );
    await app.query(rows(3));
    await app.query("update main.site set name = 'x'");
    expect(await takenMarks(db)).toEqual(of(1, 2, 3));
  });
});

test("partitions are followed from above, from below, and across", async () => {
  const { app, db } = await capturing(
    `create schema main; create schema cold;
     create table main.site (id bigint, area int, name text, status text, labels json,
       primary key (id, area)) partition by list (area);
     create table main.site_1 partition of main.site for values in (1);
     create table main.site_2 (status text, gone int, labels json, name text, area int not null, id bigint not null);
     alter table main.site_2 drop column gone;
     alter table main.site attach partition main.site_2 for values in (2);
     create table cold.site_3 partition of main.site for values in (3) partition by range (id);
     create table cold.site_3_all partition of cold.site_3 default`,
    [SITE],
  );
  const marks = async (sql: string) => {
    await app.query(sql);
    return takenMarks(db);
  };
  const key = (id: number, area: number) => `["${id}", "${area}"]`;
  expect(await marks("insert into main.site (id, area) values (1, 1), (2, 2), (3, 3)")).toEqual(
    of(key(1, 1), key(2, 2), key(3, 3)),
  );
  expect(await marks("update main.site_2 set name = 'x'")).toEqual(of(key(2, 2)));
  expect(await marks("insert into cold.site_3_all (id, area) values (4, 3)")).toEqual(
    of(key(4, 3)),
  );
  expect(await marks("update main.site set area = 2 where id = 1")).toEqual(
    of(key(1, 1), key(1, 2)),
  );
  expect(await marks("update main.site set area = 2 where area = 3")).toEqual(
    of(key(3, 3), key(3, 2), key(4, 3), key(4, 2)),
  );
  expect(await marks("delete from main.site where id < 3")).toEqual(of(key(1, 2), key(2, 2)));
  expect(await marks("truncate main.site_2")).toEqual(of("*"));
});

test("a key of times and bytes is one text in every session", async () => {
  const { db, connected } = await capturing(
    `create schema main;
     create table main.site (at timestamptz, day date, noon timestamp(3), raw bytea, code varchar(9),
       name text, status text, labels json, primary key (at, day, noon, raw, code))`,
    [SITE],
  );
  const seen = new Set<string>();
  for (const [zone, style, output, extra] of [
    ["UTC", "ISO, MDY", "hex", "1"],
    ["Asia/Kathmandu", "German", "escape", "0"],
    ["America/New_York", "SQL, DMY", "hex", "3"],
  ]) {
    const app = await connected();
    await app.query(
      `set timezone = '${zone}'; set datestyle = '${style}'; set bytea_output = '${output}';
       set extra_float_digits = ${extra}`,
    );
    await app.query(
      `insert into main.site (at, day, noon, raw, code) values
         ('2024-03-31T00:30:00.5Z'::timestamptz, date '2024-03-01', timestamp '2024-01-02 12:00:00', '\\xff00', 'a"b'),
         ('infinity', '-infinity', 'infinity', '', '')`,
    );
    await app.query("delete from main.site");
    for (const mark of await takenMarks(db)) seen.add(mark);
  }
  expect([...seen].toSorted()).toEqual(
    of(
      '["2024-03-31T00:30:00.5+00", "2024-03-01", "2024-01-02T12:00:00", "\\\\xff00", "a\\"b"]',
      '["infinity", "-infinity", "infinity", "\\\\x", ""]',
    ),
  );
});

test("names may be anything", async () => {
  const schema = `Odd "Schema's"`;
  const { app, db } = await capturing(
    `create schema "Odd ""Schema's""";
     create table "Odd ""Schema's"""."we'ird ""Täble""" (
       "Key ""k""" text primary key, "found" text, "tg_table_schema" text, "marked" int, "r" int,
       "$capture$" text, "image" json, "holdfast_row" int, key int, lane int, n int, o int, "absent" int)`,
    [
      {
        name: "site",
        table: `we'ird "Täble"`,
        fields: [
          "found",
          "tg_table_schema",
          "marked",
          "r",
          "$capture$",
          "image",
          "holdfast_row",
          "key",
          "lane",
          "n",
          "o",
          "absent",
        ].map((column, no) => ({ name: `f${no}`, column })),
      },
    ],
    { schemas: [schema] },
  );
  const table = `"Odd ""Schema's"""."we'ird ""Täble"""`;
  const marks = async (sql: string) => {
    await app.query(sql);
    return takenMarks(db);
  };
  const mark = (key: string) => `${schema}.site ${key}`;
  expect(
    await marks(`insert into ${table} ("Key ""k""") values ('a''b'), ('%I'), ('{,}')`),
  ).toEqual([mark("%I"), mark("a'b"), mark("{,}")].toSorted());
  expect(
    await marks(`update ${table} set "tg_table_schema" = 'x' where "Key ""k""" = '%I'`),
  ).toEqual([mark("%I")]);
  expect(await marks(`update ${table} set absent = 1, "image" = '{}'`)).toHaveLength(3);
  expect(await marks(`delete from ${table} where "Key ""k""" = '{,}'`)).toEqual([mark("{,}")]);
});

describe("a table that changes beneath its triggers", () => {
  test("can be written, and what is still there is still watched", async () => {
    const { app, db, warnings } = await capturing(SITE_TABLE("main"), [SITE]);
    const marks = async (sql: string) => {
      await app.query(sql);
      return takenMarks(db);
    };
    expect(await marks(rows(2))).toEqual(of(1, 2));
    await app.query("update main.site set name = 'warm'");
    await app.query("update main.site set name = 'warm' where id = 1");
    await takenMarks(db);

    await app.query("alter table main.site drop column status");
    expect(await marks("update main.site set name = 'a' where id = 1")).toEqual(of(1));
    await app.query("alter table main.site rename column name to title");
    expect(await marks("update main.site set title = 'b' where id = 1")).toEqual([]);
    expect(await marks("update main.site set labels = '[]' where id = 1")).toEqual(of(1));
    await app.query("alter table main.site alter column labels type text using 'x'");
    await app.query("alter table main.site alter column id type text using id::text");
    await app.query("alter table main.site add column more json");
    expect(await marks("update main.site set labels = id, more = '{}'")).toEqual(of(1, 2));
    expect(await marks("insert into main.site (id) values ('c')")).toEqual(of("c"));
    await app.query("alter table main.site rename to place");
    expect(await marks("delete from main.place where id = 'c'")).toEqual(of("c"));
    expect(warnings).toEqual([]);
  });

  test("and loses its key is written with a warning, and the gap is kept for the doctor", async () => {
    const { app, db, warnings } = await capturing(SITE_TABLE("main"), [SITE]);
    await app.query(rows(1));
    await takenMarks(db);
    await app.query("alter table main.site rename column id to site_id");
    await app.query("insert into main.site (site_id) values (2)");
    await app.query("update main.site set name = 'x'");
    await app.query("delete from main.site");
    expect(warnings).toHaveLength(3);
    expect(warnings[0]).toBe(
      "WARNING: holdfast: search of site in main misses this write: a column of the key is not there any more",
    );
    expect(await takenMarks(db)).toEqual([]);
    expect(await gaps(db)).toEqual(["main.site"]);
  });
});

describe("a write succeeds", () => {
  test("with a warning and a gap when our tables are away", async () => {
    const { app, db, warnings } = await capturing(SITE_TABLE("main"), [SITE]);
    await db.query("alter table holdfast.index_marks rename to index_marks_moved");
    await app.query(rows(2));
    await app.query("begin; savepoint a; delete from main.site; release a; commit");
    await app.query("truncate main.site");
    expect(warnings).toHaveLength(3);
    expect(warnings[0]).toContain("misses this write: Holdfast's tables are away");
    expect(await gaps(db)).toEqual(["main.site"]);
    await db.query("alter table holdfast.index_gaps rename to index_gaps_moved");
    await app.query(rows(2));
    expect(warnings).toHaveLength(4);
  });

  test("when our schema is dropped, triggers and all", async () => {
    const { app, db, warnings } = await capturing(SITE_TABLE("main"), [SITE]);
    await app.query(rows(1));
    await db.query("drop schema holdfast cascade");
    await app.query("update main.site set name = 'x'");
    expect(warnings).toEqual([]);
  });

  test("for a role that has no right on our schema, which is not given one", async () => {
    const { db, connected } = await capturing(SITE_TABLE("main"), [SITE]);
    const role = `app_${process.pid}_${Date.now()}`;
    await db.query(
      `create role ${role} login password 'x'; grant usage, create on schema main to ${role};
       grant all on main.site to ${role}`,
    );
    const app = await connected(role);
    try {
      await app.query(rows(3));
      await app.query("update main.site set name = 'x'");
      await app.query("delete from main.site where id = 1");
      await app.query("truncate main.site");
      expect(await takenMarks(db)).toEqual(of("*", 1, 2, 3));
      await expect(app.query("select * from holdfast.index_marks")).rejects.toThrow(
        "permission denied for schema holdfast",
      );
      await expect(
        app.query(
          `create table main.mine (id int);
           create trigger t after insert on main.mine referencing new table as holdfast_new
             for each statement execute function holdfast.capture_1_insert()`,
        ),
      ).rejects.toThrow("permission denied");
    } finally {
      await app.end();
      await db.query(`drop owned by ${role}; drop role ${role}`);
    }
  });
});

describe("what an object depends on", () => {
  const REGION = {
    ...SITE,
    dependsOn: [
      { table: "region", columns: ["name"], via: "region_id" },
      { table: "status", key: "code", where: "t.status = any ({keys})" },
    ],
  };
  const TABLES = `${SITE_TABLE("main")};
    create table main.region (id int primary key, name text, notes text);
    create table main.status (code text, label text, hint json)`;

  test("marks it through its parent, for columns that matter", async () => {
    const { app, db } = await capturing(TABLES, [REGION]);
    const marks = async (sql: string) => {
      await app.query(sql);
      return takenMarks(db);
    };
    const region = (...keys: number[]) => keys.map((key) => `main.site region.0=${key}`);
    expect(await marks("insert into main.region values (1, 'a'), (2, 'b'), (3, 'c')")).toEqual(
      region(1, 2, 3),
    );
    expect(await marks("update main.region set notes = 'x'")).toEqual([]);
    expect(await marks("update main.region set name = 'x' where id = 2")).toEqual(region(2));
    expect(await marks("update main.region set id = 9 where id = 3")).toEqual(region(3, 9));
    expect(await marks("delete from main.region where id = 1")).toEqual(region(1));
    expect(await marks("truncate main.region")).toEqual(of("*"));
    expect(await marks(`${rows(1)}; update main.site set region_id = 4`)).toEqual(of(1));
  });

  test("may have keys that are absent or shared", async () => {
    const { app, db, warnings } = await capturing(TABLES, [REGION]);
    const marks = async (sql: string) => {
      await app.query(sql);
      return takenMarks(db);
    };
    const status = (...keys: string[]) => keys.map((key) => `main.site status.1=${key}`);
    expect(
      await marks(
        "insert into main.status values (null, 'none'), ('up', 'a'), ('up', 'b'), (null, 'x'), ('down', 'c')",
      ),
    ).toEqual(status("down", "up"));
    expect(await marks("update main.status set label = label")).toEqual([]);
    expect(await marks("update main.status set hint = '{}' where label = 'b'")).toEqual(
      status("up"),
    );
    expect(await marks("update main.status set label = label || code")).toEqual(
      status("down", "up"),
    );
    expect(await marks("update main.status set code = 'off' where code = 'down'")).toEqual(
      status("down", "off"),
    );
    expect(await marks("delete from main.status where code is null")).toEqual([]);
    expect(warnings).toEqual([]);
  });
});

async function gaps(db: Db): Promise<string[]> {
  const { rows } = await db.query<{ gap: string }>(
    "select schema_name || '.' || type as gap from holdfast.index_gaps order by 1",
  );
  return rows.map((row) => row.gap);
}
