import { expect, test, vi } from "vitest";
import { PLAN_EXPIRES_SECONDS } from "../../contracts/plan.ts";
import { inventoryOf } from "../support/inventory-database.ts";
import { place, PLANNED, planning, sent, type Planning } from "../support/planning.ts";

const owner = (name: string, level = 1) => sent("owner", { name, level });
const ALL = {
  inventory: { ...PLANNED.inventory, rules: [{ name: "all", decision: "apply" }] as never },
};

const told = async ({ db }: Planning) =>
  (
    await db.query<{ n: number }>(
      "select count(*)::int as n from holdfast.events where type = 'operation.waiting'",
    )
  ).rows[0]!.n;

test("what is approved and planned again stays approved while it comes to the same", async () => {
  const plans = await planning();
  const { plan, review } = plans.holdfast;
  const ref = await plans.submit([owner("o1"), owner("o2")]);
  await plans.on(ref);
  const [first] = (await plan.changes(ref.id)).items;
  await plan.approve(ref.id, { entities: [first!.id], planHashes: [first!.planHash!] });
  expect(await review.decide({ act: "rediff", ids: [first!.id] })).toMatchObject({ decided: 1 });
  await plans.on(ref);
  expect((await plan.get(ref.id)).counts).toMatchObject({ applied: 1, waiting: 1, stale: 0 });
});

test("when it comes to something else it waits again, and people are told", async () => {
  const plans = await planning();
  const { plan, review } = plans.holdfast;
  const ref = await plans.submit([owner("o1", 2), owner("o2")]);
  await plans.on(ref);
  const before = await told(plans);
  const [first] = (await plan.changes(ref.id)).items;
  await plan.approve(ref.id, { entities: [first!.id], planHashes: [first!.planHash!] });
  const other = await plans.submit([owner("o1", 1)]);
  await plans.on(other);
  await plan.approve(other.id);
  await plans.on(other);
  await review.decide({ act: "rediff", ids: [first!.id] });
  const since = await told(plans);
  await plans.on(ref);
  expect((await plan.get(ref.id)).counts).toMatchObject({ applied: 0, waiting: 2, stale: 1 });
  expect([before, await told(plans)]).toEqual([1, since + 1]);
});

test("a worker whose clock is ahead does not end a plan before its time", async () => {
  const plans = await planning();
  const ref = await plans.submit([owner("o1")]);
  await plans.on(ref);
  const ahead = Date.now() + 2 * PLAN_EXPIRES_SECONDS * 1_000;
  vi.useFakeTimers({ now: ahead, toFake: ["Date"] });
  try {
    await plans.working.work(ref);
  } finally {
    vi.useRealTimers();
  }
  const { state, escalatedAt } = await plans.holdfast.plan.get(ref.id);
  expect({ state, escalatedAt }).toEqual({ state: "running", escalatedAt: null });
});

test("what rules approved is not applied while the branch is held: it waits for a person", async () => {
  const plans = await planning(ALL);
  const ref = await plans.submit([owner("o1")], { mode: "auto" });
  // The branch is held between planning and applying.
  await plans.db.query(
    `create function hold_it() returns trigger language plpgsql as $$
     begin
       update inventory_guards set held_at = clock_timestamp(), held_because = 'too much';
       return null;
     end $$`.replace("inventory_guards", `${plans.db.schema}.inventory_guards`),
  );
  await plans.db.query(
    `create trigger hold_it after insert on holdfast.change_sets
       for each statement execute function hold_it()`,
  );
  await plans.on(ref);
  expect((await plans.holdfast.plan.get(ref.id)).counts).toMatchObject({ waiting: 1, applied: 0 });
  expect((await inventoryOf(plans.db, place)).size).toBe(0);
});

test("a decider of one tenant does not touch the plans of another", async () => {
  const plans = await planning();
  const ref = await plans.submit([owner("o1")], { tenant: "theirs" });
  await plans.on(ref);
  const wakeAt = async () =>
    (await plans.db.query("select wake_at from holdfast.operations where id = $1", [ref.id]))
      .rows[0]!;
  const before = await wakeAt();
  const { items } = await plans.holdfast.plan.changes(ref.id);
  await plans.holdfast.review.decide({ act: "approve", tenant: "mine", ids: [items[0]!.id] });
  expect(await wakeAt()).toEqual(before);
});
