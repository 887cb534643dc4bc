import { expect, test } from "vitest";
import { appendIndexMarks, markWholeType } from "../../db/index-marks.ts";
import { readIndexLanes } from "../../db/index-lanes.ts";
import { ownIndexLanes } from "../../db/locks.ts";
import { listHeld } from "../../db/quarantine.ts";
import { findIndex } from "../../db/search-indexes.ts";
import { ALL_LANES } from "../../db/index-lanes.ts";
import { sweepSources } from "../../db/index-drain.ts";
import { setBrake } from "../../db/brakes.ts";
import { until } from "../../dev/until.ts";
import { fault, watched } from "../support/failing.ts";
import {
  createCities,
  drainLane,
  indexed,
  indexing,
  install,
  marksLeft,
  rebuilt,
  rowsAsTheyAre,
  type Indexing,
} from "../support/indexing.ts";

const mark = (made: Indexing, type: string, keys: (string | number)[], schema = "main") =>
  appendIndexMarks(made.db, schema, type, keys.map(String));

async function cities(made: Indexing, n: number, schema = "main"): Promise<void> {
  await made.db.query(
    `insert into ${schema}.cities (id, name, founded, notes)
     select i, 'City ' || i, 1000 + i, 'a place of number ' || i from generate_series(1, $1::int) i`,
    [n],
  );
}
const names = async (made: Indexing) =>
  (await indexed(made.db)).filter((row) => row.includes(" name.0 = "));

async function equalsRebuild(made: Indexing): Promise<void> {
  expect(await marksLeft(made.db)).toBe(0);
  expect(await indexed(made.db)).toEqual(await rebuilt(made.db, made.config));
}

test("what a mark says is only that an object is dirty: the live row at the time of the drain decides", async () => {
  const made = await indexing();
  await cities(made, 3);
  await mark(made, "city", [1, 2, 3, 4]);
  await made.db.query("update main.cities set name = 'Later' where id = 2");
  await made.db.query("delete from main.cities where id = 3");
  await made.drained();
  expect(await names(made)).toEqual(["main.city 1 name.0 = City 1", "main.city 2 name.0 = Later"]);
  await equalsRebuild(made);
});

test("rows of an object deleted between mark and drain are removed, and none come back", async () => {
  const made = await indexing();
  await cities(made, 2);
  await mark(made, "city", [1, 2]);
  await made.drained();
  expect(await names(made)).toHaveLength(2);
  await mark(made, "city", [1]);
  await made.db.query("delete from main.cities where id = 1");
  await mark(made, "city", [1]);
  await made.drained();
  expect(await names(made)).toEqual(["main.city 2 name.0 = City 2"]);
});

test("an object deleted and made again under its key ends with what is live, in whatever order its marks are worked", async () => {
  const made = await indexing();
  await cities(made, 1);
  await mark(made, "city", [1]);
  await made.drained();
  await made.db.query("delete from main.cities where id = 1");
  await mark(made, "city", [1]);
  await made.db.query("insert into main.cities (id, name) values (1, 'Again')");
  await mark(made, "city", [1]);
  // The later one first.
  await made.db.query(
    "update holdfast.index_marks set seq = default where seq = (select min(seq) from holdfast.index_marks)",
  );
  await made.drained();
  await equalsRebuild(made);
  expect(await names(made)).toEqual(["main.city 1 name.0 = Again"]);
});

test("ten thousand commits of one row each are one batch's work, not ten thousand", async () => {
  const made = await indexing();
  await cities(made, 10_000);
  await made.db.query(
    `insert into holdfast.index_marks (lane, schema_name, type, keys)
     select hashtext(i::text) & 3, 'main', 'city', array[i::text] from generate_series(1, 10000) i`,
  );
  let transactions = 0;
  const counted = watched(made.db, (_, text) => void (text === "commit" && transactions++));
  await made.drained(counted);
  expect(transactions).toBeLessThan(20);
  await equalsRebuild(made);
});

