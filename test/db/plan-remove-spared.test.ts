import { expect, test } from "vitest";
import { makeRemovals } from "../../db/inventory-removals.ts";
import { box } from "../support/reconciling.ts";
import { boxesNamed, removing, rule } from "../support/removing.ts";

const BY_TAG = boxesNamed([["tag"], ["name"]]);
const BY_NAME = boxesNamed([["name"], ["tag"]]);

test("what the newest snapshot names in another way is not removed, nor missed again", async () => {
  const { db, snapshot, work, names, removals } = await removing(BY_TAG, rule(["delete"]));
  await snapshot("all", box("one"), box("two"));
  await work();
  await snapshot("all", box("one", { tag: "T1" }));
  await work();
  expect(await makeRemovals(db)).toBe(1);
  await work();
  expect(await names()).toEqual(["one"]);
  expect(await removals()).toEqual([[3, null]]);
  await snapshot("all", box("one", { tag: "T1" }));
  expect(await makeRemovals(db)).toBe(0);
  await snapshot("all");
  await makeRemovals(db);
  await work();
  expect(await names()).toEqual([]);
});

test("a registry that asks for other names first has nothing removed", async () => {
  const { db, snapshot, work, names, configure, faults } = await removing(
    BY_NAME,
    rule(["delete"]),
  );
  const all = [box("big", { tag: "B" }), box("one", { tag: "T1", inside: { name: "big" } })];
  await snapshot("all", ...all);
  await work();
  configure(BY_TAG);
  await snapshot("all", ...all);
  expect(await makeRemovals(db)).toBe(0);
  await work();
  expect(await names()).toEqual(["big", "one"]);
  expect(await faults()).toEqual([]);
});

test("what another scope names in another way is not removed", async () => {
  const { db, snapshot, work, names } = await removing(BY_TAG, rule(["delete"]));
  await snapshot("a", box("one", { tag: "T1" }));
  await snapshot("b", box("one"), box("two"));
  await work();
  await snapshot("b", box("two"));
  await makeRemovals(db);
  await work();
  expect(await names()).toEqual(["one", "two"]);
});

test("what a member has made is not removed, though it is called otherwise by now", async () => {
  const { db, snapshot, work, names } = await removing(BY_TAG, rule(["delete"]));
  await snapshot("a", box("one", { tag: "T1" }));
  await work();
  await snapshot("b", box("one", { tag: "T2" }), box("two"));
  await work();
  await snapshot("b", box("two"));
  await makeRemovals(db);
  await work();
  expect(await names()).toEqual(["one", "two"]);
});

test("what was said since in another way ends a removal that is approved later", async () => {
  const { db, snapshot, take, work, names, approve, removals } = await removing(BY_TAG);
  await snapshot("all", box("one"), box("two"));
  await work();
  await snapshot("all", box("two"));
  await makeRemovals(db);
  await work();
  await take(box("one", { tag: "T1" }));
  await work();
  await approve();
  await work();
  expect(await names()).toEqual(["one", "two"]);
  expect(await removals()).toEqual([[11, null]]);
});

test("the grace period of another scope spares what it may still name", async () => {
  const { db, snapshotWithGrace, work, names } = await removing(BY_TAG, rule(["delete"]));
  await snapshotWithGrace("a", 0, box("one"), box("two", { tag: "T2" }));
  await snapshotWithGrace("b", 864_000, box("one"), box("two"));
  await work();
  await snapshotWithGrace("b", 864_000, box("other"));
  await snapshotWithGrace("a", 0, box("other"));
  // Under its own name, one is not even planned to go.
  expect(await makeRemovals(db)).toBe(1);
  await work();
  expect(await names()).toEqual(["one", "other", "two"]);
  await db.query("update holdfast.inventory_scopes set grace_seconds = 0");
  await makeRemovals(db);
  await work();
  expect(await names()).toEqual(["other"]);
});
