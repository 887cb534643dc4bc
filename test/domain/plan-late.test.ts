import { expect, test } from "vitest";
import type { Entity } from "../../contracts/inventory.ts";
import { drive, planBatch } from "../../domain/plan-batch.ts";
import { createMemoryInventory } from "../support/memory-inventory.ts";
import { SMALL_REGISTRY } from "../support/inventory-feeds.ts";

const entity = (type: string, fields: object) =>
  ({ type, fields, warnings: [] }) as unknown as Entity;

function planned(entities: readonly Entity[], inAnyOrder: boolean) {
  const { newId, known } = createMemoryInventory();
  let decided = 0;
  const decide = () => (decided++, "apply" as const);
  const registry = SMALL_REGISTRY;
  return {
    ...drive(planBatch({ registry, entities, newId, decide, inAnyOrder }), known),
    decided: () => decided,
  };
}

const port = (name: string, asset: string) =>
  entity("port", { name, type: "copper", box: { asset } });
const box = (asset: string, more: object = {}) => entity("box", { asset, kind: "big", ...more });

test("who refers to what a later entity brings is planned right after it, once", () => {
  const entities = [port("e1", "a1"), port("e2", "a2"), port("e3", "a1"), box("a2"), box("a1")];
  const batch = planned(entities, true);
  expect(batch.entities.map(({ outcome }) => outcome)).toEqual(Array(5).fill("planned"));
  expect(batch.order).toEqual([3, 1, 4, 0, 2]);
  expect(batch.decided()).toBe(5);
});

test("in order of acceptance alone, who comes too early fails", () => {
  const batch = planned([port("e1", "a1"), box("a1")], false);
  expect(batch.entities.map(({ outcome }) => outcome)).toEqual(["failed", "planned"]);
});

test("what is brought under another name than the one it is referred to by is found as well", () => {
  const byName = { name: "b1", kind: "big", place: { name: "p1" } };
  const peer = { name: "e1", box: byName };
  const early = entity("port", {
    name: "e9",
    type: "copper",
    box: { asset: "z", kind: "big" },
    peer,
  });
  const later = [box("a1", byName), port("e1", "a1")];
  const batch = planned([early, ...later], true);
  expect(batch.entities.map(({ outcome }) => outcome)).toEqual(Array(3).fill("planned"));
});
