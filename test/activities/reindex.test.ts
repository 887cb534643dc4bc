import { expect, test } from "vitest";
import type { HoldfastConfig } from "../../contracts/config.ts";
import { INDEX_QUEUE } from "../../db/index-marks.ts";
import { sweepBuilds } from "../../db/index-sweep.ts";
import type { Db } from "../../db/pool.ts";
import { operationClient } from "../../client/operation.ts";
import { watched } from "../support/failing.ts";
import {
  builtRows,
  differences,
  drained,
  RACKS,
  reindexing,
  SEARCHED,
  SITES,
  type Reindexing,
} from "../support/reindexing.ts";

test("every installed index is built, and equals what its table says", async () => {
  const { db, submit, finished } = await reindexing();
  const ref = await submit();
  expect(ref.total).toBe(4);
  expect(await finished(ref)).toEqual({ state: "completed", counts: { succeeded: 4 } });
  expect(await differences(db, SEARCHED)).toEqual([]);
  expect(await builtRows(db)).toEqual({
    "branch.rack": 16,
    "branch.site": 80,
    "crm.rack": 16,
    "crm.site": 80,
  });
  const { rows } = await db.query(
    `select objects::int, building_objects::int as building, built_at is not null as built
       from holdfast.search_indexes order by schema_name, type`,
  );
  expect(rows).toEqual([
    { objects: 16, building: 0, built: true },
    { objects: 20, building: 0, built: true },
    { objects: 16, building: 0, built: true },
    { objects: 20, building: 0, built: true },
  ]);
});

test("a live object always has its rows, and what is written meanwhile is in both generations", async () => {
  const { db, submit, finished } = await reindexing({ sites: 6_000 });
  await finished(await submit());
  await db.query("update crm.sites set name = 'renamed without a mark' where id = 5999");

  let over = false;
  const reading = (async () => {
    let looks = 0;
    for (; !over; looks++) {
      const { rows } = await db.query<{ bare: number }>(
        `select count(*)::int as bare from (values ('1'), ('3000'), ('5999'), ('42')) as k(key)
          where not exists (select from holdfast.search_indexes i
                  join holdfast.index_rows r
                    on r.index_id = i.id and r.generation = i.generation and r.key = k.key
                 where i.schema_name = 'crm' and i.type = 'site')`,
      );
      expect(rows[0]!.bare).toBe(0);
    }
    return looks;
  })();
  const writing = (async () => {
    for (let round = 0; !over; round++) {
      const gone = 100 + ((round * 37) % 5_000);
      await db.query(
        "update crm.sites set name = 'now ' || $1::int where id in (42, $2::int + 1)",
        [round, gone],
      );
      await db.query("delete from crm.sites where id = $1", [gone]);
      await db.query(
        "insert into crm.sites (id, name) values ($1, 'later') on conflict do nothing",
        [10_000 + round],
      );
      const keys = [42, gone, gone + 1, 10_000 + round].map(String);
      await drained(db, SEARCHED, "crm", "site", keys);
    }
  })();
  for (let times = 0; times < 3; times++) {
    const ref = await submit({ types: ["site"], schemas: ["crm"] });
    expect(await finished(ref)).toMatchObject({ state: "completed" });
  }
  over = true;
  await writing;
  expect(await reading).toBeGreaterThan(10);
  expect(await differences(db, SEARCHED)).toEqual([]);
}, 60_000);

test("lazy leaves out what is current, and nothing else", async () => {
  const { db, submit, finished } = await reindexing();
  const only = { schemas: ["crm"], lazy: true };
  await finished(await submit({ schemas: ["crm"] }));
  expect((await finished(await submit(only))).counts).toEqual({ unchanged: 2 });

  await db.query("update holdfast.search_indexes set drifted_at = now() where type = 'rack'");
  expect((await finished(await submit(only))).counts).toEqual({ unchanged: 1, succeeded: 1 });
  await db.query("update holdfast.search_indexes set drifted_at = null, retry_at = null");

  await db.query("insert into holdfast.index_gaps values ('crm', 'site', now() - interval '1 h')");
  expect((await finished(await submit(only))).counts).toEqual({ unchanged: 1, succeeded: 1 });
  expect((await finished(await submit(only))).counts).toEqual({ unchanged: 2 });

  await db.query("update holdfast.search_indexes set definition = 'other' where type = 'site'");
  expect((await finished(await submit(only))).counts).toEqual({ unchanged: 1, succeeded: 1 });
  expect((await finished(await submit(only))).counts).toEqual({ unchanged: 2 });
});

