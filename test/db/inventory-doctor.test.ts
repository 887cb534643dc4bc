import { expect, test } from "vitest";
import { examine } from "../../activities/doctor.ts";
import type { PlanRule } from "../../contracts/plan-rule.ts";
import { INVENTORY_CHECKS } from "../../db/doctor/inventory.ts";
import { inventoryNameChecks } from "../../db/doctor/inventory-names.ts";
import { ingest } from "../../db/inbox.ts";
import { makeRemovals } from "../../db/inventory-removals.ts";
import { registryOf, setSettings } from "../../db/inventory-settings.ts";
import type { Db } from "../../db/pool.ts";
import { takeInventory } from "../../db/locks.ts";
import { reconcileBatch } from "../../db/reconcile.ts";
import { markWorkerSeen } from "../../db/workers.ts";
import { fresh } from "../support/fresh.ts";
import { box, BOXES } from "../support/reconciling.ts";

const PLACE = { tenant: "a", branch: "main" };
const RULE: PlanRule = { name: "small", enabled: true, when: {}, decision: "apply" };
const CHECKS = [...INVENTORY_CHECKS, ...inventoryNameChecks(BOXES)];
const NAMES = new Set(CHECKS.map(({ name }) => name));

async function look(db: Db, repair = false) {
  const { findings } = await examine({ db, repair, config: BOXES });
  return findings.filter(({ check }) => NAMES.has(check));
}
const found = async (db: Db) => (await look(db)).map(({ check }) => check);
const mended = async (db: Db) => (await look(db, true)).map(({ did }) => did);

/** Applied, waiting, missing in a snapshot: all that is in order. */
async function healthy(): Promise<Db> {
  const { db } = await fresh(BOXES);
  const take = (names: string[], snapshot?: { scope: string; graceSeconds: number }) =>
    db.transaction((tx) =>
      ingest(tx, registryOf(BOXES, "boxes"), {
        ...PLACE,
        source: "test",
        entities: names.map((name) => box(name, { inside: { name: "all" } })),
        snapshot,
      }),
    );
  const work = async () => {
    while ((await reconcileBatch(db, BOXES, PLACE)).claimed > 0);
  };
  await db.transaction((tx) =>
    setSettings(tx, BOXES, "a", { mode: "auto", rules: [RULE] }, "test"),
  );
  await take(["one", "two", "two"], { scope: "s", graceSeconds: 0 });
  await work();
  await take(["one"], { scope: "s", graceSeconds: 0 });
  await makeRemovals(db);
  await work();
  expect(await found(db)).toEqual([]);
  return db;
}

test("entities that nobody plans while a worker lives are found, and the drain is woken", async () => {
  const db = await healthy();
  await markWorkerSeen(db, {
    id: "00000000-0000-7000-8000-000000000001",
    identity: "w",
    version: "1",
  });
  await db.query(
    `update holdfast.entities set state = 1, settled_at = null, accepted_at = now() - interval '1 hour',
            decided_at = null, approved_hash = null`,
  );
  expect(await found(db)).toEqual(["branch-not-worked"]);
  await db.query("update holdfast.drains set wake_at = now() + interval '1 hour'");
  expect(await mended(db)).toEqual(["woke the drain"]);
  const { rows } = await db.query(
    "select 1 from holdfast.drains where queue = 'reconcile' and wake_at > now()",
  );
  expect(rows).toEqual([]);
});

test("a decision about a plan that is not there is found, and the entity planned again", async () => {
  const db = await healthy();
  await db.query(
    "delete from holdfast.change_sets where entity in (select id from holdfast.entities where state = 2)",
  );
  expect(await found(db)).toEqual(["open-without-plan"]);
  expect(await mended(db)).toEqual(["queued it"]);
  expect(await found(db)).toEqual([]);
});

