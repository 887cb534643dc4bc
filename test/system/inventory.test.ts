import { afterAll, afterEach, beforeAll } from "vitest";
import type { Obstacle } from "../support/gate.ts";
import { inventorySystem, type InventorySystem } from "../support/inventory-system.ts";
import { rounds } from "../support/rounds.ts";
import config from "./fixtures/inventory.config.ts";

let inventory: InventorySystem;
beforeAll(async () => (inventory = await inventorySystem()));
afterEach(() => inventory.system.tidy());
afterAll(() => inventory.stop());

/** Statements of a batch, in order. */
const PLACES: readonly Obstacle[] = [
  { table: "objects" },
  { table: "objects", on: "update" },
  { table: "object_keys", nth: 4 },
  { table: "change_sets", nth: 3 },
  { table: "entities", on: "update", when: "new.state = 3", nth: 4 },
  { table: "entities", on: "update", when: "new.state = 5" },
  { table: "object_journal", nth: 2 },
  { table: "entities", on: "update", when: "new.state = 3", at: "commit" },
];

rounds(
  "a worker killed anywhere in a batch, two started in the middle of eight producers: the inventory is the oracle's",
  async (random) => {
    const { system } = inventory;
    const campaign = await inventory.begin(random);
    const gate = await system.gate(random.pick(PLACES));
    const first = await inventory.worker();
    const sending = campaign.send(0);
    await gate.reached(60_000);
    await first.send("SIGKILL");
    await gate.open();
    await Promise.all([sending, inventory.worker()]);
    await Promise.all([campaign.send(1), inventory.worker()]);
    await campaign.right();
    await system.sound({ config });
  },
);