test("an index that another operation builds is left to it, and taken up when that has ended", async () => {
  const made = await reindexing({ sites: 3_000 });
  const { db, context, submit, finished, worker } = made;
  const first = await submit({ types: ["site"], schemas: ["crm"] });
  await afterPages(made, first, 1);
  const second = await submit({ schemas: ["crm"] });
  expect(await finished(second)).toEqual({
    state: "completed",
    counts: { succeeded: 1, blocked: 1 },
  });
  const blocked = await operationClient(context).items(second.id, { outcome: "blocked" });
  expect(blocked.items).toMatchObject([
    { key: "crm.site", reason: expect.stringContaining(`operation ${first.id} is building it`) },
  ]);

  await worker().finish(first, "cancelled");
  expect((await finished(await submit({ schemas: ["crm"] }))).counts).toEqual({ succeeded: 2 });
  expect(await differences(db, SEARCHED, "crm")).toEqual([]);
});

test("work handed back goes on behind the last page, and counts each object once", async () => {
  const made = await reindexing({ sites: 5_000 });
  const { db, context, submit, finished } = made;
  const ref = await submit({ types: ["site"], schemas: ["crm"] });
  await afterPages(made, ref, 2);
  const before = await buildingOf(db);
  expect(before).toMatchObject({ building: 1, done: expect.any(Number) });
  expect(before!.done).toBeGreaterThanOrEqual(1_000);

  const view = await operationClient(context).get(ref.id);
  expect(view.stages).toMatchObject([
    { stage: "reindex", done: 0, total: 1 },
    { stage: "objects", done: before!.done, counts: { indexed: before!.done } },
  ]);
  expect(view.stages[1]!.total).toBeGreaterThan(1_000);

  expect(await finished(ref)).toMatchObject({ state: "completed" });
  expect((await operationClient(context).get(ref.id)).stages[1]).toMatchObject({
    done: 5_000,
    total: 5_000,
  });
  expect(await differences(db, SEARCHED, "crm.site")).toEqual([]);
  const { rows } = await db.query(
    "select generation from holdfast.search_indexes where built_at is not null",
  );
  expect(rows).toEqual([{ generation: 1 }]);
});

test("a build by another definition begins anew, and what it counted is taken back", async () => {
  const made = await reindexing({ sites: 3_000 });
  const { db, context, submit, finished, worker } = made;
  const ref = await submit({ types: ["site"], schemas: ["crm"] });
  await afterPages(made, ref, 1);
  const [name] = SITES.fields;
  const released: HoldfastConfig = {
    search: { ...SEARCHED.search, types: [{ ...SITES, fields: [name!] }, RACKS] },
  };
  expect(await finished(ref, worker(db, released))).toMatchObject({ state: "completed" });
  const { rows } = await db.query(
    `select distinct r.field from holdfast.index_rows r join holdfast.search_indexes i
         on i.id = r.index_id and r.generation = i.generation`,
  );
  expect(rows).toEqual([{ field: "name" }]);
  expect((await operationClient(context).get(ref.id)).stages[1]).toMatchObject({ done: 3_000 });
});

