import { expect, test } from "vitest";
import { inventoryBroken, type InventoryFigures } from "../../dev/demo-inventory-verdict.ts";

const KEPT: InventoryFigures = {
  sent: 300,
  states: { applied: 299 },
  rejected: 1,
  again: { no_changes: 300 },
  changeSetsAgain: 0,
  expected: { package: 350, release: 300 },
  found: { package: 350, release: 300 },
  plan: { changed: 5, approved: 3, applied: 3, rejected: 2 },
  notAsDecided: [],
};

test("an inventory that holds what the files name, and of a plan what was approved, is as promised", () => {
  expect(inventoryBroken(KEPT)).toEqual([]);
  const { sent, states, rejected, notAsDecided } = KEPT;
  expect(inventoryBroken({ sent, states, rejected, notAsDecided })).toEqual([]);
});

test.each<[string, Partial<InventoryFigures>, RegExp]>([
  ["an entity that nobody accounts for", { sent: 301 }, /301 entities were sent, and 300 are/],
  ["a change where there was none", { again: { no_changes: 299 } }, /299 of 300 entities were/],
  ["change sets of what is unchanged", { changeSetsAgain: 2 }, /2 change sets were written/],
  ["an object too many", { found: { package: 351, release: 300 } }, /holds 351 package, the/],
  [
    "a type that no file names",
    { found: { ...KEPT.found, site: 1 } },
    /holds 1 site, the files name 0/,
  ],
  [
    "an approval that was not applied",
    { plan: { changed: 5, approved: 3, applied: 2, rejected: 2 } },
    /3 were approved, 2 applied/,
  ],
  ["a change that nobody approved", { notAsDecided: ["package x is changed"] }, /package x is/],
])("%s is told", (_, broken, line) => {
  expect(inventoryBroken({ ...KEPT, ...broken }).join("\n")).toMatch(line);
});
