import { expect, test } from "vitest";
import type { PlanRule } from "../../contracts/plan-rule.ts";
import { liftHold } from "../../db/inventory-guard.ts";
import { setSettings } from "../../db/inventory-settings.ts";
import type { InventorySettingsPatch } from "../../contracts/inventory-settings.ts";
import { inventoryOf } from "../support/inventory-database.ts";
import { box, reconciling, type Reconciling } from "../support/reconciling.ts";

const APPLY_ALL: PlanRule = { name: "all", enabled: true, when: {}, decision: "apply" };

const set = ({ db, config }: Reconciling, tenant: string, patch: InventorySettingsPatch) =>
  db.transaction((tx) => setSettings(tx, config, tenant, patch, "test"));

const boxes = (count: number, size: number) =>
  Array.from({ length: count }, (_, no) => box(`b${no}`, { size }));

test("what is taken in is applied for every tenant, and workers that start meanwhile change nothing", async () => {
  const made = await reconciling();
  const tenants = ["a", "b", "c"];
  for (const tenant of tenants) await set(made, tenant, { mode: "auto", rules: [APPLY_ALL] });
  await made.worker();
  for (let round = 1; round <= 3; round++) {
    for (const tenant of tenants) await made.take(tenant, boxes(1_500, round));
    await made.worker();
  }
  for (const tenant of tenants) {
    await made.states(tenant, (counts) => !counts[1] && (counts[3] ?? 0) > 0);
    const objects = [...(await inventoryOf(made.db, { tenant, branch: "main" })).values()];
    expect(objects.length).toBe(1_500);
    expect(new Set(objects.map(({ data }) => data["size"]))).toEqual(new Set([3]));
  }
  const { rows } = await made.db.query(
    "select entity from holdfast.change_sets where applied_at is not null group by 1 having count(*) > 1",
  );
  expect(rows).toEqual([]);
}, 120_000);

test("a mode that is changed while rows wait counts from the next batch", async () => {
  const made = await reconciling();
  await made.take("a", [box("one")]);
  await made.worker();
  await made.states("a", (counts) => counts[2] === 1);
  await set(made, "a", { mode: "auto", rules: [APPLY_ALL] });
  await made.take("a", [box("two")]);
  await made.states("a", (counts) => counts[2] === 1 && counts[3] === 1);
  await set(made, "a", { mode: "plan-only" });
  await made.take("a", [box("three")]);
  await made.states("a", (counts) => counts[2] === 2 && counts[3] === 1);
}, 60_000);

test("a hold stops its branch and is told once; the branch goes on when it is lifted", async () => {
  const made = await reconciling();
  const guard = { maxShare: 0.1, minObjects: 10 };
  await set(made, "a", { mode: "auto", rules: [APPLY_ALL], guard });
  await made.worker();
  await made.take("a", boxes(100, 1));
  await made.states("a", (counts) => counts[3] === 100);
  await liftWindow(made);
  await made.take("a", boxes(100, 2));
  await made.take("b", [box("other")]);
  await made.states("b", (counts) => counts[2] === 1);
  await made.states("a", (counts) => counts[3] === 110 && counts[1] === 90);
  const { rows } = await made.db.query(
    "select tenant, body ->> 'branch' as branch from holdfast.events where type = 'inventory.held'",
  );
  expect(rows).toEqual([{ tenant: "a", branch: "main" }]);
  await set(made, "a", { guard: { maxShare: 0 } });
  expect(await liftHold(made.db, { tenant: "a", branch: "main" }, "test")).toBe(true);
  await made.states("a", (counts) => counts[3] === 200);
}, 90_000);

/** As if the hour in which everything was made were over. */
async function liftWindow({ db }: Reconciling): Promise<void> {
  await db.query("update holdfast.inventory_guards set window_at = now() - interval '2 hours'");
}

test("a brake stops the branch at the next batch, and nothing is lost", async () => {
  const made = await reconciling();
  await set(made, "a", { mode: "auto", rules: [APPLY_ALL] });
  await made.holdfast.brake.set("tenant", "a", "looking");
  await made.take("a", [box("one")]);
  await made.take("b", [box("one")]);
  await made.worker();
  await made.states("b", (counts) => counts[2] === 1);
  await made.states("a", (counts) => counts[1] === 1);
  await made.holdfast.brake.lift("tenant", "a");
  await made.states("a", (counts) => counts[3] === 1);
}, 60_000);

test("what waits for another is tried again when it is due, though nothing is taken in", async () => {
  const made = await reconciling({
    inventory: {
      registry: "shelves",
      retry: { attempts: 1, firstSeconds: 1 },
      mode: "auto",
      rules: [APPLY_ALL],
      registries: {
        shelves: {
          name: "shelves",
          types: {
            shelf: { match: [["name"]], need: ["name", "room"], fields: { name: "s", room: "s" } },
            thing: { match: [["name"]], fields: { name: "s", shelf: "@shelf" } },
          },
        },
      },
    },
  });
  await made.worker();
  await made.take("a", [
    { type: "thing", fields: { name: "t", shelf: { name: "s" } }, warnings: [] },
  ]);
  await made.states("a", (counts) => counts[7] === 1);
}, 60_000);
