import { expect, test } from "vitest";
import { sweepRetention } from "../../db/retention.ts";
import { planning, sent, type Planning } from "../support/planning.ts";

const owners = (...names: string[]) => names.map((name) => sent("owner", { name }));

/** Everything that is said with a time is so many days older. */
async function age({ db }: Planning, days: number): Promise<void> {
  for (const [table, ...columns] of [
    ["entities", "accepted_at", "settled_at"],
    ["operations", "accepted_at", "finished_at"],
    ["ingest_requests", "at"],
  ] as const) {
    const set = columns.map((one) => `${one} = ${one} - $1 * interval '1 day'`);
    await db.query(`update holdfast.${table} set ${set.join(", ")}`, [days]);
  }
}

async function left({ db }: Planning) {
  const { rows } = await db.query(
    `select (select count(*)::int from holdfast.plans) as plans,
            (select count(*)::int from holdfast.entities) as entities,
            (select count(*)::int from holdfast.change_sets) as sets`,
  );
  return rows[0];
}

test("entities of a plan are kept as long as the plan is, and go with it", async () => {
  const plans = await planning();
  const { plan } = plans.holdfast;
  const open = await plans.submit(owners("o1", "o2"));
  await plans.on(open);
  const [first] = (await plan.changes(open.id)).items;
  await plan.approve(open.id, { entities: [first!.id] });
  await plans.on(open);
  const done = await plans.submit(owners("o3"));
  await plans.on(done);
  await plan.approve(done.id);
  await plans.on(done);
  expect(await left(plans)).toEqual({ plans: 2, entities: 3, sets: 5 });

  await age(plans, 91);
  const sweep = () => plans.db.transaction((tx) => sweepRetention(tx));
  expect(await sweep()).toMatchObject({ operations: 1, entities: 1 });
  expect(await left(plans)).toEqual({ plans: 1, entities: 2, sets: 3 });
  expect((await plan.get(open.id)).counts).toMatchObject({ applied: 1, waiting: 1 });
  await expect(plan.get(done.id)).rejects.toMatchObject({ code: "not-found" });
});

test("a plan is shown as waiting for a decision only while there is nothing to do but for people", async () => {
  const plans = await planning();
  const { plan } = plans.holdfast;
  const ref = await plans.submit(owners("o1", "o2"));
  const shown = async () => (await plan.get(ref.id)).shown;
  expect(await shown()).not.toBe("waiting for a decision");
  await plans.on(ref);
  expect(await shown()).toBe("waiting for a decision");
  const [first] = (await plan.changes(ref.id)).items;
  await plan.approve(ref.id, { entities: [first!.id] });
  expect(await shown()).not.toBe("waiting for a decision");
  await plans.on(ref);
  expect(await shown()).toBe("waiting for a decision");
});
