import { expect, test } from "vitest";
import type { HoldfastConfig } from "../../contracts/config.ts";
import type { Db } from "../../db/pool.ts";
import { checkInvariants } from "../support/invariants.ts";
import { inventoryOf } from "../support/inventory-database.ts";
import { place, PLANNED, planning, planWorker, sent, type Planning } from "../support/planning.ts";

const owner = (name: string, level = 1) => sent("owner", { name, level });
const box = (asset: string, more: object = {}) => sent("box", { asset, kind: "big", ...more });
const port = (name: string, asset: string) =>
  sent("port", { name, type: "copper", box: { asset } });

const rules = (...given: object[]): HoldfastConfig => ({
  inventory: { ...PLANNED.inventory, rules: given as never },
});
const ALL = rules({ name: "all", decision: "apply" });

async function sound(plans: Planning): Promise<void> {
  expect(await checkInvariants(plans.db, { settled: false })).toEqual([]);
}

async function names(plans: Planning): Promise<string[]> {
  const objects = [...(await inventoryOf(plans.db, place)).values()];
  return objects.map(({ data }) => String(data["name"] ?? data["asset"])).toSorted();
}

async function edit(plans: Planning, set: string, where: string): Promise<void> {
  await plans.db.query(
    `update holdfast.objects set data = data || $1::jsonb, version = version + 1 where ${where}`,
    [set],
  );
}

test("a plan is shown, waits, and does on one approval exactly what it showed", async () => {
  const plans = await planning();
  const { plan } = plans.holdfast;
  const ref = await plans.submit([owner("o1"), owner("o2")], { key: "k" });
  expect(await plan.get(ref.id)).toMatchObject({ state: "accepted", hash: null });
  const report = await plans.on(ref);
  expect(report).toMatchObject({ complete: false, waitsFor: expect.stringContaining("+2 ~0 -0") });
  const view = await plan.get(ref.id);
  expect(view).toMatchObject({
    counts: { waiting: 2, applied: 0 },
    changes: { create: 2, update: 0, delete: 0 },
    hash: expect.stringMatching(/^[0-9a-f]{64}$/),
  });
  expect(await names(plans)).toEqual([]);
  expect(await plan.approve(ref.id, { hash: view.hash! })).toEqual({ decided: 2, refused: [] });
  expect(await plans.on(ref)).toMatchObject({ state: "completed", counts: { succeeded: 2 } });
  expect(await names(plans)).toEqual(["o1", "o2"]);
  const { items } = await plan.changes(ref.id);
  expect(items.map(({ no, title, state, outcome }) => [no, title, state, outcome])).toEqual([
    [1, "Owner o1 created", "applied", "succeeded"],
    [2, "Owner o2 created", "applied", "succeeded"],
  ]);
  expect(await plan.get(ref.id)).toMatchObject({
    state: "completed",
    applied: { create: 2 },
    decision: { what: "approve", by: "test" },
  });
  await sound(plans);
});

test("the order inside a plan does not matter: a child before its parent is planned and applied", async () => {
  const plans = await planning();
  const ref = await plans.submit([port("e1", "a1"), port("e2", "a1"), box("a1")]);
  await plans.on(ref);
  const view = await plans.holdfast.plan.get(ref.id);
  expect(view).toMatchObject({ counts: { waiting: 3 }, changes: { create: 3, update: 0 } });
  await plans.holdfast.plan.approve(ref.id, { hash: view.hash! });
  expect(await plans.on(ref)).toMatchObject({ state: "completed", counts: { succeeded: 3 } });
  expect((await plans.holdfast.plan.changes(ref.id)).items.map(({ no }) => no)).toEqual([1, 2, 3]);
  await sound(plans);
});

test("what refers to something that nobody brings fails with the reason, its siblings wait", async () => {
  const plans = await planning();
  const ref = await plans.submit([port("e1", "gone"), owner("o1")]);
  await plans.on(ref);
  const view = await plans.holdfast.plan.get(ref.id);
  expect(view.counts).toMatchObject({ failed: 1, waiting: 1 });
  await plans.holdfast.plan.approve(ref.id);
  expect(await plans.on(ref)).toMatchObject({
    state: "failed",
    counts: { failed: 1, succeeded: 1 },
  });
  await sound(plans);
});