test("a cancelled reindex stops before its next page, changes nothing that is searched, and leaves nothing", async () => {
  const made = await reindexing({ sites: 3_000 });
  const { db, context, submit, finished, worker } = made;
  await finished(await submit());
  const before = await builtRows(db);
  const ref = await submit({ types: ["site"], schemas: ["crm"] });
  await afterPages(made, ref, 1);
  await operationClient(context).cancel(ref.id);
  const at = await buildingOf(db);
  expect(await worker().whole(ref)).toEqual({
    report: { done: 0, complete: false, stop: "cancelled" },
  });
  expect(await buildingOf(db)).toEqual(at);
  expect(await worker().finish(ref, "cancelled")).toMatchObject({ state: "cancelled" });

  const swept = await sweepBuilds(db, { rowsAtOnce: 1_000 });
  expect(swept.builds).toBe(1);
  expect(swept.rows).toBeGreaterThan(at!.done); // and those of the generation before
  expect(await builtRows(db)).toEqual(before);
  expect(await generations(db)).toBe(4);
  expect(await differences(db, SEARCHED)).toEqual([]);

  expect(await operationClient(context).retry(ref.id)).toMatchObject({ generation: 2 });
  expect(await finished({ ...ref, generation: 2 })).toMatchObject({ state: "completed" });
  expect((await operationClient(context).get(ref.id)).stages[1]).toMatchObject({ done: 3_000 });
});

test("a paused reindex keeps what it has, the drain writes both, and it goes on", async () => {
  const made = await reindexing({ sites: 3_000 });
  const { db, context, submit, finished, worker } = made;
  await finished(await submit());
  const ref = await submit({ types: ["site"], schemas: ["crm"] });
  await afterPages(made, ref, 1);
  await operationClient(context).pause(ref.id, "incident");
  expect(await worker().whole(ref)).toMatchObject({ report: { stop: "paused" } });
  expect(await sweepBuilds(db)).toMatchObject({ builds: 0 });

  await db.query("delete from crm.sites where id = 7");
  await db.query("update crm.sites set name = 'ahead of the build' where id = 2999");
  await drained(db, SEARCHED, "crm", "site", ["7", "2999"]);
  expect(await differences(db, SEARCHED)).toEqual([]);
  await operationClient(context).resume(ref.id);
  expect(await finished(ref)).toMatchObject({ state: "completed" });
  expect(await differences(db, SEARCHED)).toEqual([]);
});

test("an object whose rows cannot be made keeps its old ones, visibly, and holds up no other", async () => {
  const { db, context, submit, finished } = await reindexing({ sites: 2_500 });
  await finished(await submit());
  await db.query("update crm.sites set divisor = 0 where id = 1234");
  const ref = await submit({ types: ["site"], schemas: ["crm"] });
  expect(await finished(ref)).toMatchObject({ state: "completed", counts: { succeeded: 1 } });

  const { items } = await operationClient(context).items(ref.id);
  expect(items).toMatchObject([{ reason: expect.stringContaining("1 object keeps its old rows") }]);
  const { rows: held } = await db.query(
    "select queue, scope, key, reason, held from holdfast.quarantine",
  );
  expect(held).toEqual([
    { queue: INDEX_QUEUE, scope: "crm", key: "site/1234", reason: "division by zero", held: true },
  ]);
  expect((await builtRows(db))["crm.site"]).toBe(2_500 * 4);
  expect((await operationClient(context).get(ref.id)).stages[1]!.counts).toEqual({
    indexed: 2_499,
    failed: 1,
  });

  // Mended: the next reindex lets it go.
  await db.query("update crm.sites set divisor = 1 where id = 1234");
  expect(await finished(await submit())).toMatchObject({ state: "completed" });
  expect((await db.query("select from holdfast.quarantine")).rows).toEqual([]);
  expect(await differences(db, SEARCHED)).toEqual([]);
});

test("an index most of whose objects cannot be made fails by itself, and what is searched stays", async () => {
  const { db, submit, finished } = await reindexing({ sites: 300 });
  await finished(await submit());
  const before = await builtRows(db);
  await db.query("update crm.sites set divisor = 0");
  expect(await finished(await submit({ schemas: ["crm"] }))).toEqual({
    state: "failed",
    reason: expect.stringContaining("more than 100 objects cannot be indexed: division by zero"),
    counts: { failed: 1, succeeded: 1 },
  });
  expect(await builtRows(db)).toEqual(before);
  expect(await buildingOf(db)).toBeUndefined();
});

test("a table that lost a column fails its index alone, with the reason", async () => {
  const { db, submit, finished } = await reindexing();
  await finished(await submit());
  const before = await builtRows(db);
  await db.query("alter table crm.sites rename column notes to remarks");
  expect(await finished(await submit())).toEqual({
    state: "failed",
    reason: "of 4 items, 1 failed: it cannot be read: column t.notes does not exist",
    counts: { failed: 1, succeeded: 3 },
  });
  expect(await builtRows(db)).toEqual(before);
  expect(await buildingOf(db)).toBeUndefined();
});

