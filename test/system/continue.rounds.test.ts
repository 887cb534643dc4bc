import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { operationWorkflowId } from "../../contracts/ids.ts";
import { rounds } from "../support/rounds.ts";
import { letters } from "../support/letters.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
// A history that is long after one wait, so that a few of them are many runs.
const temporalConfig = { "limit.historyCount.suggestContinueAsNew": "8" };
beforeAll(async () => (system = await startSystem({ temporalConfig })));
afterEach(() => system.tidy());
afterAll(() => system.stop());

rounds("a worker killed while workflows continue as new loses no item", async (random) => {
  const items = [...letters(550), ...letters(3, "[[wait 12]]", "waiting")];
  const { id } = await system.submit(items);
  const small = await system.submit(letters(5, "[[wait 12]]"));
  const worker = await system.worker();
  await system.eventually("it is at work", () => system.settled(id).then((n) => n > 0));
  await sleep(random.between(0, 3_000));
  await worker.send("SIGKILL");
  await system.worker();
  expect(await system.ended(id)).toMatchObject({ result: { succeeded: 553 } });
  expect(await system.ended(small.id)).toMatchObject({ result: { succeeded: 5 } });
  expect(await continuations(id)).toBeGreaterThan(0);
  expect(await continuations(small.id)).toBeGreaterThan(0);
  await system.sound();
});

async function continuations(id: string): Promise<number> {
  const workflowId = operationWorkflowId({ kind: "retain", tenant: "default", id, generation: 1 });
  const query = `WorkflowId = "${workflowId}" and ExecutionStatus = "ContinuedAsNew"`;
  let runs = 0;
  await system.eventually("its runs are listed", async () => {
    runs = (await system.temporal.workflow.count(query)).count;
    return runs > 0;
  });
  return runs;
}
