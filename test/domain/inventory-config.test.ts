import { expect, test } from "vitest";
import type { HoldfastConfig } from "../../contracts/config.ts";
import { assertInventory } from "../../db/inventory-settings.ts";
import { registryOf } from "../../domain/inventory-registries.ts";

const problem = (inventory: HoldfastConfig["inventory"]) => {
  try {
    assertInventory({ inventory: inventory! });
  } catch (error) {
    return (error as Error).message;
  }
  return undefined;
};

test("a registry of one's own is one file, beside those that are built in", () => {
  const registries = {
    mine: {
      name: "mine",
      types: { box: { match: [["name"] as [string]], fields: { name: "s" } } },
    },
  };
  expect(problem({ registries, registry: "mine" })).toBeUndefined();
  expect(registryOf({ inventory: { registries } }, "mine").types.has("box")).toBe(true);
  expect(registryOf({ inventory: { registries } }, "packages").types.has("release")).toBe(true);
});

test("a mistake in the configuration is told when a process starts, with its place", () => {
  const types = { box: { match: [["name"] as [string]], fields: { name: "s", near: "@shelf" } } };
  expect(problem({ registries: { mine: { name: "mine", types } } })).toBe(
    "inventory.registries.mine: types.box.fields.near: refers to shelf, which is no type of this registry",
  );
  expect(problem({ registry: "mine" })).toMatch(/there is no registry mine: choose one of network/);
  expect(problem({ batchSize: 0 })).toMatch(/^inventory.batchSize: /);
  const rules = [{ name: "r", when: { types: ["boat"] as [string] }, decision: "apply" as const }];
  expect(problem({ rules })).toMatch(/boat is no type of the registry network/);
});
