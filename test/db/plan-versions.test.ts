import { expect, test } from "vitest";
import type { Entity } from "../../contracts/inventory.ts";
import type { InventorySettingsPatch } from "../../contracts/inventory-settings.ts";
import type { PlanRule } from "../../contracts/plan-rule.ts";
import { resolveBranch } from "../../db/inbox-entities.ts";
import { planAndApplyAs } from "../../db/plan-apply.ts";
import { sweepRetention } from "../../db/retention.ts";
import { seenNow } from "../../db/review-list.ts";
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
  // It was applied: what is to be done now is approved anew.
  expect((await rows())[0]).toMatchObject({ state: 2, fault: null });
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

test("rediffed after it was applied, a version is not applied again on its old approval", async () => {
  const { take, work, act, rows, size } = await setup();
  for (const say of [1, 5, 7, 1]) {
    await take(box("b", { size: say }));
    await work();
    await act("approve");
    await work();
  }
  expect(await size()).toEqual([1]);
  await act("rediff");
  await work();
  expect(await size()).toEqual([1]);
  expect((await rows()).map(({ state }) => state)).not.toContain(3);
});

test("of what was approved only the newest decision holds for a newer version", async () => {
  const { take, work, act, rows, size } = await setup();
  for (const say of [1, 5, 7, 5]) {
    await take(box("b", { size: say }));
    await work();
    await act("approve");
    await work();
  }
  // From 5 to 7 was approved once, and then taken back.
  await take(box("b", { size: 7 }));
  await work();
  expect((await rows()).at(-1)).toMatchObject({ state: 2, rule: null });
  expect(await size()).toEqual([5]);
});

test("what got its branch late never undoes a newer version that was applied", async () => {
  const { db, take, work, rows, size } = await setup({ mode: "auto", rules: [APPLY_ALL] });
  for (const say of [1, 2, 3]) {
    await db.transaction((tx) =>
      ingest(tx, registryOf(BOXES, "boxes"), {
        tenant: "a",
        branch: null,
        source: "test",
        entities: [box(say === 3 ? "c" : "b", { size: say, inside: { name: "d" } })],
      }),
    );
  }
  await take(box("b", { size: 9 }));
  await work();
  expect(await resolveBranch(db, "a", "main", 2)).toBe(3);
  await work();
  expect((await rows()).map(({ state, fault }) => [state, fault])).toEqual([
    [2, "overtaken"],
    [2, "overtaken"],
    [3, null],
    [3, null],
  ]);
  expect(await size()).toContain(9);
});

test("what is reopened waits for somebody, whatever rules say", async () => {
  const { set, take, work, act, rows } = await setup();
  await take(box("b", { size: 1 }));
  await work();
  await act("reject");
  await set({ mode: "auto", rules: [APPLY_ALL] });
  await act("reopen");
  await work();
  expect((await rows())[0]).toMatchObject({ state: 2 });
  await act("approve");
  await work();
  expect((await rows())[0]).toMatchObject({ state: 3 });
});

test("a rejection that sources still repeat outlives its time, and so does what it came with", async () => {
  const { db, set, take, work, act, rows } = await setup();
  await take(box("b", { size: 1 }), box("c", { size: 1 }));
  await work();
  await db.query(
    "update holdfast.entities set state = 3, settled_at = clock_timestamp() where id % 2 = 0",
  );
  await act("reject");
  await db.query(
    "update holdfast.entities set settled_at = clock_timestamp() - interval '91 days'",
  );
  await db.transaction((tx) => sweepRetention(tx));
  expect((await rows()).map(({ state }) => state)).toEqual([6]);
  await set({ mode: "auto", rules: [APPLY_ALL] });
  await take(box("b", { size: 1 }), box("c", { size: 1 }));
  await work();
  expect((await rows()).map(({ state }) => state).toSorted()).toEqual([3, 6]);
});

test("the request of what still waits is kept, and the newest version while an older one waits", async () => {
  const { db, take, work, rows } = await setup();
  await take(box("b", { size: 1, inside: { name: "c" } }));
  await work();
  await take(box("b", { size: 2 }));
  await db.query(
    `update holdfast.entities set state = 3, settled_at = clock_timestamp() - interval '91 days'
      where id = (select max(id) from holdfast.entities)`,
  );
  await db.query("update holdfast.ingest_requests set at = clock_timestamp() - interval '91 days'");
  await db.transaction((tx) => sweepRetention(tx));
  expect((await rows()).map(({ state }) => state)).toEqual([2, 3]);
  const { rows: kept } = await db.query("select 1 from holdfast.ingest_requests");
  expect(kept).toHaveLength(1);
});

test("a decision by filter leaves plans alone that nobody could see when it was asked", async () => {
  const { db, take, work } = await setup();
  await take(box("b", { size: 1 }));
  const registry = registryOf(BOXES, "boxes");
  let seen: Awaited<ReturnType<typeof seenNow>> | undefined;
  await planAndApplyAs(db, PLACE, async () => ({
    registry,
    mode: "plan-only",
    rules: [],
    // The plan is made, and its transaction is still to be committed.
    onSettled: async () => {
      seen = await seenNow(db);
    },
  }));
  const approve = (bound: typeof seen) =>
    db.transaction((tx) =>
      decide(tx, { tenant: "a", ...bound }, { act: "approve", by: "ada" }, { limit: 10 }),
    );
  expect(await approve(seen)).toEqual({ decided: 0 });
  expect(await approve(await seenNow(db))).toEqual({ decided: 1 });
  await work();
});
