import { expect, test } from "vitest";
import type { InventoryObject, ObjectId } from "../../contracts/inventory.ts";
import { drive } from "../../domain/plan-batch.ts";
import { planRemovals, removable } from "../../domain/plan-removals.ts";
import { SMALL_REGISTRY } from "../support/inventory-feeds.ts";

const object = (id: ObjectId, type: string, data: InventoryObject["data"]): InventoryObject => ({
  id,
  type,
  version: 3,
  data,
});

const place = object("p", "place", { name: "cellar" });
const box = object("b", "box", { name: "b1", place: "p", kind: "big", main: "e" });
const port = object("e", "port", { name: "e0", box: "b", type: "copper" });
const all = new Map([place, box, port].map((one) => [one.id, one]));
const referrers = new Map([
  ["p", ["b"]],
  ["b", ["e"]],
  ["e", ["b"]],
]);

function plan(...objects: InventoryObject[]) {
  const removals = planRemovals({ registry: SMALL_REGISTRY, objects, referrers });
  return drive(removals, ({ ids }) => ({
    objects: ids.flatMap((id) => all.get(id) ?? []),
    keys: new Map(),
  }));
}

test("what refers goes before what it refers to, each with all it was", () => {
  const removals = plan(place, box, port);
  expect(removals.map(({ objectId, outcome }) => `${outcome} ${objectId}`)).toEqual([
    "planned e",
    "planned b",
    "planned p",
  ]);
  expect(removals[1]).toMatchObject({
    changeSet: {
      title: "Box b1 deleted",
      changes: [
        {
          kind: "delete",
          version: 3,
          identity: { name: "b1", place: { name: "cellar" } },
          before: {
            kind: "big",
            main: { box: { name: "b1", place: { name: "cellar" } }, name: "e0" },
            name: "b1",
            place: { name: "cellar" },
          },
          after: {},
        },
      ],
    },
  });
});

test("what something refers to that stays is not removed, nor what that one needs", () => {
  const [kept, gone] = [plan(place, box), plan(port)];
  expect(kept.map((one) => one.outcome)).toEqual(["failed", "failed"]);
  expect(kept[0]).toMatchObject({
    error: {
      fault: "referenced",
      message: "1 object that stays refers to this box: remove what refers first",
    },
  });
  expect(gone.map((one) => one.outcome)).toEqual(["failed"]);
});

test("an object is removable when it has been missing for the whole grace period", () => {
  const missing = (missingSinceMs?: number) => [{ object: place, missingSinceMs }];
  expect(removable(missing(1_000), 500, 1_500)).toEqual([place]);
  expect(removable(missing(1_000), 500, 1_499)).toEqual([]);
  expect(removable(missing(), 0, 1_499)).toEqual([]);
});
