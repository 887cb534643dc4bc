import { afterAll, afterEach, beforeAll, expect } from "vitest";
import type { WorkerProcess } from "../../dev/spawn-worker.ts";
import { disconnectAt, refuseAt, type Gate, type Obstacle } from "../support/gate.ts";
import { rounds } from "../support/rounds.ts";
import { letters } from "../support/letters.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeAll(async () => (system = await startSystem()));
afterEach(() => system.tidy());
afterAll(() => system.stop());

/** Statements of the commit of a page, in order, with rows that each is sure to write. */
const INSIDE = [
  { table: "outcomes", rows: 20 },
  { table: "document_parts", rows: 20 },
  { table: "chunks", rows: 20 },
  { table: "facts", rows: 20 },
  { table: "fact_entities", rows: 20 },
  { table: "marks", rows: 20 },
  { table: "progress_deltas", rows: 1 },
];

rounds("a worker killed inside the commit of a page leaves nothing of it", async (random) => {
  const { table, rows } = random.pick(INSIDE);
  const gate = await system.gate({ table, nth: random.between(1, rows) });
  const { id } = await system.submit(letters(40));
  await killedAt(gate, await system.worker());
  expect(await system.settled(id)).toBe(0);

  await system.worker();
  expect(await system.ended(id)).toMatchObject({ state: "completed", result: { succeeded: 40 } });
  await system.sound();
});

rounds("a worker killed before it heard of its commit does nothing twice", async () => {
  const gate = await system.gate({ table: "outcomes", at: "commit" });
  const { id } = await system.submit(letters(40));
  await killedAt(gate, await system.worker());
  await system.eventually("the page is committed", async () => (await system.settled(id)) === 40);

  await system.worker();
  expect(await system.ended(id)).toMatchObject({ state: "completed", result: { succeeded: 40 } });
  await system.sound();
});

rounds(
  "a worker killed in or after the last transaction ends its operation once",
  async (random) => {
    const gate = await system.gate(
      random.pick<Obstacle>([
        { table: "events" },
        { table: "events", at: "commit" },
        { table: "operations", on: "update", when: "new.finished_at is not null" },
      ]),
    );
    // Small batches end in their one activity, others in an activity of their own.
    const size = random.pick([10, 600]);
    const { id } = await system.submit(letters(size));
    await killedAt(gate, await system.worker());

    await system.worker();
    expect(await system.ended(id)).toMatchObject({
      state: "completed",
      result: { succeeded: size },
    });
    await system.sound();
  },
);

rounds(
  "a commit that Postgres breaks off is made again, and charged to no item",
  async (random) => {
    const where = { ...random.pick(INSIDE), nth: random.between(1, 20) };
    const code = random.pick(["40001", "40P01", "53300", "57014", "08006"]);
    const remove = random.between(0, 1)
      ? await disconnectAt(system.stack.databaseUrl, where)
      : await refuseAt(system.stack.databaseUrl, where, code);
    await system.worker();
    const { id } = await system.submit(letters(40));
    expect(await system.ended(id)).toMatchObject({ state: "completed", result: { succeeded: 40 } });
    const { items } = await system.holdfast.operation.items(id);
    expect(items.filter(({ attempts, crashes }) => attempts + crashes > 0)).toEqual([]);
    await remove();
    await system.sound();
  },
);

async function killedAt(gate: Gate, worker: WorkerProcess): Promise<void> {
  await gate.reached();
  await worker.send("SIGKILL");
  await gate.open();
}
