import { expect, test } from "vitest";
import type { Entity } from "../../contracts/inventory.ts";
import type { PlanRule } from "../../contracts/plan-rule.ts";
import { ingest } from "../../db/inbox.ts";
import { makeRemovals } from "../../db/inventory-removals.ts";
import { registryOf, setSettings } from "../../db/inventory-settings.ts";
import { reconcileBatch } from "../../db/reconcile.ts";
import { decide } from "../../db/review.ts";
import { fresh } from "../support/fresh.ts";
import { inventoryFaults, inventoryOf } from "../support/inventory-database.ts";
import { box, BOXES } from "../support/reconciling.ts";

const PLACE = { tenant: "a", branch: "main" };
const rule = (kinds: PlanRule["when"]["kinds"]): PlanRule => ({
  name: `all ${kinds}`,
  enabled: true,
  when: { kinds },
  decision: "apply",
});
const REGISTRY = registryOf(BOXES, "boxes");

async function setup(...rules: PlanRule[]) {
  const { db } = await fresh(BOXES);
  const set = (patch: object) => db.transaction((tx) => setSettings(tx, BOXES, "a", patch, "test"));
  await set({ mode: "auto", rules: [rule(["create", "update"]), ...rules] });
  return {
    db,
    set,
    snapshot: (scope: string, ...entities: Entity[]) =>
      db.transaction((tx) =>
        ingest(tx, REGISTRY, {
          ...PLACE,
          source: "test",
          entities,
          snapshot: { scope, graceSeconds: 0, allowEmpty: true },
        }),
      ),
    take: (...entities: Entity[]) =>
      db.transaction((tx) => ingest(tx, REGISTRY, { ...PLACE, source: "test", entities })),
    work: () => reconcileBatch(db, BOXES, PLACE),
    names: async () =>
      [...(await inventoryOf(db, PLACE)).values()].map(({ data }) => data["name"]).toSorted(),
    faults: () => inventoryFaults(db, REGISTRY, PLACE),
    removals: async () => {
      const { rows } = await db.query<{ state: number; fault: string | null }>(
        `select state, error ->> 'fault' as fault from holdfast.entities where removal order by id`,
      );
      return rows.map(({ state, fault }) => [state, fault]);
    },
  };
}

test("what a snapshot no longer names is removed after a review, with its names and references", async () => {
  const { db, snapshot, work, names, removals, faults } = await setup();
  await snapshot("all", box("big"), box("small", { inside: { name: "big" } }), box("other"));
  await work();
  await snapshot("all", box("other"));
  expect(await makeRemovals(db)).toBe(2);
  expect(await makeRemovals(db)).toBe(0);
  while ((await work()).claimed > 0);
  expect(await removals()).toEqual([
    [2, null],
    [2, null],
  ]);
  expect(await names()).toEqual(["big", "other", "small"]);
  await db.transaction((tx) =>
    decide(tx, { tenant: "a" }, { act: "approve", by: "ada" }, { limit: 10 }),
  );
  while ((await work()).claimed > 0);
  expect(await names()).toEqual(["other"]);
  expect(await faults()).toEqual([]);
  const { rows } = await db.query(
    "select object from holdfast.object_journal where kind = 'delete'",
  );
  expect(rows.length).toBe(2);
});

test("a rule that speaks of deleting removes without a review", async () => {
  const { db, snapshot, work, names } = await setup(rule(["delete"]));
  await snapshot("all", box("one"), box("two"));
  await work();
  await snapshot("all", box("two"));
  await makeRemovals(db);
  while ((await work()).claimed > 0);
  expect(await names()).toEqual(["two"]);
  await snapshot("all", box("one"), box("two"));
  while ((await work()).claimed > 0);
  expect(await names()).toEqual(["one", "two"]);
});

test("what something refers to that stays is not removed, and says so", async () => {
  const { db, snapshot, work, names, removals } = await setup(rule(["delete"]));
  await snapshot("all", box("big"), box("other"));
  await snapshot("more", box("small", { inside: { name: "big" } }));
  await work();
  await snapshot("all", box("other"));
  await makeRemovals(db);
  while ((await work()).claimed > 0);
  expect(await removals()).toEqual([[9, "referenced"]]);
  expect(await names()).toEqual(["big", "other", "small"]);
});

test("what is said of it again ends a removal that is not applied", async () => {
  const { db, snapshot, take, work, names, removals } = await setup();
  await snapshot("all", box("one"), box("two"));
  await work();
  await snapshot("all", box("two"));
  await makeRemovals(db);
  await work();
  await take(box("one"));
  while ((await work()).claimed > 0);
  expect(await removals()).toEqual([[11, null]]);
  expect(await makeRemovals(db)).toBe(0);
  expect(await names()).toEqual(["one", "two"]);
});

test("what another scope still names, or was taken in since, is not removed", async () => {
  const { db, snapshot, take, work } = await setup();
  await snapshot("all", box("one"), box("two"), box("three"));
  await snapshot("more", box("one"));
  await work();
  await snapshot("all", box("three"));
  await take(box("two", { size: 1 }));
  expect(await makeRemovals(db)).toBe(0);
});