test("a batch is bounded, however much is marked", async () => {
  const made = await indexing();
  await cities(made, 20_000);
  await mark(
    made,
    "city",
    Array.from({ length: 20_000 }, (_, i) => i + 1),
  );
  let most = 0;
  const seen = watched(made.db, () => undefined);
  const spied = {
    ...seen,
    transaction: (work: Parameters<typeof seen.transaction>[0], options?: object) =>
      seen.transaction(async (tx) => {
        const spy = {
          query: async (text: string, values?: unknown[]) => {
            if (text.includes("insert into holdfast.index_rows")) {
              most = Math.max(most, (values![0] as string[]).length);
            }
            return tx.query(text, values) as never;
          },
        };
        return work(spy);
      }, options) as never,
  };
  await made.drained(spied);
  expect(most).toBeLessThanOrEqual(3_000);
  expect(most).toBeGreaterThan(500);
  await equalsRebuild(made);
});

test("what has not changed is not written, and what has is replaced row by row", async () => {
  const made = await indexing();
  await cities(made, 2);
  await mark(made, "city", [1, 2]);
  await made.drained();
  const before = await rowsAsTheyAre(made.db);
  await made.db.query("update main.cities set founded = 5 where id = 1");
  await mark(made, "city", [1, 2]);
  await made.drained();
  const after = await rowsAsTheyAre(made.db);
  expect(
    after.filter((row) => !before.some((b) => JSON.stringify(b) === JSON.stringify(row))),
  ).toMatchObject([{ key: "1", field: "founded", value: "5" }]);
  await equalsRebuild(made);
});

test("no reader ever sees a live object without rows while it is replaced", async () => {
  const made = await indexing();
  await cities(made, 50);
  const all = Array.from({ length: 50 }, (_, i) => i + 1);
  await mark(made, "city", all);
  await made.drained();
  let missing = 0;
  let reads = 0;
  let over = false;
  const reader = (async () => {
    while (!over) {
      const { rows } = await made.db.query<{ n: number }>(
        "select count(distinct key)::int as n from holdfast.index_rows",
      );
      reads++;
      if (rows[0]!.n !== 50) missing++;
    }
  })();
  for (let round = 0; round < 20; round++) {
    await made.db.query("update main.cities set name = name || $1, founded = founded + 1", [
      String(round),
    ]);
    await mark(made, "city", all);
    await made.drained();
  }
  over = true;
  await reader;
  expect(reads).toBeGreaterThan(20);
  expect(missing).toBe(0);
});

test("the live rows are read after the lane is owned: who waits for the lane indexes what was committed meanwhile", async () => {
  const made = await indexing();
  await cities(made, 1);
  await mark(made, "city", [1]);
  let draining: Promise<unknown> | undefined;
  await made.db.transaction(async (tx) => {
    await ownIndexLanes(tx, "main", ALL_LANES);
    draining = made.drained();
    await until(
      async () => {
        const { rows } = await made.db.query(
          "select 1 from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())",
        );
        return rows.length > 0;
      },
      5_000,
      () => "nobody waits for the lane",
    );
    await made.db.query("update main.cities set name = 'Meanwhile'");
  });
  await draining;
  expect(await names(made)).toEqual(["main.city 1 name.0 = Meanwhile"]);
});

test("schemas take turns: one with a million marks does not hold up another", async () => {
  const made = await indexing();
  await cities(made, 10_000);
  await cities(made, 1, "branch");
  await mark(
    made,
    "city",
    Array.from({ length: 10_000 }, (_, i) => i + 1),
  );
  await mark(
    made,
    "city",
    Array.from({ length: 10_000 }, (_, i) => i + 1),
  );
  await mark(made, "city", [1], "branch");
  const order: string[] = [];
  const seen = watched(made.db, (_, text) => void order.push(text));
  const lane = (await made.db.query<{ lane: number }>("select hashtext('1') & 3 as lane")).rows[0]!
    .lane;
  let servedAt = -1;
  let batches = 0;
  const counting = watched(seen, async (_, text) => {
    if (text !== "commit") return;
    batches++;
    const { rows } = await made.db.query(
      "select 1 from holdfast.index_marks where schema_name = 'branch'",
    );
    if (rows.length === 0 && servedAt < 0) servedAt = batches;
  });
  await drainLane({ db: counting, config: made.config }, lane);
  expect(servedAt).toBeGreaterThan(0);
  expect(servedAt).toBeLessThanOrEqual(3);
});