test("a schema that is dropped in the middle blocks its indexes, and the others are built", async () => {
  const made = await reindexing({ sites: 3_000 });
  const { db, submit, finished } = made;
  const ref = await submit();
  await afterPages(made, ref, 1);
  expect(await buildingOf(db)).toMatchObject({ schema: "branch" });
  await db.query("drop schema branch cascade");
  expect(await finished(ref)).toEqual({
    state: "completed",
    counts: { blocked: 2, succeeded: 2 },
  });
  expect(await differences(db, SEARCHED, "crm")).toEqual([]);
  expect(await buildingOf(db)).toBeUndefined();
});

test("a schema made anew under the old name is not taken for the old one", async () => {
  const { db, submit, finished } = await reindexing();
  const ref = await submit({ schemas: ["crm"] });
  await db.query(
    "drop schema crm cascade; create schema crm; create table crm.sites (id int primary key, name text, ip inet, notes text, divisor int); create table crm.racks (site_id int, code text, label text, hidden bool, primary key (site_id, code))",
  );
  expect(await finished(ref)).toEqual({ state: "completed", counts: { blocked: 2 } });
});

test("an index that is uninstalled meanwhile is no fault", async () => {
  const { db, submit, finished } = await reindexing();
  const ref = await submit({ schemas: ["crm"] });
  await db.query("delete from holdfast.search_indexes where type = 'site'");
  expect(await finished(ref)).toEqual({ state: "completed", counts: { blocked: 1, succeeded: 1 } });
});

test("a worker that was not told of a type says so", async () => {
  const { db, submit, finished, worker } = await reindexing();
  const config = { search: { ...SEARCHED.search, types: [RACKS] } };
  const ref = await submit({ types: ["site"], schemas: ["crm"] });
  expect(await finished(ref, worker(db, config))).toMatchObject({
    state: "failed",
    reason: expect.stringContaining("type site is not registered in the configuration of worker"),
  });
});

test("what is indexed outside is handed over again, object by object, with nothing away meanwhile", async () => {
  const nothing = () => Promise.resolve();
  const backend = {
    search: () => Promise.resolve({ items: [], total: 0 }),
    cache: nothing,
    remove: nothing,
    clear: () => Promise.reject(new Error("nobody may clear what is searched")),
  };
  const config = { search: { ...SEARCHED.search, backend } };
  const { db, submit, finished, audit } = await reindexing({ config });
  const only = { types: ["site"], schemas: ["crm"], lazy: true };
  expect((await finished(await submit(only))).counts).toEqual({ succeeded: 1 });
  const { rows } = await db.query(
    "select lane, type, keys from holdfast.index_marks order by lane",
  );
  expect(rows).toEqual([0, 1, 2, 3].map((lane) => ({ lane, type: "site", keys: null })));
  expect((await finished(await submit(only))).counts).toEqual({ unchanged: 1 });
  await expect(audit()).rejects.toThrow(/indexed outside Postgres/);
});

/** Works at an operation until it has written some pages, as a worker that then has to stop. */
async function afterPages(
  made: Reindexing,
  ref: Parameters<Reindexing["finished"]>[0],
  pages: number,
) {
  const stop = new AbortController();
  let seen = 0;
  const counting = watched(
    made.db,
    () => undefined,
    (_, text) => {
      if (text === "commit" && ++seen > pages) stop.abort();
    },
  );
  const answer = await made.worker(counting, undefined, stop.signal).whole(ref);
  expect(answer).toMatchObject({ report: { complete: false } });
}

async function buildingOf(db: Db) {
  const { rows } = await db.query<{ schema: string; building: number; done: number }>(
    `select schema_name as schema, building, building_objects::int as done, building_after as after
       from holdfast.search_indexes where building is not null`,
  );
  return rows[0];
}

async function generations(db: Db): Promise<number> {
  const { rows } = await db.query("select distinct index_id, generation from holdfast.index_rows");
  return rows.length;
}
