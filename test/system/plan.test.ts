import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest";
import { connect, type Holdfast } from "../../client/index.ts";
import { inventoryFaults, inventoryOf } from "../support/inventory-database.ts";
import { SMALL_REGISTRY } from "../support/inventory-feeds.ts";
import type { Obstacle } from "../support/gate.ts";
import { place, PLANNED, sent } from "../support/planning.ts";
import { rounds } from "../support/rounds.ts";
import { startSystem, type System } from "../support/system.ts";

const CONFIG = fileURLToPath(new URL("fixtures/planned.config.ts", import.meta.url));
/** Above what one activity does in one go. */
const ENTITIES = 620;

let system: System;
let holdfast: Holdfast;
beforeAll(async () => {
  system = await startSystem();
  holdfast = connect({ databaseUrl: system.stack.databaseUrl, config: PLANNED });
});
beforeEach(() => system.forget());
afterEach(() => system.tidy());
afterAll(async () => {
  await holdfast.close();
  await system.stop();
});

/** Boxes with a port each, the ports first. */
function boxes(n: number, kind = "big") {
  const asset = (no: number) => `a${no}`;
  return [
    ...Array.from({ length: n }, (_, no) =>
      sent("port", { name: "e0", type: "copper", box: { asset: asset(no) } }),
    ),
    ...Array.from({ length: n }, (_, no) => sent("box", { asset: asset(no), kind })),
  ];
}

/** Statements of planning, in order. */
const planning = (nth: number): readonly Obstacle[] => [
  { table: "change_sets", nth },
  { table: "entities", on: "update", when: "new.state = 2", nth },
  { table: "entities", on: "update", when: "new.state = 2", at: "commit", nth },
  { table: "events", when: "new.type = 'operation.waiting'" },
  { table: "plans", on: "update", at: "commit" },
];

/** Of applying. */
const applying = (nth: number): readonly Obstacle[] => [
  { table: "objects", nth },
  { table: "object_keys", nth },
  { table: "entities", on: "update", when: "new.state = 3", nth },
  { table: "outcomes", nth },
  { table: "outcomes", at: "commit", nth },
  { table: "progress_deltas" },
  { table: "events", when: "new.type = 'operation.finished'" },
];

async function waits(id: string): Promise<void> {
  await system.eventually(
    `plan ${id} waits for a decision`,
    async () => (await holdfast.plan.get(id)).shown === "waiting for a decision",
    60_000,
  );
}

rounds("a worker killed while it plans: another shows the same plan, once", async (random) => {
  const n = random.pick([20, ENTITIES / 2]);
  const worker = await system.worker({ config: CONFIG });
  const gate = await system.gate(random.pick(planning(random.between(1, n))));
  const { id } = await holdfast.plan.submit(boxes(n));
  await gate.reached();
  await worker.send("SIGKILL");
  await gate.open();
  await system.worker({ config: CONFIG });
  await waits(id);
  const view = await holdfast.plan.get(id);
  expect(view).toMatchObject({ counts: { waiting: 2 * n }, changes: { create: 2 * n } });
  const told = (await holdfast.operation.events(id)).map(({ type }) => type);
  expect(told).toEqual(["operation.waiting"]);
  await holdfast.plan.approve(id, { hash: view.hash! });
  expect(await system.ended(id)).toMatchObject({
    state: "completed",
    result: { succeeded: 2 * n },
  });
  expect((await inventoryOf(system.db, place)).size).toBe(2 * n);
  await system.sound({ config: PLANNED });
});

rounds("a worker killed while it applies: each object is written once", async (random) => {
  const n = random.pick([20, ENTITIES / 2]);
  const worker = await system.worker({ config: CONFIG });
  const { id } = await holdfast.plan.submit(boxes(n));
  await waits(id);
  const gate = await system.gate(random.pick(applying(random.between(1, n))));
  await holdfast.plan.approve(id);
  await gate.reached();
  await worker.send("SIGKILL");
  await gate.open();
  await system.worker({ config: CONFIG });
  expect(await system.ended(id)).toMatchObject({
    state: "completed",
    result: { succeeded: 2 * n },
  });
  const objects = await inventoryOf(system.db, place);
  expect([...objects.values()].every(({ version }) => version === 1)).toBe(true);
  expect(objects.size).toBe(2 * n);
  expect(await inventoryFaults(system.db, SMALL_REGISTRY, place)).toEqual([]);
  await system.sound({ config: PLANNED });
});

rounds("a worker killed in the middle of a review: each entity is decided once", async (random) => {
  const n = random.pick([30, ENTITIES]);
  const worker = await system.worker({ config: CONFIG });
  const plan = await holdfast.plan.submit(
    Array.from({ length: n }, (_, no) => sent("owner", { name: `o${no}` })),
  );
  await waits(plan.id);
  const nth = random.between(1, n);
  const gate = await system.gate(
    random.pick<Obstacle>([
      { table: "outcomes", nth },
      { table: "outcomes", at: "commit", nth },
      { table: "audit", when: "new.action = 'review.reject'" },
      { table: "entities", on: "update", when: "new.state = 6", nth },
    ]),
  );
  const { id } = await holdfast.review.submit({ act: "reject", filter: { operation: plan.id } });
  await gate.reached();
  await worker.send("SIGKILL");
  await gate.open();
  await system.worker({ config: CONFIG });
  expect(await system.ended(id)).toMatchObject({ state: "completed", result: { succeeded: n } });
  expect(await system.ended(plan.id)).toMatchObject({ state: "completed", result: { blocked: n } });
  const { rows } = await system.db.query<{ n: number }>(
    `select sum((after ->> 'decided')::int)::int as n from holdfast.audit
      where action = 'review.reject'`,
  );
  expect(rows[0]!.n).toBe(n);
  await system.sound({ config: PLANNED });
});

rounds("decided and cancelled while no worker lives: what was said last holds", async (random) => {
  const worker = await system.worker({ config: CONFIG });
  const plans = await Promise.all(
    [1, 2, 3].map((no) => holdfast.plan.submit([sent("owner", { name: `o${no}` })])),
  );
  for (const { id } of plans) await waits(id);
  await worker.send("SIGKILL");
  const [approved, rejected, cancelled] = random.shuffle(plans.map(({ id }) => id));
  await holdfast.plan.approve(approved!);
  await holdfast.plan.reject(rejected!, { reason: "no" });
  await holdfast.plan.approve(cancelled!);
  await holdfast.operation.cancel(cancelled!);
  await system.worker({ config: CONFIG });
  expect(await system.ended(approved!)).toMatchObject({ result: { succeeded: 1 } });
  expect(await system.ended(rejected!)).toMatchObject({ result: { blocked: 1 } });
  expect(await system.ended(cancelled!)).toMatchObject({ state: "cancelled" });
  expect((await inventoryOf(system.db, place)).size).toBe(1);
  await system.sound({ config: PLANNED });
});