test("each schema's objects are its own, also where their keys are the same", async () => {
  const made = await indexing();
  await cities(made, 2);
  await cities(made, 2, "branch");
  await made.db.query("update branch.cities set name = 'Branch ' || id");
  await mark(made, "city", [1, 2]);
  await mark(made, "city", [1], "branch");
  await made.drained();
  expect(await names(made)).toEqual([
    "branch.city 1 name.0 = Branch 1",
    "main.city 1 name.0 = City 1",
    "main.city 2 name.0 = City 2",
  ]);
});

test("a leaked search path changes nothing", async () => {
  const made = await indexing();
  await cities(made, 1);
  await cities(made, 1, "branch");
  await made.db.query("update branch.cities set name = 'Wrong'");
  await made.db.query(
    `do $$ begin execute format('alter database %I set search_path = branch', current_database()); end $$`,
  );
  await mark(made, "city", [1]);
  await made.drained();
  expect(await names(made)).toEqual(["main.city 1 name.0 = City 1"]);
});

test("a mark of a whole type brings every object up to date in pages, and removes rows of objects that are gone", async () => {
  const made = await indexing();
  await cities(made, 9_000);
  await mark(
    made,
    "city",
    Array.from({ length: 9_000 }, (_, i) => i + 1),
  );
  await made.drained();
  await made.db.query("update main.cities set name = 'New ' || id where id % 3 = 0");
  await made.db.query("delete from main.cities where id % 7 = 0");
  await made.db.query("insert into main.cities (id, name) values (100000, 'Far')");
  await made.db.transaction((tx) => markWholeType(tx, "main", "city"));
  await made.drained();
  await equalsRebuild(made);
});

test("a table that was emptied leaves no rows, whatever its keys are", async () => {
  const made = await indexing();
  await made.db.query(
    "insert into main.people select 'c' || i % 7, i, 'Person ' || i, null from generate_series(1, 300) i",
  );
  await made.db.transaction((tx) => markWholeType(tx, "main", "person"));
  await made.drained();
  await equalsRebuild(made);
  expect((await indexed(made.db)).length).toBe(300);
  await made.db.query("truncate main.people");
  await made.db.transaction((tx) => markWholeType(tx, "main", "person"));
  await made.drained();
  expect(await indexed(made.db)).toEqual([]);
});

test("a parent that was renamed brings its objects up to date, in steps, however many there are", async () => {
  const made = await indexing();
  await cities(made, 2);
  await made.db.query(
    "insert into main.people select 'c', i, 'Person ' || i, 1 + i % 2 from generate_series(1, 12001) i",
  );
  await made.db.transaction((tx) => markWholeType(tx, "main", "person"));
  await mark(made, "city", [1, 2]);
  await made.drained();
  await made.db.query("update main.cities set name = 'Renamed' where id = 1");
  await mark(made, "city", [1]);
  await made.db.query(
    `insert into holdfast.index_marks (lane, schema_name, type, keys, through)
     values (hashtext('1') & 3, 'main', 'person', '{1}', 'cities.0')`,
  );
  await made.drained();
  expect((await indexed(made.db)).filter((row) => row.endsWith("Renamed"))).toHaveLength(6_001);
  await equalsRebuild(made);
});

