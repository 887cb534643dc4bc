import { expect, test } from "vitest";
import { makeRemovals } from "../../db/inventory-removals.ts";
import { StalePlan } from "../../db/inventory-write.ts";
import { planAndApply } from "../../db/plan-apply.ts";
import type { Db } from "../../db/pool.ts";
import { registryOf } from "../../db/inventory-settings.ts";
import { box } from "../support/reconciling.ts";
import { boxesNamed, PLACE, removing, rule } from "../support/removing.ts";

const BY_NAME = boxesNamed([["name"]]);
const BY_BOTH = boxesNamed([["name"], ["tag"]]);

test("a registry with another matcher finds, changes and removes what is there by it", async () => {
  const { snapshot, take, work, names, configure, faults, db } = await removing(
    BY_NAME,
    rule(["delete"]),
  );
  await snapshot("all", box("one", { tag: "t" }), box("two", { tag: "u" }));
  await work();
  configure(BY_BOTH);
  await snapshot("all", box("two", { tag: "v" }));
  await makeRemovals(db);
  await take(box("three"), box("renamed", { tag: "u" }));
  await work();
  expect(await faults()).toEqual([]);
  expect(await names()).toEqual(["renamed", "three", "two"]);
});

test("a registry with a matcher less leaves no name behind", async () => {
  const { take, work, names, configure, faults } = await removing(BY_BOTH);
  await take(box("one", { tag: "t" }));
  await work();
  configure(BY_NAME);
  await take(box("two", { tag: "t" }));
  await work();
  expect(await names()).toEqual(["one", "two"]);
  expect(await faults()).toEqual([]);
});

test("names are written anew page by page, and no plan is made before all are", async () => {
  const { take, work, configure, faults, db } = await removing(BY_NAME);
  const some = 2_100;
  await take(...Array.from({ length: some }, (_, no) => box(`b${no}`, { tag: `t${no}` })));
  await work();
  configure(BY_BOTH);
  await take(box(`b${some - 1}`, { tag: "t" }), box("last", { tag: `t${some - 2}` }));
  await work();
  expect(await faults()).toEqual([]);
  const { rows } = await db.query("select stage from holdfast.inventory_keyed");
  expect(rows).toEqual([{ stage: "done" }]);
  const { rows: objects } = await db.query("select from holdfast.objects");
  expect(objects).toHaveLength(some);
});

test("of two that are called the same by a new matcher one keeps the name, and both can go", async () => {
  const { db, snapshot, work, names, configure } = await removing(BY_NAME, rule(["delete"]));
  await snapshot("all", box("one", { tag: "t" }), box("two", { tag: "t" }), box("three"));
  await work();
  configure(BY_BOTH);
  await snapshot("all", box("three"));
  await makeRemovals(db);
  await work();
  expect(await names()).toEqual(["three"]);
});

test("what is stale however often it is tried fails alone", async () => {
  const { db, take, names } = await removing(BY_NAME);
  await take(box("one"), box("bad"), box("two"));
  const registry = registryOf(BY_NAME, "boxes");
  const stale: Db = {
    ...db,
    transaction: (work, how) =>
      db.transaction(async (tx) => {
        const done = await work(tx);
        const { rows } = await tx.query<{ bad: boolean }>(
          `select exists (select from holdfast.objects where data ->> 'name' = 'bad') as bad`,
        );
        if (rows[0]!.bad) throw new StalePlan("1 of 1 objects");
        return done;
      }, how),
  };
  const how = { mode: "auto" as const, rules: [rule(["create"])] };
  for (let more = true; more;) {
    ({ more } = await planAndApply(stale, registry, PLACE, how));
  }
  expect(await names()).toEqual(["one", "two"]);
  const { rows } = await db.query("select state from holdfast.entities order by id");
  expect(rows).toEqual([{ state: 3 }, { state: 4 }, { state: 3 }]);
});
