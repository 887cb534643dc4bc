import { expect, test } from "vitest";
import type { Entity } from "../../contracts/inventory.ts";
import type { InventorySettingsPatch } from "../../contracts/inventory-settings.ts";
import type { PlanRule } from "../../contracts/plan-rule.ts";
import { decide, type ReviewAct } from "../../db/review.ts";
import { ingest } from "../../db/inbox.ts";
import { registryOf, setSettings } from "../../db/inventory-settings.ts";
import { sweepOverdue } from "../../db/inventory-overdue.ts";
import { reconcileBatch } from "../../db/reconcile.ts";
import { fresh } from "../support/fresh.ts";
import { inventoryOf } from "../support/inventory-database.ts";
import { box, BOXES } from "../support/reconciling.ts";

const PLACE = { tenant: "a", branch: "main" };
const APPLY_ALL: PlanRule = { name: "all", enabled: true, when: {}, decision: "apply" };

async function setup(patch: InventorySettingsPatch = {}) {
  const { db } = await fresh(BOXES);
  const set = (more: InventorySettingsPatch) =>
    db.transaction((tx) => setSettings(tx, BOXES, "a", more, "test"));
  await set(patch);
  return {
    db,
    set,
    take: (...entities: Entity[]) =>
      db.transaction((tx) =>
        ingest(tx, registryOf(BOXES, "boxes"), { ...PLACE, source: "test", entities }),
      ),
    work: () => reconcileBatch(db, BOXES, PLACE),
    act: (act: ReviewAct, by = "ada") =>
      db.transaction((tx) => decide(tx, { tenant: "a" }, { act, by }, { limit: 100 })),
    rows: async () => {
      const { rows } = await db.query<{ state: number; rule: string | null; fault: string | null }>(
        "select state, rule, error ->> 'fault' as fault from holdfast.entities order by id",
      );
      return rows;
    },
    size: async () => [...(await inventoryOf(db, PLACE)).values()].map(({ data }) => data["size"]),
  };
}

test("what was approved of a plan holds for the same plan of a newer version", async () => {
  const { db, take, work, act, rows, size } = await setup();
  await take(box("b", { size: 1 }));
  await work();
  await act("approve");
  await work();
  await db.query(
    "update holdfast.objects set data = data || '{\"size\": 2}', version = version + 1",
  );
  await take(box("b", { size: 3 }));
  await work();
  await act("approve", "eve");
  await work();
  expect(await size()).toEqual([3]);
  // As it was before the second approval: what was decided of this very change is decided again.
  await db.query(
    "update holdfast.objects set data = data || '{\"size\": 2}', version = version + 1",
  );
  await take(box("b", { size: 3 }));
  expect(await work()).toMatchObject({ applied: 1 });
  expect((await rows()).at(-1)).toEqual({ state: 3, rule: "decided before by eve", fault: null });
});

test("what was rejected of a plan stays rejected in a newer version, until it is reopened", async () => {
  const { take, work, act, rows } = await setup();
  await take(box("b", { size: 1 }));
  await work();
  await act("reject");
  // Says more words and comes to the same plan.
  await take(box("b", { size: 1, _clear: ["inside"] }), box("b", { size: 2 }));
  await work();
  expect((await rows()).map(({ state }) => state)).toEqual([6, 6, 2]);
  await act("reject");
  await take(box("b", { size: 1 }));
  await work();
  expect((await rows()).at(-1)).toEqual({ state: 6, rule: "decided before by ada", fault: null });
  await act("reopen");
  await work();
  expect((await rows()).at(-1)).toMatchObject({ state: 2 });
});

test("an approved one that is planned again stays approved as long as the plan is the same", async () => {
  const { db, take, work, act, rows, size } = await setup();
  await take(box("b", { size: 1 }));
  await work();
  await act("approve");
  await act("rediff");
  await work();
  expect(await size()).toEqual([1]);
  expect((await rows())[0]!.state).toBe(3);
  await db.query(
    "update holdfast.objects set data = data || '{\"size\": 2}', version = version + 1",
  );
  await act("rediff");
  await work();
  expect((await rows())[0]).toMatchObject({ state: 2, fault: "changed-since-approval" });
  expect(await size()).toEqual([2]);
});

test("an older version that comes again never undoes a newer one that was applied", async () => {
  const { take, work, act, rows, size } = await setup({ mode: "auto", rules: [APPLY_ALL] });
  await take(box("b", { size: 1 }));
  await work();
  await take(box("b", { size: 2 }));
  await work();
  // The newer one says all of the older, so nothing of that is left to do.
  await act("rediff");
  await work();
  expect((await rows()).map(({ state }) => state)).toEqual([11, 5]);
  expect(await size()).toEqual([2]);
});

test("an older version that says more than the newer one waits for somebody who wants it", async () => {
  const { db, take, work, rows, size } = await setup({ mode: "auto", rules: [APPLY_ALL] });
  await take(box("b", { size: 1, inside: { name: "c" } }));
  await work();
  await take(box("b", { size: 2 }));
  await work();
  await db.query(
    `update holdfast.entities set state = 1, settled_at = null
      where id = (select min(id) from holdfast.entities)`,
  );
  await work();
  expect((await rows()).map(({ state, fault }) => [state, fault])).toEqual([
    [2, "overtaken"],
    [3, null],
  ]);
  expect(await size()).toContain(2);
});

test("a version that waits for a decision ends when a newer one that says all of it is applied", async () => {
  const { set, take, work, rows } = await setup();
  await take(box("b", { size: 1 }));
  await work();
  await set({ mode: "auto", rules: [APPLY_ALL] });
  await take(box("b", { size: 2 }));
  await work();
  expect((await rows()).map(({ state }) => state)).toEqual([11, 3]);
});

test("what nobody decides is told of once, expires, and is planned again when it is sent again", async () => {
  const { db, take, work, rows } = await setup({ escalateSeconds: 60, expireSeconds: 600 });
  await take(box("b", { size: 1 }));
  await work();
  const age = (seconds: number) =>
    db.query("update holdfast.entities set planned_at = now() - $1 * interval '1 second'", [
      seconds,
    ]);
  expect(await sweepOverdue(db, BOXES)).toBe(0);
  await age(100);
  expect(await sweepOverdue(db, BOXES)).toBe(0);
  expect(await sweepOverdue(db, BOXES)).toBe(0);
  await age(700);
  expect(await sweepOverdue(db, BOXES)).toBe(1);
  expect(await rows()).toEqual([{ state: 4, rule: null, fault: "expired" }]);
  const { rows: events } = await db.query("select type from holdfast.events order by id");
  expect(events).toEqual([{ type: "inventory.overdue" }, { type: "inventory.expired" }]);
  await take(box("b", { size: 1 }));
  await work();
  expect((await rows()).map(({ state }) => state)).toEqual([4, 2]);
});
