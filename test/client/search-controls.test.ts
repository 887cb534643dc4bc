import { expect, test } from "vitest";
import { indexDrain } from "../../db/index-drain.ts";
import { ALL_LANES, hasIndexMarksIn } from "../../db/index-lanes.ts";
import { IndexSources } from "../../db/index-sources.ts";
import type { Db } from "../../db/pool.ts";
import { until } from "../../dev/until.ts";
import { searchRegistry } from "../../domain/search.ts";
import { ESTATE, RIGHT, scoreOf, type Score } from "../support/estate.ts";
import { connectedTo, estate, reindexed } from "../support/estate-at-work.ts";
import type { Fresh } from "../support/fresh.ts";
import { gate } from "../support/gate.ts";
import { believing, withoutLaneLocks } from "../support/seams.ts";

/** What may go wrong, made to happen; and the same without the guard, which must then be seen to fail. */

test("a page of a reindex that a drain overtakes does not bring back what was deleted", async () => {
  expect(await overtaken((db) => db)).toEqual(RIGHT);
});

test("control: without the locks of the lanes it does, and its rows are counted as orphans", async () => {
  expect(await overtaken(withoutLaneLocks)).toMatchObject({ orphan: 2, stale: 0, missing: 0 });
});

test("what was undone by a savepoint is not in the index, although its object is marked", async () => {
  expect(await undone((db) => db)).toEqual(RIGHT);
});

test("control: a drain that takes the writer's word for it has what was undone, and is counted as stale", async () => {
  expect(await undone((db) => believing(db, "main", "believed"))).toMatchObject({
    stale: 1,
    orphan: 1,
    examples: expect.arrayContaining([
      'stale: main.site 1 name is "undone", not "kept"',
      'orphan: main.site 2 name is "undone too", not absent',
    ]),
  });
});

/** A page of a reindex has read a live row; while it writes, the row goes and a drain works that. */
async function overtaken(seam: (db: Db) => Db): Promise<Score> {
  const made = await estate();
  const app = await connectedTo(made);
  await app.query("insert into main.sites (id, name, code) values (1, 'soon gone', 'S-1')");
  const drains = batches(made, seam);
  await drains.all();
  const standing = await gate(made.url, { table: "index_rows" });
  const building = reindexed(made, { schemas: ["main"], types: ["site"] }, seam(made.db));
  await standing.reached();

  await app.query("delete from main.sites where id = 1");
  let isOver = false;
  const drained = drains.all().finally(() => (isOver = true));
  await until(
    async () => isOver || (await waitingForLocks(made.db)) === 2,
    20_000,
    () => "the drain neither ends nor waits",
  );
  await standing.open();
  await Promise.all([building, drained]);
  await standing.remove();
  return scoreOf(made.db);
}

/** What a writer undoes in its transaction; what it believes to have written is written down beside it. */
async function undone(seam: (db: Db) => Db): Promise<Score> {
  const made = await estate();
  const app = await connectedTo(made);
  await made.db.query("create schema believed; create table believed.sites (like main.sites)");
  const write = async (sql: string) => {
    await app.query(sql);
    const { rows } = await app.query("select id, name from main.sites");
    await made.db.query("delete from believed.sites");
    await made.db.query(
      "insert into believed.sites (id, name) select id, name from json_to_recordset($1) as r(id int, name text)",
      [JSON.stringify(rows)],
    );
  };
  await app.query("begin");
  await write("insert into main.sites (id, name) values (1, 'first'), (2, 'first')");
  await write(
    "update main.sites set name = 'kept' where id = 1; delete from main.sites where id = 2",
  );
  await app.query("savepoint s");
  await write(
    "update main.sites set name = 'undone' where id = 1; insert into main.sites (id, name) values (2, 'undone too')",
  );
  await app.query("rollback to s");
  await app.query("commit");
  await batches(made, seam).all();
  return scoreOf(made.db);
}

/** Works all marks of the main schema as another process does. */
function batches({ db }: Fresh, seam: (db: Db) => Db) {
  const registry = searchRegistry(ESTATE, db.schema);
  const drain = indexDrain(seam(db), ESTATE, registry, new IndexSources(registry));
  return {
    async all(): Promise<void> {
      for (const lane of ALL_LANES) {
        while (await hasIndexMarksIn(db, lane)) {
          await drain.batch(lane, "main", AbortSignal.timeout(60_000));
        }
      }
    },
  };
}

async function waitingForLocks(db: Db): Promise<number> {
  const { rows } = await db.query<{ n: number }>(
    `select count(*)::int as n from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock' and wait_event = 'advisory'`,
  );
  return rows[0]!.n;
}