test("a mark through a dependency that is declared no more walks the whole type", async () => {
  const made = await indexing();
  await made.db.query("insert into main.people values ('c', 1, 'Ada', null)");
  await made.db.query(
    `insert into holdfast.index_marks (lane, schema_name, type, keys, through)
     values (0, 'main', 'person', '{1}', 'gone.3')`,
  );
  await made.drained();
  await equalsRebuild(made);
});

test("an object that cannot be indexed is held with its reason, and the others of its batch go on", async () => {
  const made = await indexing();
  await cities(made, 100);
  await made.db.query("update main.cities set size = 0 where id in (17, 60)");
  await mark(
    made,
    "city",
    Array.from({ length: 100 }, (_, i) => i + 1),
  );
  await made.drained();
  expect(await names(made)).toHaveLength(98);
  expect(await listHeld(made.db, 10)).toEqual(
    expect.arrayContaining([
      expect.objectContaining({
        queue: "index",
        scope: "main",
        key: "city/17",
        reason: "division by zero",
      }),
      expect.objectContaining({ key: "city/60" }),
    ]),
  );
  // A newer write tries again.
  await made.db.query("update main.cities set size = 5 where id = 17");
  await mark(made, "city", [17]);
  await made.drained();
  expect((await listHeld(made.db, 10)).map(({ key }) => key)).toEqual(["city/60"]);
  await made.db.query("update main.cities set size = 5 where id = 60");
  expect(await made.holdfast.search.drainOnce({ release: true })).toMatchObject({
    released: 1,
    objects: 1,
    held: 0,
  });
  await equalsRebuild(made);
  expect(await listHeld(made.db, 10)).toEqual([]);
});

test("what an object held has in the index stays as it was", async () => {
  const made = await indexing();
  await cities(made, 1);
  await mark(made, "city", [1]);
  await made.drained();
  const before = await rowsAsTheyAre(made.db);
  await made.db.query("update main.cities set size = 0, name = 'Unseen'");
  await mark(made, "city", [1]);
  await made.drained();
  expect(await rowsAsTheyAre(made.db)).toEqual(before);
});

test("a column renamed under a type leaves its rows as they are, tells why, and lets other types go on", async () => {
  const made = await indexing();
  await cities(made, 2);
  await made.db.query("insert into main.people values ('c', 1, 'Ada', null)");
  await mark(made, "city", [1, 2]);
  await mark(made, "person", ['["c", "1"]']);
  await made.drained();
  await made.db.query("alter table main.cities rename founded to since");
  await made.db.query("update main.cities set name = 'Unseen'");
  await made.db.query("update main.people set name = 'Grace'");
  const { rows: before } = await made.db.query(
    "select ctid, xmin, r.* from holdfast.index_rows r where field <> 'city' and index_id = (select id from holdfast.search_indexes where schema_name = 'main' and type = 'city') order by key, field",
  );
  await mark(made, "city", [1, 2]);
  await mark(made, "person", ['["c", "1"]']);
  await made.drained();
  const { rows: after } = await made.db.query(
    "select ctid, xmin, r.* from holdfast.index_rows r where field <> 'city' and index_id = (select id from holdfast.search_indexes where schema_name = 'main' and type = 'city') order by key, field",
  );
  expect(after).toEqual(before);
  expect(await names(made)).toContain('main.person ["c", "1"] name.0 = Grace');
  expect(await findIndex(made.db, "main", "city")).toMatchObject({
    driftReason: expect.stringContaining("founded"),
  });
  expect(await marksLeft(made.db)).toBe(0);

  // It fits again: found by upkeep when its time has come, and brought up to date as a whole.
  await made.db.query("alter table main.cities rename since to founded");
  expect(await sweepSources(made.db, made.config)).toMatchObject({ readable: 0 });
  await made.db.query(
    "update holdfast.search_indexes set retry_at = now() where drifted_at is not null",
  );
  expect(await sweepSources(made.db, made.config)).toMatchObject({ readable: 1 });
  await made.drained();
  expect(await findIndex(made.db, "main", "city")).toMatchObject({ driftedAt: null });
  await equalsRebuild(made);
});

