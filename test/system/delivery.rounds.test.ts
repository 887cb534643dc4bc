import { afterAll, afterEach, beforeAll, expect } from "vitest";
import type { WorkerProcess } from "../../dev/spawn-worker.ts";
import { rounds } from "../support/rounds.ts";
import { letters } from "../support/letters.ts";
import { receiver } from "../support/receiver.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeAll(async () => (system = await startSystem()));
afterEach(() => system.tidy());
afterAll(() => system.stop());

rounds("an event whose worker died before it heard the answer arrives again", async (random) => {
  let worker: WorkerProcess | undefined;
  const hook = await receiver((answer) => {
    void worker!.send("SIGKILL").then(() => answer.destroy());
  }, 200);
  const tenant = `hooked-${random.seed}`;
  await system.holdfast.webhook.add({ tenant, url: hook.url, events: ["operation.finished"] });
  worker = await system.worker();
  const { id } = await system.submit(letters(5), { tenant });
  await worker.ended;
  await system.worker();
  await system.eventually("it was delivered", async () => {
    const { rowCount } = await system.db.query(
      "select from holdfast.deliveries where tenant = $1 and state = 'delivered'",
      [tenant],
    );
    return rowCount === 1;
  });
  const [first, second] = hook.received;
  expect(hook.received).toHaveLength(2);
  expect(second!.headers["webhook-id"]).toBe(first!.headers["webhook-id"]);
  expect(second!.body).toBe(first!.body);
  expect(JSON.parse(second!.body)).toMatchObject({ data: { operationId: id } });
  await system.sound();
});
