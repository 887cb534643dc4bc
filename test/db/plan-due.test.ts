import { expect, test } from "vitest";
import type { PlanRule } from "../../contracts/plan-rule.ts";
import { ingest } from "../../db/inbox.ts";
import { registryOf, setSettings } from "../../db/inventory-settings.ts";
import { claimEntities } from "../../db/plan-claim.ts";
import { dueIds, INVENTORY_IS_DUE, nextInventory, SOME_ENTITY_IS_DUE } from "../../db/plan-due.ts";
import type { Db } from "../../db/pool.ts";
import { reconcileBatch } from "../../db/reconcile.ts";
import { fresh } from "../support/fresh.ts";
import { HOUR, insertMany, MANY, pagesOf } from "../support/many-entities.ts";
import { box, BOXES } from "../support/reconciling.ts";

const PLACE = { tenant: "a", branch: "main" };
const probes = {
  relay: `select ${SOME_ENTITY_IS_DUE}`,
  drain: `select ${INVENTORY_IS_DUE}`,
  batch: `select id from (${dueIds("'a'", "'main'", "100")}) due order by id limit 100`,
};

const STATISTICS = {
  none: async () => undefined,
  // As they were when nothing waited and nothing was queued.
  stale: (db: Db) => db.query("analyze holdfast.entities"),
  fresh: (db: Db) => db.query("analyze holdfast.entities"),
};

test.each(["none", "stale", "fresh"] as const)(
  "what is due is found by a few probes however much waits and is queued; statistics: %s",
  async (known) => {
    const { db } = await fresh(BOXES);
    await db.query("alter table holdfast.entities set (autovacuum_enabled = off)");
    if (known === "stale") {
      await db.query(
        `insert into holdfast.entities (id, tenant, branch, request, type, identity, hash, fields, state, settled_at)
         select 1000000 + g, 'z', 'main', '00000000-0000-0000-0000-000000000000', 'box',
                decode(md5(g::text), 'hex'), '\\x00', '{}', 3, clock_timestamp()
           from generate_series(1, 2000) g`,
      );
      await STATISTICS.stale(db);
    }
    await insertMany(db, 0, MANY, { due: HOUR });
    await insertMany(db, 100_000, MANY);
    if (known === "fresh") await STATISTICS.fresh(db);
    for (const [name, sql] of Object.entries(probes)) {
      expect(await pagesOf(db, sql), name).toBeLessThan(400);
    }
    expect(await nextInventory(db)).toEqual(PLACE);
    // All that is queued is newer than something that waits.
    const claim = await db.transaction((tx) => claimEntities(tx, PLACE, 1_000));
    expect(claim).toEqual({ entities: [], heldBack: 1_000 });
    const { rows } = await db.query(
      `select count(*)::int as n, count(*) filter (where due_at > clock_timestamp())::int as later
         from holdfast.entities where state = 9 and id > 100000 and tenant = 'a'`,
    );
    expect(rows).toEqual([{ n: 1_000, later: 1_000 }]);
  },
  120_000,
);

test.each(["none", "fresh"] as const)(
  "5,000 tenants that wait cost a probe each, and nothing while no time has come; statistics: %s",
  async (known) => {
    const { db } = await fresh(BOXES);
    await insertMany(db, 0, 5_000, { tenant: "'t' || g", due: HOUR });
    if (known === "fresh") await STATISTICS.fresh(db);
    expect(await pagesOf(db, probes.relay)).toBeLessThan(400);
    expect(await pagesOf(db, probes.drain)).toBeLessThan(400);
    expect(await nextInventory(db)).toBeUndefined();
    await insertMany(db, 10_000, 1, { tenant: "'zz'", due: "clock_timestamp()" });
    expect(await pagesOf(db, probes.drain)).toBeLessThan(60_000);
    expect(await nextInventory(db)).toEqual({ tenant: "zz", branch: "main" });
    await insertMany(db, 20_000, 1, { tenant: "'b'" });
    expect(await nextInventory(db)).toEqual({ tenant: "b", branch: "main" });
    expect(await nextInventory(db, { tenant: "b", branch: "main" })).toMatchObject({
      tenant: "zz",
    });
  },
);

test("entities without a branch are walked past, and their tenant's branches are found", async () => {
  const { db } = await fresh(BOXES);
  await insertMany(db, 0, 5_000);
  await db.query("update holdfast.entities set branch = null");
  expect(await nextInventory(db)).toBeUndefined();
  await insertMany(db, 10_000, 1);
  await insertMany(db, 20_000, 1, { tenant: "'c'" });
  expect(await nextInventory(db)).toEqual(PLACE);
  expect(await nextInventory(db, PLACE)).toEqual({ tenant: "c", branch: "main" });
});

const APPLY_ALL: PlanRule = { name: "all", enabled: true, when: {}, decision: "apply" };

test("a version is never applied before an older one that waits, due or not, whatever fits a batch", async () => {
  const config = { inventory: { ...BOXES.inventory, batchSize: 2 } };
  const { db } = await fresh(config);
  await db.transaction((tx) =>
    setSettings(tx, config, "a", { mode: "auto", rules: [APPLY_ALL] }, "t"),
  );
  const take = (...entities: ReturnType<typeof box>[]) =>
    db.transaction((tx) =>
      ingest(tx, registryOf(config, "boxes"), { ...PLACE, source: "t", entities }),
    );
  const work = async () => {
    for (let left = 30; left > 0; left--) {
      if ((await reconcileBatch(db, config, PLACE)).claimed === 0) return;
    }
    throw new Error("comes to no rest");
  };
  const names = ["a", "b", "c", "d", "e"];
  await take(...names.map((name) => box(name, { size: 1, inside: { name: `in-${name}` } })));
  await db.query(
    `update holdfast.entities set state = 9, waits_for = array['x'], attempt = 1,
            fields = jsonb_build_object('name', fields ->> 'name', 'size', 1),
            due_at = clock_timestamp() - (id % 5) * interval '1 second' + interval '1 hour'`,
  );
  await take(...names.map((name) => box(name, { size: 2 })));
  await work();
  const waiting = await db.query("select count(*)::int as n from holdfast.objects");
  expect(waiting.rows).toEqual([{ n: 0 }]);
  // What they wait for has come: the oldest are not those that are due first.
  await db.query(
    "update holdfast.entities set due_at = due_at - interval '2 hours' where state = 9",
  );
  await work();
  const { rows } = await db.query<{ size: number; version: number }>(
    "select (data ->> 'size')::int as size, version from holdfast.objects",
  );
  expect(rows.map(({ size }) => size)).toEqual([2, 2, 2, 2, 2]);
  const { rows: left } = await db.query<{ state: number }>(
    "select distinct state from holdfast.entities where state not in (3, 11)",
  );
  expect(left).toEqual([]);
});
