import { afterAll, afterEach, beforeAll, expect, onTestFinished } from "vitest";
import { operationWorkflowId } from "../../contracts/ids.ts";
import { startProxy } from "../support/proxy.ts";
import { rounds } from "../support/rounds.ts";
import { letters } from "../support/letters.ts";
import { startSystem, type System } from "../support/system.ts";

/** Above 500 items: begin, a range per child, finish. */
const MORE_THAN_ONE_ACTIVITY = 700;

let system: System;
beforeAll(async () => (system = await startSystem()));
afterEach(() => system.tidy());
afterAll(() => system.stop());

rounds("a start whose answer was lost is not a second workflow", async (random) => {
  const proxy = await startProxy(system.stack.temporalAddress);
  onTestFinished(() => proxy.stop());
  await system.worker({ temporalAddress: proxy.address });
  proxy.lose("replies");
  const { id } = await system.submit(letters(20));
  await system.eventually("the start has arrived", () => runsOf(id).then((runs) => runs > 0));
  await new Promise((resolve) => setTimeout(resolve, random.between(0, 2_000)));
  proxy.heal();

  expect(await system.ended(id)).toMatchObject({ state: "completed", result: { succeeded: 20 } });
  expect(await runsOf(id)).toBe(1);
  await system.sound();
});

rounds("an operation that began before its worker died begins again, within 10 s", async () => {
  const gate = await system.gate({
    table: "operations",
    on: "update",
    at: "commit",
    when: "old.state = 'accepted' and new.state = 'running'",
  });
  const { id } = await system.submit(letters(MORE_THAN_ONE_ACTIVITY));
  const worker = await system.worker();
  await gate.reached();
  await worker.send("SIGKILL");
  await gate.open();

  await system.worker();
  const readyAt = performance.now();
  await system.eventually("work goes on", () => system.settled(id).then((n) => n > 0));
  expect(performance.now() - readyAt).toBeLessThan(10_000);
  expect(await system.ended(id)).toMatchObject({
    state: "completed",
    result: { succeeded: MORE_THAN_ONE_ACTIVITY },
  });
  await system.sound();
});

rounds("a worker killed between its ranges leaves no range out", async (random) => {
  const { id } = await system.submit(letters(6_100), { options: { batchItems: 1_000 } });
  const some = random.between(1, 5_000);
  const worker = await system.worker();
  await system.eventually("some of it is done", () => system.settled(id).then((n) => n >= some));
  await worker.send("SIGKILL");
  await system.worker();
  expect(await system.ended(id)).toMatchObject({ result: { succeeded: 6_100 } });
  await system.sound();
});

async function runsOf(id: string): Promise<number> {
  const workflowId = operationWorkflowId({ kind: "retain", tenant: "default", id, generation: 1 });
  let runs = 0;
  const query = `WorkflowId = "${workflowId}"`;
  for await (const _ of system.temporal.workflow.list({ query })) runs++;
  return runs;
}