test("a part may be approved, and a part rejected; the rest goes on waiting", async () => {
  const plans = await planning();
  const { plan } = plans.holdfast;
  const ref = await plans.submit([owner("o1"), owner("o2"), owner("o3")]);
  await plans.on(ref);
  const { items } = await plan.changes(ref.id);
  const before = (await plan.get(ref.id)).hash!;
  expect(await plan.approve(ref.id, { entities: [items[0]!.id] })).toMatchObject({ decided: 1 });
  expect(
    await plan.reject(ref.id, { entities: [items[1]!.id, items[0]!.id], reason: "not ours" }),
  ).toMatchObject({ decided: 2, refused: [] });
  expect(await plans.on(ref)).toMatchObject({ complete: false });
  await expect(plan.approve(ref.id, { hash: before })).rejects.toMatchObject({
    code: "plan-changed",
  });
  const { hash } = await plan.get(ref.id);
  await plan.approve(ref.id, { hash: hash! });
  expect(await plans.on(ref)).toMatchObject({
    state: "completed",
    counts: { succeeded: 1, blocked: 2 },
  });
  expect(await names(plans)).toEqual(["o3"]);
  const ends = (await plans.holdfast.operation.items(ref.id)).items.map(({ reason }) => reason);
  expect(ends).toEqual(["rejected by test: not ours", "rejected by test: not ours", null]);
  await sound(plans);
});

test("what was edited between approval and apply is refused alone, shown again, and applied when approved again", async () => {
  const plans = await planning();
  const { plan } = plans.holdfast;
  const first = await plans.submit([owner("o1"), owner("o2")], { mode: "review" });
  await plans.on(first);
  await plan.approve(first.id);
  await plans.on(first);

  const ref = await plans.submit([owner("o1", 5), owner("o2", 5)]);
  await plans.on(ref);
  await plan.approve(ref.id);
  await edit(plans, '{"level": 7}', "data ->> 'name' = 'o1'");
  const report = await plans.on(ref);
  expect(report).toMatchObject({ complete: false });
  const view = await plan.get(ref.id);
  expect(view.counts).toMatchObject({ waiting: 1, stale: 1, applied: 1 });
  const [stale] = (await plan.changes(ref.id)).items;
  expect(stale).toMatchObject({
    stale: true,
    changes: [{ kind: "update", before: { level: 7 }, after: { level: 5 } }],
  });
  const told = (await plans.holdfast.operation.events(ref.id)).filter(
    ({ type }) => type === "operation.waiting",
  );
  expect(told).toHaveLength(2);
  await plan.approve(ref.id, { hash: view.hash! });
  expect(await plans.on(ref)).toMatchObject({ state: "completed", counts: { succeeded: 2 } });
  await sound(plans);
});

test("a child that is approved before its parent waits for a decision again", async () => {
  const plans = await planning();
  const { plan } = plans.holdfast;
  const ref = await plans.submit([port("e1", "a1"), box("a1")]);
  await plans.on(ref);
  const [child, parent] = (await plan.changes(ref.id)).items;
  await plan.approve(ref.id, { entities: [child!.id] });
  expect(await plans.on(ref)).toMatchObject({ complete: false });
  expect((await plan.get(ref.id)).counts).toMatchObject({ waiting: 2, stale: 1, applied: 0 });
  await plan.approve(ref.id, { entities: [parent!.id] });
  await plans.on(ref);
  await plan.approve(ref.id);
  expect(await plans.on(ref)).toMatchObject({ state: "completed", counts: { succeeded: 2 } });
  await sound(plans);
});

test("in mode auto rules apply what they name, and the rest waits", async () => {
  const config = rules({ name: "owners", when: { types: ["owner"] }, decision: "apply" });
  const plans = await planning(config);
  const ref = await plans.submit([owner("o1"), box("a1")], { mode: "auto" });
  expect(await plans.on(ref)).toMatchObject({ complete: false });
  expect(await names(plans)).toEqual(["o1"]);
  const { items } = await plans.holdfast.plan.changes(ref.id);
  expect(items.map(({ state, rule }) => [state, rule])).toEqual([
    ["applied", "owners"],
    ["waiting", null],
  ]);
  await plans.holdfast.plan.reject(ref.id);
  expect(await plans.on(ref)).toMatchObject({ state: "completed" });
  await sound(plans);
});

test("in mode review no rule applies anything", async () => {
  const plans = await planning(ALL);
  const ref = await plans.submit([owner("o1")], { mode: "review" });
  expect(await plans.on(ref)).toMatchObject({ complete: false });
  expect(await names(plans)).toEqual([]);
});

