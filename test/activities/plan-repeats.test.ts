import type { Db } from "../../db/pool.ts";
import { everyActivityRepeats, everyStepMayFail } from "../support/every-activity.ts";
import { place, PLANNED, planning, planWorker, sent } from "../support/planning.ts";

const AUTO = {
  inventory: { ...PLANNED.inventory, rules: [{ name: "all", decision: "apply" as const }] },
};
const ENTITIES = [
  sent("port", { name: "e1", type: "copper", box: { asset: "a1" } }),
  sent("box", { asset: "a1", kind: "big" }),
  sent("port", { name: "e2", type: "copper", box: { asset: "gone" } }),
];

async function essence(db: Db) {
  const { rows: entities } = await db.query(
    `select item, state, approved_hash is not null as approved, error ->> 'fault' as fault,
            (select count(*)::int from holdfast.change_sets c
              where c.entity = e.id and c.applied_at is not null) as applied
       from holdfast.entities e order by item`,
  );
  const { rows: outcomes } = await db.query(
    "select item_no, outcome from holdfast.outcomes order by 1",
  );
  const { rows: objects } = await db.query(
    `select type, data - 'box' as data, version from holdfast.objects
      where tenant = $1 and branch = $2 order by type, data::text`,
    [place.tenant, place.branch],
  );
  const { rows: told } = await db.query("select type from holdfast.events order by id");
  const { rows: counted } = await db.query(
    "select outcome, sum(n)::int as n from holdfast.progress_deltas group by 1 order by 1",
  );
  return { entities, outcomes, objects, told, counted };
}

const cases = [
  {
    name: "planWhole of what rules apply",
    async arrange() {
      const plans = await planning(AUTO);
      const ref = await plans.submit(ENTITIES, { mode: "auto" });
      return { db: plans.db, run: (db: Db) => planWorker(db, AUTO).whole(ref) };
    },
    essence,
  },
  {
    name: "workPlan of what is approved",
    async arrange() {
      const plans = await planning();
      const ref = await plans.submit(ENTITIES);
      await plans.on(ref);
      await plans.holdfast.plan.approve(ref.id);
      return { db: plans.db, run: (db: Db) => planWorker(db).work(ref) };
    },
    essence,
  },
  {
    name: "planWhole of what waits",
    async arrange() {
      const plans = await planning();
      const ref = await plans.submit(ENTITIES);
      return { db: plans.db, run: (db: Db) => planWorker(db).whole(ref) };
    },
    essence,
  },
  {
    name: "workPlan of what nobody decided about",
    async arrange() {
      const plans = await planning();
      const ref = await plans.submit(ENTITIES);
      await plans.on(ref);
      await plans.db.query("update holdfast.plans set expires_at = clock_timestamp()");
      return { db: plans.db, run: (db: Db) => planWorker(db).work(ref) };
    },
    essence,
  },
  {
    name: "beginPlan of a later generation",
    async arrange() {
      const plans = await planning();
      const first = await plans.submit(ENTITIES);
      await plans.on(first);
      await plans.holdfast.plan.approve(first.id);
      await plans.on(first);
      await plans.holdfast.operation.retry(first.id);
      const ref = await plans.refOf(first.id);
      return { db: plans.db, run: (db: Db) => planWorker(db).begin(ref) };
    },
    essence,
  },
];
everyActivityRepeats(cases);
// What waits, and what begins again, are parts of these.
everyStepMayFail(cases.filter(({ name }) => !/waits|later generation/.test(name)));