test("marks of a drifted type look for themselves whether it fits again", async () => {
  const made = await indexing();
  await cities(made, 2);
  await made.db.query("alter table main.cities rename to towns");
  await mark(made, "city", [1]);
  await made.drained();
  expect(await findIndex(made.db, "main", "city")).toMatchObject({
    driftReason: expect.stringContaining("cities"),
  });
  await made.db.query("alter table main.towns rename to cities");
  await made.db.query(
    "update holdfast.search_indexes set retry_at = now() where drifted_at is not null",
  );
  await mark(made, "city", [2]);
  await made.drained();
  await equalsRebuild(made);
});

test("a column that changed its type is read as what it is now", async () => {
  const made = await indexing();
  await cities(made, 2);
  const { drainIndex } = (await import("../../activities/search.ts")).searchActivities({
    db: made.db,
    config: made.config,
    lingerMs: 0,
  });
  const { inActivity } = await import("../support/retaining.ts");
  const drainWithMemory = async () => {
    for (const lane of ALL_LANES) await inActivity(() => drainIndex({ queue: "index", lane }));
  };
  await mark(made, "city", [1, 2]);
  await drainWithMemory();
  await made.db.query("alter table main.cities alter id type text using 'c' || id");
  await made.db.transaction((tx) => markWholeType(tx, "main", "city"));
  await drainWithMemory();
  await drainWithMemory();
  await drainWithMemory();
  expect(await names(made)).toEqual([
    "main.city c1 name.0 = City 1",
    "main.city c2 name.0 = City 2",
  ]);
});

test("a fault of the index itself is not taken for drift: it is thrown, and nothing is lost", async () => {
  const made = await indexing();
  await cities(made, 1);
  await mark(made, "city", [1]);
  await made.db.query("alter table holdfast.index_rows rename weight to heaviness");
  await expect(made.drained()).rejects.toMatchObject({ code: "42703" });
  expect(await marksLeft(made.db)).toBe(1);
  expect(await findIndex(made.db, "main", "city")).toMatchObject({ driftedAt: null });
  const lanes = await readIndexLanes(made.db);
  expect(lanes.find((lane) => lane.failingSince)).toMatchObject({
    lastError: expect.stringContaining("weight"),
  });
  await made.db.query("alter table holdfast.index_rows rename heaviness to weight");
  await made.drained();
  await equalsRebuild(made);
  expect((await readIndexLanes(made.db)).every((lane) => lane.failingSince === null)).toBe(true);
});

test("a deadlock or a lost connection is thrown, shown with its lane, and charged to no object", async () => {
  const made = await indexing();
  await cities(made, 1);
  for (const code of ["40P01", "08006", "57P01"]) {
    await mark(made, "city", [1]);
    const failing = watched(made.db, (_, text) => {
      if (text.includes("insert into holdfast.index_rows")) throw fault(code);
    });
    await expect(made.drained(failing)).rejects.toMatchObject({ code });
    expect(await listHeld(made.db, 10)).toEqual([]);
    expect((await readIndexLanes(made.db)).filter((lane) => lane.failingSince)).toMatchObject([
      { lastError: expect.stringContaining(code) },
    ]);
    await made.drained();
    await equalsRebuild(made);
  }
});

test("a schema that fails does not keep the others of its lane from their turn", async () => {
  const made = await indexing();
  await cities(made, 1);
  await cities(made, 1, "branch");
  await mark(made, "city", [1], "branch");
  await mark(made, "city", [1]);
  const failing = watched(made.db, (_, text) => {
    if (text.includes("insert into holdfast.index_rows") && text.includes('"branch"'))
      throw fault("40P01");
  });
  await expect(made.drained(failing)).rejects.toMatchObject({ code: "40P01" });
  expect(await names(made)).toEqual(["main.city 1 name.0 = City 1"]);
});

