import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll } from "vitest";
import { inventorySystem, type InventorySystem } from "../support/inventory-system.ts";
import { longRounds, rounds } from "../support/rounds.ts";
import config from "./fixtures/inventory.config.ts";

let inventory: InventorySystem;
// What is committed must survive SIGKILL of Postgres.
beforeAll(async () => (inventory = await inventorySystem({ durability: "durable" })));
afterEach(() => inventory.system.tidy());
afterAll(() => inventory.stop());

rounds(
  "Postgres killed while eight producers send and workers apply: nothing is lost, nothing is there twice",
  async (random) => {
    const { system } = inventory;
    const campaign = await inventory.begin(random);
    await inventory.worker();
    await inventory.worker();
    await campaign.send(0);
    const sending = campaign.send(1);
    await sleep(random.between(0, 300));
    await system.stack.postgres!.stop("kill");
    await system.stack.postgres!.start();
    await sending;
    await campaign.right();
    await system.sound({ config });
  },
);

longRounds(
  "workers killed and started over and over under load: the inventory is the oracle's",
  async (random) => {
    const { system } = inventory;
    const campaign = await inventory.begin(random);
    const workers = [await inventory.worker(), await inventory.worker()];
    const sending = campaign.send(0).then(() => campaign.send(1));
    for (let kills = 0; kills < 4; kills++) {
      await sleep(random.between(0, 1_500));
      await workers.shift()!.send("SIGKILL");
      workers.push(await inventory.worker());
    }
    await sending;
    await campaign.right();
    await system.sound({ config });
  },
);
