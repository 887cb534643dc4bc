import { afterAll, afterEach, beforeAll, expect, onTestFinished } from "vitest";
import { operationWorkflowId, rangeWorkflowId } from "../../contracts/ids.ts";
import { startProxy, type Proxy } from "../support/proxy.ts";
import { longRounds, rounds } from "../support/rounds.ts";
import { letters } from "../support/letters.ts";
import { startSystem, type System } from "../support/system.ts";

/** Above 500 items: begin, a range per child, finish. */
const MORE_THAN_ONE_ACTIVITY = 700;

// Numbers of temporal.api.enums.v1.EventType.
const WORKFLOW_TASK_COMPLETED = 7;
const ACTIVITY_TASK_COMPLETED = 12;
const CHILD_STARTED = 31;
const CHILD_COMPLETED = 32;
type EventType = number;

let system: System;
beforeAll(async () => (system = await startSystem()));
afterEach(() => system.tidy());
afterAll(() => system.stop());

rounds("a start whose answer was lost is not a second workflow", async (random) => {
  const proxy = await proxied();
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

longRounds(
  "a workflow whose worker died before its first task is taken up by the next",
  async () => {
    const proxy = await proxied();
    const worker = await system.worker({ temporalAddress: proxy.address });
    proxy.lose("replies");
    const { id } = await system.submit(letters(20));
    await system.eventually("the start has arrived", () => runsOf(id).then((runs) => runs > 0));
    await worker.send("SIGKILL");
    expect(await eventsOf(workflowIdOf(id))).not.toContain(WORKFLOW_TASK_COMPLETED);

    await system.worker();
    expect(await system.ended(id)).toMatchObject({ state: "completed", result: { succeeded: 20 } });
    expect(await runsOf(id)).toBe(1);
    await system.sound();
  },
);

const BEGIN = {
  table: "operations",
  on: "update",
  when: "old.state = 'accepted' and new.state = 'running'",
} as const;

rounds("an operation that began before its worker died begins again, within 10 s", async () => {
  const gate = await system.gate({ ...BEGIN, at: "commit" });
  const { id } = await system.submit(letters(MORE_THAN_ONE_ACTIVITY));
  const worker = await system.worker();
  await gate.reached();
  await worker.send("SIGKILL");
  await gate.open();
  await system.eventually("it has begun", () => hasBegun(id, 1));
  expect(await eventsOf(workflowIdOf(id))).not.toContain(ACTIVITY_TASK_COMPLETED);

  await system.worker();
  const readyAt = performance.now();
  await system.eventually("work goes on", () => system.settled(id).then((n) => n > 0));
  expect(performance.now() - readyAt).toBeLessThan(10_000);
  expect(await hasBegun(id, 2)).toBe(true);
  expect(await system.ended(id)).toMatchObject({
    state: "completed",
    result: { succeeded: MORE_THAN_ONE_ACTIVITY },
  });
  await system.sound();
});

longRounds("a worker killed while it begins leaves an operation that has not begun", async () => {
  const gate = await system.gate(BEGIN);
  const { id } = await system.submit(letters(MORE_THAN_ONE_ACTIVITY));
  const worker = await system.worker();
  await gate.reached();
  await worker.send("SIGKILL");
  await gate.open();
  await system.worker();
  expect(await system.ended(id)).toMatchObject({ result: { succeeded: MORE_THAN_ONE_ACTIVITY } });
  expect(await hasBegun(id, 1)).toBe(true);
  await system.sound();
});

longRounds("a report of `begin` lost with its worker makes it begin again", async () => {
  const proxy = await proxied();
  const gate = await system.gate({ ...BEGIN, at: "commit" });
  const { id } = await system.submit(letters(MORE_THAN_ONE_ACTIVITY));
  const worker = await system.worker({ temporalAddress: proxy.address });
  await gate.reached();
  proxy.lose("requests");
  await gate.open();
  await system.eventually("it has begun", () => hasBegun(id, 1));
  // By now the worker has answered, into nothing.
  await system.eventually("Temporal misses its worker", async () => {
    const { pendingActivities = [] } = await describe(workflowIdOf(id));
    return pendingActivities?.some(({ attempt = 0 }) => attempt! > 1);
  });
  expect(await eventsOf(workflowIdOf(id))).not.toContain(ACTIVITY_TASK_COMPLETED);
  await worker.send("SIGKILL");

  await system.worker();
  expect(await system.ended(id)).toMatchObject({ result: { succeeded: MORE_THAN_ONE_ACTIVITY } });
  expect(await hasBegun(id, 2)).toBe(true);
  await system.sound();
});

longRounds("a report of `begin` whose answer is lost with its worker is not lost", async () => {
  const proxy = await proxied();
  const gate = await system.gate({ ...BEGIN, at: "commit" });
  const { id } = await system.submit(letters(MORE_THAN_ONE_ACTIVITY));
  const worker = await system.worker({ temporalAddress: proxy.address });
  await gate.reached();
  proxy.lose("replies");
  await gate.open();
  await system.eventually("Temporal knows that it has begun", async () =>
    (await eventsOf(workflowIdOf(id))).includes(ACTIVITY_TASK_COMPLETED),
  );
  await worker.send("SIGKILL");

  await system.worker();
  expect(await system.ended(id)).toMatchObject({ result: { succeeded: MORE_THAN_ONE_ACTIVITY } });
  expect(await hasBegun(id, 1)).toBe(true);
  await system.sound();
});

longRounds("a range that ended before its parent saw it is not worked again", async () => {
  const proxy = await proxied();
  const gate = await system.gate({ table: "outcomes", nth: MORE_THAN_ONE_ACTIVITY });
  const { id } = await system.submit(letters(MORE_THAN_ONE_ACTIVITY));
  const worker = await system.worker({ temporalAddress: proxy.address });
  await gate.reached();
  // The end of the range is known here long before word of it gets through to the worker.
  proxy.delay("replies", 1_000);
  await gate.open();
  const parent = workflowIdOf(id);
  const range = system.temporal.workflow.getHandle(rangeWorkflowId(parent, 1));
  await range.result();
  await worker.send("SIGKILL");
  await system.eventually("Temporal has told the parent", async () =>
    (await eventsOf(parent)).includes(CHILD_COMPLETED),
  );
  const events = await eventsOf(parent);
  expect(events.slice(events.indexOf(CHILD_COMPLETED))).not.toContain(WORKFLOW_TASK_COMPLETED);
  expect(await system.holdfast.operation.get(id)).toMatchObject({ state: "running" });

  await system.worker();
  expect(await system.ended(id)).toMatchObject({
    state: "completed",
    result: { succeeded: MORE_THAN_ONE_ACTIVITY },
  });
  expect((await eventsOf(parent)).filter((type) => type === CHILD_STARTED)).toHaveLength(1);
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

function workflowIdOf(id: string): string {
  return operationWorkflowId({ kind: "retain", tenant: "default", id, generation: 1 });
}

async function runsOf(id: string): Promise<number> {
  let runs = 0;
  const query = `WorkflowId = "${workflowIdOf(id)}"`;
  for await (const _ of system.temporal.workflow.list({ query })) runs++;
  return runs;
}

/** Types of the events of a workflow so far, in order. */
async function eventsOf(workflowId: string): Promise<EventType[]> {
  const { events } = await system.temporal.workflow.getHandle(workflowId).fetchHistory();
  return (events ?? []).map((event) => event.eventType!);
}

async function describe(workflowId: string) {
  const { raw } = await system.temporal.workflow.getHandle(workflowId).describe();
  return raw;
}

/** It says so in the log of the operation, in the transaction that makes it run. */
async function hasBegun(id: string, times: number): Promise<boolean> {
  const { rowCount } = await system.db.query(
    "select from holdfast.logs where operation_id = $1 and message like 'generation 1 began%'",
    [id],
  );
  return rowCount === times;
}

async function proxied(): Promise<Proxy> {
  const proxy = await startProxy(system.stack.temporalAddress);
  onTestFinished(() => proxy.stop());
  return proxy;
}