test("a dropped schema goes with its marks, rows and held objects, and the others go on", async () => {
  const made = await indexing();
  await cities(made, 100);
  await cities(made, 100, "branch");
  await made.db.query("update branch.cities set size = 0 where id = 5");
  const all = Array.from({ length: 100 }, (_, i) => i + 1);
  await mark(made, "city", all);
  await mark(made, "city", all, "branch");
  await made.drained();
  await mark(made, "city", all, "branch");
  await made.db.query("drop schema branch cascade");
  await mark(made, "city", [1]);
  await made.drained();
  expect(await marksLeft(made.db)).toBe(0);
  const { rows } = await made.db.query(
    `select (select count(*)::int from holdfast.search_indexes where schema_name = 'branch') as indexes,
            (select count(*)::int from holdfast.quarantine) as held,
            (select count(*)::int from holdfast.index_rows r where not exists (
               select from holdfast.search_indexes i where i.id = r.index_id)) as strays`,
  );
  expect(rows).toEqual([{ indexes: 0, held: 0, strays: 0 }]);
  expect(await names(made)).toHaveLength(100);
});

test("a schema dropped while nobody wrote there is found by upkeep", async () => {
  const made = await indexing();
  await made.db.query("drop schema branch cascade");
  expect(await sweepSources(made.db, made.config)).toMatchObject({ replaced: 2 });
  await made.drained();
  const { rows } = await made.db.query(
    "select 1 from holdfast.search_indexes where schema_name = 'branch'",
  );
  expect(rows).toEqual([]);
});

test("a schema made anew under the name of a dropped one inherits nothing of it", async () => {
  const made = await indexing();
  await cities(made, 3, "branch");
  await mark(made, "city", [1, 2], "branch");
  await made.drained();
  await mark(made, "city", [3], "branch");
  await made.db.query("drop schema branch cascade");
  await createCities(made.db, "branch");
  await cities(made, 3, "branch");
  await made.drained();
  expect(await indexed(made.db)).toEqual([]);
  expect(await marksLeft(made.db)).toBe(0);
  // Installed again, it is an index like any other.
  await install(made.db, made.config, ["branch"]);
  await mark(made, "city", [1, 2, 3], "branch");
  await made.drained();
  await equalsRebuild(made);
});

test("a schema that came back from a dump with our triggers on its tables goes on, and is brought up to date", async () => {
  const made = await indexing();
  await cities(made, 2, "branch");
  await mark(made, "city", [1, 2], "branch");
  await made.drained();
  await made.db.query(
    `create function holdfast.a_trigger_of_ours() returns trigger language plpgsql
       as $$ begin return null; end $$`,
  );
  await made.db.query("drop schema branch cascade");
  await createCities(made.db, "branch");
  await made.db.query(
    `create trigger capture after insert on branch.cities
       for each statement execute function holdfast.a_trigger_of_ours()`,
  );
  await cities(made, 3, "branch");
  await mark(made, "city", [1], "branch");
  await made.drained();
  expect(await findIndex(made.db, "branch", "city")).toBeDefined();
  expect(await findIndex(made.db, "branch", "person")).toBeUndefined();
  expect(await names(made)).toHaveLength(3);
});

test("marks of types and schemas nobody knows are dropped, and the rest of the batch proceeds", async () => {
  const made = await indexing();
  await cities(made, 1);
  await mark(made, "unheard", [1]);
  await mark(made, "city", [1], "nowhere");
  await mark(made, "city", [1]);
  const news: string[] = [];
  await made.drained(made.db, { log: { warn: (_, message) => void news.push(message) } });
  await equalsRebuild(made);
  expect(news.join("\n")).toContain("unheard");
});

test("a type this worker does not know waits for one that does", async () => {
  const made = await indexing();
  await cities(made, 1);
  await mark(made, "city", [1]);
  const config = { search: { ...made.config.search, types: [] } };
  await made.drained(made.db, { config });
  expect(await findIndex(made.db, "main", "city")).toMatchObject({
    driftReason: expect.stringContaining("not registered"),
  });
  await made.db.query(
    "update holdfast.search_indexes set retry_at = now() where drifted_at is not null",
  );
  await sweepSources(made.db, made.config);
  await made.drained();
  await equalsRebuild(made);
});