test("what a rule approved and somebody changed meanwhile is planned again and decided by rules", async () => {
  const plans = await planning(ALL);
  const ref = await plans.submit([owner("o1", 5)], { mode: "auto" });
  await plans.on(ref);
  const again = await plans.submit([owner("o1", 6)], { mode: "auto" });
  expect(await plans.on(again)).toMatchObject({ state: "completed", counts: { succeeded: 1 } });
  const equal = await plans.submit([owner("o1", 6)], { mode: "auto" });
  expect(await plans.on(equal)).toMatchObject({ state: "completed", counts: { unchanged: 1 } });
  await sound(plans);
});

test("more than may change at once waits for a person, whatever rules say", async () => {
  const plans = await planning({
    inventory: {
      ...ALL.inventory,
      guard: { maxObjects: 2, maxShare: 0 },
    },
  });
  const many = [1, 2, 3].map((no) => owner(`o${no}`));
  await plans.on(await plans.submit(many, { mode: "auto" }));
  expect(await names(plans)).toHaveLength(3);
  const ref = await plans.submit(
    [1, 2, 3].map((no) => owner(`o${no}`, 9)),
    { mode: "auto" },
  );
  expect(await plans.on(ref)).toMatchObject({ complete: false });
  expect((await plans.holdfast.plan.get(ref.id)).counts).toMatchObject({ waiting: 3, applied: 0 });
});

test("a plan that nobody decides about is told of at half time, and ends expired with nothing applied", async () => {
  const plans = await planning();
  const ref = await plans.submit([owner("o1")], { expiresInSeconds: 60 });
  const report = (await plans.on(ref)) as { nextDueAt: number };
  expect(report.nextDueAt - Date.now()).toBeGreaterThan(20_000);
  const back = (seconds: number) =>
    plans.db.query(
      `update holdfast.plans set planned_at = planned_at - $1 * interval '1 second',
              expires_at = expires_at - $1 * interval '1 second'`,
      [seconds],
    );
  await back(31);
  await plans.on(ref);
  await plans.on(ref);
  const events = async () =>
    (await plans.holdfast.operation.events(ref.id)).map(({ type, body }) => [
      type,
      body["escalation"],
    ]);
  expect(await events()).toEqual([
    ["operation.waiting", false],
    ["operation.waiting", true],
  ]);
  await back(30);
  await plans.on(ref);
  expect(await plans.holdfast.plan.get(ref.id)).toMatchObject({
    state: "cancelled",
    reason: "expired",
    counts: { cancelled: 1 },
  });
  expect(await names(plans)).toEqual([]);
  expect((await events()).map(([type]) => type)).toContain("operation.expired");
  await expect(plans.holdfast.plan.approve(ref.id)).rejects.toMatchObject({
    code: "already-ended",
  });
  await sound(plans);
});

test("an approval that came before the expiry counts", async () => {
  const plans = await planning();
  const ref = await plans.submit([owner("o1")], { expiresInSeconds: 60 });
  await plans.on(ref);
  await plans.holdfast.plan.approve(ref.id);
  await plans.db.query("update holdfast.plans set expires_at = clock_timestamp() - interval '1 s'");
  expect(await plans.on(ref)).toMatchObject({ state: "completed", counts: { succeeded: 1 } });
});

test("an approval that lands while a worker is about to end the plan as expired counts", async () => {
  const plans = await planning();
  const ref = await plans.submit([owner("o1")], { expiresInSeconds: 60 });
  await plans.on(ref);
  await plans.db.query("update holdfast.plans set expires_at = clock_timestamp() - interval '1 s'");
  let looks = 0;
  const racing: Db = {
    ...plans.db,
    query: async (text: string, values?: unknown[]) => {
      const answer = await plans.db.query(text, values);
      if (text.includes('"toApply"') && ++looks === 1) await plans.holdfast.plan.approve(ref.id);
      return answer;
    },
  } as Db;
  const ended = await plans.on(ref, planWorker(racing));
  expect(looks).toBeGreaterThan(1);
  expect(ended).toMatchObject({ state: "completed", counts: { succeeded: 1 } });
});

