import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import { estateSystem, type EstateSystem } from "../support/estate-system.ts";
import { estateWriter } from "../support/estate-writer.ts";
import type { Obstacle } from "../support/gate.ts";
import { rounds } from "../support/rounds.ts";

let estate: EstateSystem;
beforeAll(async () => (estate = await estateSystem()));
beforeEach(() => estate.renew());
afterEach(() => estate.system.tidy());
afterAll(() => estate.stop());

/** Statements of a batch of the drain, in order. */
const PLACES: readonly Obstacle[] = [
  { table: "index_marks", on: "delete" },
  { table: "index_rows" },
  { table: "index_rows", nth: 30 },
  { table: "index_marks", when: "new.place is not null" },
  { table: "index_lanes", on: "update" },
  { table: "index_marks", on: "delete", at: "commit" },
  { table: "drains", on: "update", when: "new.queue = 'index'", nth: 2 },
];

rounds(
  "a worker killed anywhere in a drain, and a writer in its transactions: the index is what the tables say",
  async (random) => {
    const { system } = estate;
    const gate = await system.gate(random.pick(PLACES));
    const worker = await estate.worker();
    const writer = estateWriter(system.stack.databaseUrl, random.seed);
    await gate.reached();
    await writer.wrote(random.between(1, 10));
    await Promise.all([worker.send("SIGKILL"), writer.kill()]);
    await gate.open();
    await estate.worker();
    await estate.right();
  },
);
