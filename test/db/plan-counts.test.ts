import { expect, test } from "vitest";
import { ingest } from "../../db/inbox.ts";
import { registryOf, setSettings } from "../../db/inventory-settings.ts";
import { foldCounts, hasCounts, MOST_SOURCES, readCounts } from "../../db/plan-counts.ts";
import type { Db } from "../../db/pool.ts";
import { reconcileBatch } from "../../db/reconcile.ts";
import { newMetrics } from "../../server/metrics.ts";
import type { Fields } from "../../contracts/inventory.ts";
import { fresh } from "../support/fresh.ts";
import { box, BOXES } from "../support/reconciling.ts";

const PLACE = { tenant: "a", branch: "main" };

async function feed(db: Db, source: string, said: [string, Fields?][], work = true): Promise<void> {
  const entities = said.map(([name, fields]) => box(name, fields));
  await db.transaction((tx) =>
    ingest(tx, registryOf(BOXES, "boxes"), { ...PLACE, source, entities }),
  );
  while (work && (await reconcileBatch(db, BOXES, PLACE)).claimed > 0);
}

async function applying(): Promise<Db> {
  const { db } = await fresh(BOXES);
  const rule = { name: "all", enabled: true, when: {}, decision: "apply" as const };
  await db.transaction((tx) =>
    setSettings(tx, BOXES, "a", { mode: "auto", rules: [rule] }, "test"),
  );
  return db;
}

const fold = (db: Db) => db.transaction((tx) => foldCounts(tx));

test("plans, what they apply and what they change are counted by source, and shown as counters", async () => {
  const db = await applying();
  await feed(db, "agent", [["one", { inside: { name: "all" } }], ["two"]]);
  await feed(db, "agent", [["two", { size: 2 }]]);
  await feed(db, "file", [
    ["two", { size: 2 }],
    ["one", { inside: { name: "one" } }],
  ]);
  await fold(db);
  expect(await hasCounts(db)).toBe(false);
  expect(await readCounts(db)).toEqual([
    {
      source: "agent",
      planned: 3,
      plan_failed: 0,
      applied: 3,
      apply_failed: 0,
      created: 3,
      updated: 1,
      deleted: 0,
    },
    {
      source: "file",
      planned: 1,
      plan_failed: 1,
      applied: 0,
      apply_failed: 0,
      created: 0,
      updated: 0,
      deleted: 0,
    },
  ]);
  const { text } = await newMetrics(db, { warn: () => undefined } as never).scrape();
  const lines = text.split("\n").filter((line) => line.startsWith("holdfast_inventory_"));
  expect(lines).toContain('holdfast_inventory_plans_total{source="agent",result="success"} 3');
  expect(lines).toContain('holdfast_inventory_plans_total{source="file",result="failure"} 1');
  expect(lines).toContain('holdfast_inventory_applies_total{source="agent",result="success"} 3');
  expect(lines).toContain('holdfast_inventory_changes_total{source="agent",kind="create"} 3');
  expect(lines).toContain('holdfast_inventory_changes_total{source="agent",kind="update"} 1');
});

test("what the inventory itself refuses was planned, and failed to be applied", async () => {
  const db = await applying();
  await db.query(
    "alter table holdfast.objects add constraint nothing_is_called_bad check (data ->> 'name' <> 'bad')",
  );
  await feed(db, "agent", [["good"], ["bad"], ["better"]]);
  await fold(db);
  const [agent] = await readCounts(db);
  expect(agent).toMatchObject({
    planned: 3,
    applied: 2,
    apply_failed: 1,
    plan_failed: 0,
    created: 2,
  });
});

test("a batch that comes to nothing counts nothing, and none waits for another's sums", async () => {
  const db = await applying();
  await feed(db, "agent", [["one"]]);
  await db.transaction(async (tx) => {
    await foldCounts(tx);
    // The sums are locked by whoever folds.
    await feed(db, "agent", [["two"]]);
    await feed(db, "agent", [["three"]], false);
  });
  await reconcileBatch(db, BOXES, { ...PLACE, branch: "another" });
  await fold(db);
  const [agent] = await readCounts(db);
  expect(agent).toMatchObject({ planned: 2, applied: 2, created: 2 });
});

test("sources have a bound: what comes after the first hundred is counted as one", async () => {
  const db = await applying();
  const insert = (from: number, to: number) =>
    db.query(
      `insert into holdfast.inventory_counts
         (source, planned, plan_failed, applied, apply_failed, created, updated, deleted)
       select 's' || i, 1, 0, 0, 0, 0, 0, 0 from generate_series($1::int, $2::int) i`,
      [from, to],
    );
  await insert(1, 60);
  await fold(db);
  await insert(31, 200);
  await fold(db);
  await insert(1, 1);
  await insert(500, 509);
  await fold(db);
  const sources = await readCounts(db);
  expect(sources).toHaveLength(MOST_SOURCES + 1);
  expect(sources.reduce((sum, { planned }) => sum + planned, 0)).toBe(60 + 170 + 11);
  expect(sources.find(({ source }) => source === "s1")!.planned).toBe(2);
  expect(sources.find(({ source }) => source === "other")!.planned).toBe(200 - 100 + 10);
});