test("what is built beside is kept up to date as well as what is searched", async () => {
  const made = await indexing();
  await cities(made, 1);
  await mark(made, "city", [1]);
  await made.drained();
  await made.db.query(
    `update holdfast.search_indexes set building = 1, building_operation = gen_random_uuid()
      where schema_name = 'main' and type = 'city'`,
  );
  await made.db.query("update main.cities set name = 'Both'");
  await mark(made, "city", [1]);
  await made.drained();
  const { rows } = await made.db.query(
    "select generation, value from holdfast.index_rows where field = 'name' order by 1",
  );
  expect(rows).toEqual([
    { generation: 0, value: "Both" },
    { generation: 1, value: "Both" },
  ]);
});

test("drains of all lanes at once, many times over, end with what a rebuild gives", async () => {
  const made = await indexing();
  await cities(made, 200);
  const all = Array.from({ length: 200 }, (_, i) => i + 1);
  for (let round = 0; round < 5; round++) {
    await made.db.query("update main.cities set name = name || '.'");
    await mark(made, "city", all);
    await mark(made, "city", all);
    const twice = [...ALL_LANES, ...ALL_LANES].map((lane) =>
      drainLane({ db: made.db, config: made.config }, lane),
    );
    await Promise.all(twice);
  }
  await made.drained();
  await equalsRebuild(made);
});

test.each([
  ["queue", "index"],
  ["scope", "main"],
  ["all", ""],
] as const)(
  "a brake on %s %s holds marks back, and lifting it lets them go",
  async (target, name) => {
    const made = await indexing();
    await cities(made, 1);
    await cities(made, 1, "branch");
    await mark(made, "city", [1]);
    await mark(made, "city", [1], "branch");
    await made.db.transaction((tx) =>
      setBrake(tx, { appliesTo: target, name, reason: "an incident", by: "test" }),
    );
    for (const lane of ALL_LANES) await drainLane({ db: made.db, config: made.config }, lane);
    expect(await names(made)).toEqual(target === "scope" ? ["branch.city 1 name.0 = City 1"] : []);
    await made.holdfast.brake.lift(target, name);
    await made.drained();
    await equalsRebuild(made);
  },
);

test("how long marks waited is counted in buckets, with one change of a row a batch", async () => {
  const made = await indexing();
  await cities(made, 2);
  await mark(made, "city", [1, 2]);
  await made.db.query("update holdfast.index_marks set at = now() - interval '3 seconds'");
  const marks = await marksLeft(made.db);
  await made.drained();
  const lanes = await readIndexLanes(made.db);
  expect(lanes.reduce((sum, lane) => sum + lane.waited[5]!, 0)).toBe(marks);
  expect(lanes.reduce((sum, lane) => sum + lane.applied, 0)).toBe(2);
  const status = await made.holdfast.search.status();
  expect(status.visibleAfter).toMatchObject({ count: marks, p50: expect.closeTo(3.5, 0) });
});

test("an empty lane is looked at for a while, so that a trickle of commits is not a wake each", async () => {
  const made = await indexing();
  await cities(made, 1);
  const lane = (await made.db.query<{ lane: number }>("select hashtext('1') & 3 as lane")).rows[0]!
    .lane;
  const draining = drainLane({ db: made.db, config: made.config, lingerMs: 5_000 }, lane);
  await mark(made, "city", [1]);
  await until(
    async () => (await names(made)).length === 1,
    4_000,
    () => "nobody looked again",
  );
  await made.db.query("update main.cities set name = 'Second'");
  await mark(made, "city", [1]);
  await until(
    async () => (await names(made))[0]?.endsWith("Second"),
    4_000,
    () => "nobody looked again",
  );
  expect(await draining).toMatchObject({ done: 2, more: false });
});
