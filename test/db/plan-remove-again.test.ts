import { expect, test } from "vitest";
import { makeRemovals } from "../../db/inventory-removals.ts";
import { box } from "../support/reconciling.ts";
import { boxesNamed, removing, rule } from "../support/removing.ts";

const BOXES = boxesNamed([["name"]]);

test("a removal that came to nothing is made again by the next snapshot that still misses it", async () => {
  const { db, snapshot, work, names, removals } = await removing(BOXES);
  await snapshot("all", box("one"), box("two"));
  await work();
  await snapshot("all", box("two"));
  for (const end of [
    "update holdfast.entities set state = 4, settled_at = clock_timestamp() where removal",
    "update holdfast.entities set state = 7, settled_at = clock_timestamp() where removal",
    "delete from holdfast.entities where removal",
  ]) {
    expect(await makeRemovals(db)).toBe(1);
    await work();
    await db.query(end);
    expect(await makeRemovals(db)).toBe(0);
    await snapshot("all", box("two"));
  }
  // One that somebody has rejected stands.
  expect(await makeRemovals(db)).toBe(1);
  await db.query(
    "update holdfast.entities set state = 6, settled_at = clock_timestamp() where removal",
  );
  await snapshot("all", box("two"));
  expect(await makeRemovals(db)).toBe(0);
  expect(await removals()).toEqual([[6, null]]);
  expect(await names()).toEqual(["one", "two"]);
});

test("what waits for what refers to it is never given up, and goes with the last of it", async () => {
  const { db, snapshot, work, names, removals } = await removing(BOXES, rule(["delete"]));
  await snapshot("all", box("big"), box("other"));
  await snapshot("more", box("small", { inside: { name: "big" } }));
  await work();
  await snapshot("all", box("other"));
  await makeRemovals(db);
  for (let tries = 0; tries < 20; tries++) {
    await work();
    await db.query("update holdfast.entities set due_at = clock_timestamp() where state = 9");
  }
  await work();
  expect(await removals()).toEqual([[9, "referenced"]]);
  await snapshot("more");
  await makeRemovals(db);
  await work();
  expect(await names()).toEqual(["other"]);
});

test("one approval removes what refers and what is referred to, in however many batches", async () => {
  const { db, snapshot, work, names, removals, approve, faults } = await removing(
    boxesNamed([["name"]], 4),
  );
  const all = Array.from({ length: 12 }, (_, no) => [
    box(`p${no}`),
    box(`c${no}`, { inside: { name: `p${no}` } }),
  ]).flat();
  await snapshot("all", ...all);
  await work();
  await snapshot("all");
  expect(await makeRemovals(db)).toBe(24);
  await work();
  // All of them stand before people at once.
  expect(await removals()).toEqual(all.map(() => [2, null]));
  expect(await approve()).toMatchObject({ decided: 24 });
  await work();
  expect(await names()).toEqual([]);
  expect(await faults()).toEqual([]);
});

test("what was approved waits, approved, for what refers to it and is not", async () => {
  const { db, snapshot, work, names, removals, approve } = await removing(BOXES);
  await snapshot("all", box("big"), box("small", { inside: { name: "big" } }));
  await work();
  await snapshot("all");
  await makeRemovals(db);
  await work();
  await db.query(
    `update holdfast.entities set approved_hash = plan_hash, decided_by = 'ada'
      where removal and fields ->> 'name' = 'big'`,
  );
  await work();
  expect((await removals()).toSorted()).toEqual([
    [2, null],
    [9, "referenced"],
  ]);
  await approve();
  await work();
  expect(await names()).toEqual([]);
});