test("what is applied and not in the journal, and what is referred to and not there, is found", async () => {
  const db = await healthy();
  await db.query("delete from holdfast.object_journal");
  expect(new Set(await found(db))).toEqual(new Set(["applied-without-journal"]));
  await db.query(
    "delete from holdfast.objects where id = (select min(to_object) from holdfast.object_refs)",
  );
  expect(new Set(await found(db))).toEqual(
    new Set(["applied-without-journal", "reference-to-nothing", "name-of-nobody"]),
  );
});

test("a request that has lost an entity is found", async () => {
  const db = await healthy();
  await db.query(
    "delete from holdfast.entities where id = (select min(id) from holdfast.entities)",
  );
  expect(await found(db)).toContain("request-counts");
});

test("a removal that is gone is forgotten, and made again", async () => {
  const db = await healthy();
  await db.query("update holdfast.scope_members set removal = 0 where removal is not null");
  expect(await found(db)).toEqual(["member-without-removal"]);
  expect(await mended(db)).toEqual(["forgot it"]);
  expect(await found(db)).toEqual([]);
});

test("a claim that nobody takes over is found, and its entity queued without losing who has it", async () => {
  const db = await healthy();
  await db.query(
    `update holdfast.entities set state = 10, token = 1, lease_until = now() - interval '1 minute'
      where state = 2`,
  );
  // The drain of its target is given time to take it over.
  expect(await found(db)).toEqual([]);
  await db.query(
    "update holdfast.entities set lease_until = now() - interval '1 hour' where state = 10",
  );
  expect(await found(db)).toEqual(["entity-lease-not-ended"]);
  expect(await mended(db)).toEqual(["queued it"]);
  expect(await found(db)).toEqual([]);
  const { rows } = await db.query("select state from holdfast.entities where token is not null");
  expect(rows).toEqual([]);
  while ((await reconcileBatch(db, BOXES, PLACE)).claimed > 0);
  const { rows: open } = await db.query("select 1 from holdfast.entities where state = 2");
  expect(open).toHaveLength(1);
});

const names = async (db: Db) =>
  (await db.query("select key, object from holdfast.object_keys order by key")).rows;

test("a name that an object has lost is found and written again", async () => {
  const db = await healthy();
  const before = await names(db);
  await db.query("delete from holdfast.object_keys where key like '%\"one\"%'");
  expect(await found(db)).toEqual(["object-misses-name"]);
  expect(await mended(db)).toEqual(["wrote 1 name"]);
  expect(await names(db)).toEqual(before);
  expect(await found(db)).toEqual([]);
});

test("a name of nobody, of nothing and of another is found, and taken away", async () => {
  const db = await healthy();
  const before = await names(db);
  await db.query(
    `insert into holdfast.object_keys
     select 'a', 'main', 'box:name:"ghost"', max(object) + 1000 from holdfast.object_keys
     union all
     select 'a', 'main', 'box:name:"alias"', max(object) from holdfast.object_keys
     union all
     select 'b', 'main', 'box:name:"one"', max(object) from holdfast.object_keys`,
  );
  expect(await found(db)).toEqual(["name-of-nobody", "name-of-nobody", "name-of-nobody"]);
  expect(await mended(db)).toEqual(["took it away", "took it away", "took it away"]);
  expect(await names(db)).toEqual(before);
});

test("a name that leads to another object is set right in one examination", async () => {
  const db = await healthy();
  const before = await names(db);
  await db.query(
    `update holdfast.object_keys set object = (
       select object from holdfast.object_keys where key like '%"all"%')
      where key like '%"one"%'`,
  );
  expect(await found(db)).toEqual(["name-of-nobody", "object-misses-name"]);
  expect(await mended(db)).toEqual(["took it away", "wrote 1 name"]);
  expect(await names(db)).toEqual(before);
});

test("names are left alone while somebody works in their branch", async () => {
  const db = await healthy();
  await db.query("delete from holdfast.object_keys where key like '%\"one\"%'");
  await db.transaction(async (tx) => {
    expect(await takeInventory(tx, PLACE.tenant, PLACE.branch)).toBe(true);
    expect(await mended(db)).toEqual(["nothing was left to do"]);
  });
  expect(await mended(db)).toEqual(["wrote 1 name"]);
});