test("cancel ends what waits, keeps what is applied, and run again plans the rest anew", async () => {
  const plans = await planning();
  const { plan, operation } = plans.holdfast;
  const ref = await plans.submit([owner("o1"), owner("o2")]);
  await plans.on(ref);
  const { items } = await plan.changes(ref.id);
  await plan.approve(ref.id, { entities: [items[0]!.id] });
  await plans.on(ref);
  await operation.cancel(ref.id);
  await expect(plan.approve(ref.id)).rejects.toMatchObject({ code: "already-ended" });
  expect(await plans.on(ref)).toMatchObject({
    state: "cancelled",
    counts: { succeeded: 1, cancelled: 1 },
  });
  expect((await plan.get(ref.id)).counts).toMatchObject({ applied: 1, cancelled: 1 });
  await sound(plans);
  await operation.retry(ref.id);
  const again = await plans.refOf(ref.id);
  await plans.on(again);
  expect((await plan.get(ref.id)).counts).toMatchObject({ applied: 1, waiting: 1 });
  await plan.approve(ref.id);
  expect(await plans.on(again)).toMatchObject({ state: "completed", counts: { succeeded: 2 } });
  await sound(plans);
});

test("one entity that the inventory refuses ends failed alone", async () => {
  const plans = await planning(ALL);
  await plans.db.query(
    "alter table holdfast.objects add constraint no_poison check (data ->> 'kind' <> 'poison')",
  );
  const boxes = Array.from({ length: 9 }, (_, no) =>
    box(`a${no}`, { kind: no === 4 ? "poison" : "big" }),
  );
  const ref = await plans.submit(boxes, { mode: "auto" });
  expect(await plans.on(ref)).toMatchObject({
    state: "failed",
    counts: { succeeded: 8, failed: 1 },
    reason: expect.stringContaining("no_poison"),
  });
  await sound(plans);
});

test("two workers at one plan at once settle each item once", async () => {
  const plans = await planning(ALL);
  const many = Array.from({ length: 40 }, (_, no) => owner(`o${no}`));
  const ref = await plans.submit(many, { mode: "auto" });
  const others = [planWorker(plans.db, ALL), planWorker(plans.db, ALL)];
  await Promise.all(others.map((one) => plans.on(ref, one)));
  expect(await plans.holdfast.plan.get(ref.id)).toMatchObject({
    state: "completed",
    applied: { create: 40 },
  });
  await sound(plans);
});

test("what is wrong with an entity is said before anything is written", async () => {
  const plans = await planning();
  const { plan } = plans.holdfast;
  await expect(
    plan.submit([owner("o1"), sent("nonsense", {}), { ...owner("o2"), branch: "other" }]),
  ).rejects.toMatchObject({
    code: "invalid-input",
    issues: [{ path: expect.stringContaining("entities[1]") }, { path: "entities[2]: branch" }],
  });
  await expect(plan.submit([])).rejects.toMatchObject({ code: "invalid-input" });
  const { rows } = await plans.db.query("select from holdfast.entities");
  expect(rows).toEqual([]);
});

test("a repeat with its key answers the same plan, other content is refused", async () => {
  const plans = await planning();
  const { plan } = plans.holdfast;
  const first = await plan.submit([owner("o1")], { key: "k" });
  expect(await plan.submit([owner("o1")], { key: "k" })).toMatchObject({
    id: first.id,
    existing: true,
  });
  await expect(plan.submit([owner("o2")], { key: "k" })).rejects.toMatchObject({
    code: "key-reused",
  });
  const { rows } = await plans.db.query("select count(*)::int as n from holdfast.entities");
  expect(rows).toEqual([{ n: 1 }]);
});

test("what is applied, unchanged or failed and the item of it end in one transaction", async () => {
  const plans = await planning(ALL);
  await plans.db.query(
    `create function holdfast.item_ends_too() returns trigger language plpgsql as $$ begin
       if not exists (select from holdfast.outcomes o
                       where o.operation_id = new.operation and o.item_no = new.item) then
         raise exception 'entity % has ended, and its item has not', new.id;
       end if;
       return null;
     end $$`,
  );
  await plans.db.query(
    `create constraint trigger item_ends_too after update on holdfast.entities
       deferrable initially deferred for each row
       when (new.operation is not null and new.state in (3, 4, 5))
       execute function holdfast.item_ends_too()`,
  );
  const entities = [owner("o1"), owner("o1"), port("e1", "gone")];
  const auto = await plans.submit(entities, { mode: "auto" });
  expect(await plans.on(auto)).toMatchObject({
    counts: { succeeded: 1, unchanged: 1, failed: 1 },
  });
  const review = await plans.submit([owner("o2"), port("e1", "gone")]);
  await plans.on(review);
  await plans.holdfast.plan.approve(review.id);
  expect(await plans.on(review)).toMatchObject({ counts: { succeeded: 1, failed: 1 } });
  await sound(plans);
});
