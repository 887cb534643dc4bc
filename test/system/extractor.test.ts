import { afterAll, afterEach, beforeAll, expect } from "vitest";
import type { WorkerProcess } from "../../dev/spawn-worker.ts";
import { longRounds, rounds } from "../support/rounds.ts";
import { letters } from "../support/letters.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeAll(async () => (system = await startSystem()));
afterEach(() => system.tidy());
afterAll(() => system.stop());

rounds("each way an extractor misbehaves ends its own item, and no other", async () => {
  await system.worker();
  const items = [
    ...letters(10),
    ...letters(1, "[[refuse]]", "refused"),
    ...letters(1, "[[oversized]]", "oversized"),
    ...letters(1, "[[fail 1]]", "failing-once"),
    ...letters(1, "[[fail 9]]", "failing"),
    ...letters(1, "[[defer 1500]]", "deferred"),
  ];
  const { id } = await system.submit(items);
  expect(await system.ended(id)).toMatchObject({
    state: "failed",
    result: { succeeded: 12, blocked: 1, failed: 2 },
  });
  const { items: failed } = await system.holdfast.operation.items(id, { outcome: "failed" });
  expect(failed.map(({ key }) => key)).toEqual(["oversized-1", "failing-1"]);
  const deferred = await itemOf(id, "deferred-1");
  expect(deferred).toMatchObject({ outcome: "succeeded", attempts: 0 });
  await system.sound();
});

rounds("an extractor that kills its worker once costs its neighbours nothing", async (random) => {
  const deadly = letters(1, "[[kill 1]]", "deadly");
  const items = random.shuffle([...letters(30), ...deadly]);
  await keepingAWorker(async () => {
    const { id } = await system.submit(items);
    expect(await system.ended(id)).toMatchObject({ state: "completed" });
    expect(await itemOf(id, "deadly-1")).toMatchObject({ outcome: "succeeded", crashes: 0 });
  });
  await system.sound();
});

longRounds(
  "an item that always kills its worker fails by name, and its neighbours do not",
  async () => {
    const items = [
      ...letters(3),
      ...letters(1, "[[kill 99]]", "deadly"),
      ...letters(3, "", "after"),
    ];
    await keepingAWorker(async () => {
      const { id } = await system.submit(items);
      expect(await system.ended(id, 240_000)).toMatchObject({
        state: "failed",
        result: { succeeded: 6, failed: 1 },
      });
      expect(await itemOf(id, "deadly-1")).toMatchObject({
        outcome: "failed",
        reason: "crashes the worker (3 times)",
      });
    });
    await system.sound();
  },
);

/** Starts another worker whenever one ends, as a supervisor does. */
async function keepingAWorker(work: () => Promise<void>): Promise<void> {
  let done = false;
  let current: WorkerProcess | undefined;
  const keep = (async () => {
    while (!done) {
      current = await system.worker().catch(() => undefined);
      await current?.ended;
    }
  })();
  try {
    await work();
  } finally {
    done = true;
    await current?.send("SIGKILL");
    await keep;
  }
}

async function itemOf(id: string, key: string) {
  const { items } = await system.holdfast.operation.items(id, { limit: 1_000 });
  return items.find((item) => item.key === key);
}
