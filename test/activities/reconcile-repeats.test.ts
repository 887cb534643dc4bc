import { reconcileActivities } from "../../activities/reconcile.ts";
import type { HoldfastConfig } from "../../contracts/config.ts";
import type { Entity } from "../../contracts/inventory.ts";
import { ingest } from "../../db/inbox.ts";
import { sweepOverdue } from "../../db/inventory-overdue.ts";
import { makeRemovals } from "../../db/inventory-removals.ts";
import { registryOf } from "../../db/inventory-settings.ts";
import { foldCounts } from "../../db/plan-counts.ts";
import type { Db } from "../../db/pool.ts";
import { reconcileBatch } from "../../db/reconcile.ts";
import {
  everyActivityRepeats,
  everyStepMayFail,
  type ActivityCase,
} from "../support/every-activity.ts";
import { fresh } from "../support/fresh.ts";
import { box, BOXES } from "../support/reconciling.ts";
import { inActivity } from "../support/retaining.ts";

const PLACE = { tenant: "a", branch: "main" };

/** Boxes without a size are applied by a rule; the others wait for a person. */
const CONFIG: HoldfastConfig = {
  inventory: {
    ...BOXES.inventory,
    mode: "auto",
    rules: [
      { name: "small", decision: "apply", when: { values: { size: null } } },
      { name: "gone", decision: "apply", when: { kinds: ["delete"] } },
    ],
  },
};

interface Feeding {
  db: Db;
  take(entities: readonly Entity[], scope?: string): Promise<void>;
  work(): Promise<void>;
}

async function feeding(): Promise<Feeding> {
  const { db } = await fresh(CONFIG);
  return {
    db,
    async take(entities, scope) {
      const snapshot = scope === undefined ? undefined : { scope, graceSeconds: 0 };
      const given = { ...PLACE, source: "test", entities, snapshot };
      await db.transaction((tx) => ingest(tx, registryOf(CONFIG, "boxes"), given));
    },
    async work() {
      while ((await reconcileBatch(db, CONFIG, PLACE)).claimed > 0);
    },
  };
}

async function essence(db: Db): Promise<unknown> {
  const { rows: entities } = await db.query(
    `select type, fields, removal, state, plans, attempt, rule, error ->> 'fault' as fault,
            approved_hash is not null as approved,
            (select count(*)::int from holdfast.change_sets c
              where c.entity = e.id and c.applied_at is not null) as applied
       from holdfast.entities e order by fields::text, removal, state`,
  );
  const { rows: objects } = await db.query(
    `select o.type, o.data ->> 'name' as name, o.data -> 'size' as size, o.version,
            (select data ->> 'name' from holdfast.objects i where i.id::text = o.data ->> 'inside')
              as inside,
            (select count(*)::int from holdfast.object_keys k where k.object = o.id) as names,
            (select count(*)::int from holdfast.object_refs r where r.from_object = o.id) as refs
       from holdfast.objects o order by 1, 2`,
  );
  const { rows: journal } = await db.query(
    "select kind, count(*)::int as n from holdfast.object_journal group by 1 order by 1",
  );
  const { rows: events } = await db.query("select type from holdfast.events order by id");
  const { rows: missing } = await db.query(
    `select scope, count(*)::int as n, count(removal)::int as removed
       from holdfast.scope_members where missing_since is not null group by 1 order by 1`,
  );
  await db.transaction((tx) => foldCounts(tx));
  const { rows: counts } = await db.query("select * from holdfast.inventory_sums order by source");
  return { entities, objects, journal, events, missing, counts };
}

const cases: ActivityCase[] = [
  {
    name: "reconcile",
    async arrange() {
      const { db, take, work } = await feeding();
      await take([box("all"), box("gone"), box("one", { inside: { name: "all" } })], "s");
      await work();
      await take([box("all"), box("one", { inside: { name: "two" } })], "s");
      await makeRemovals(db);
      await take([
        box("big", { size: 9 }),
        box("three"),
        box("three", { inside: { name: "all" } }),
      ]);
      const run = (using: Db) => {
        const { reconcile } = reconcileActivities({ db: using, config: CONFIG, lingerMs: 0 });
        return inActivity(() => reconcile({ queue: "reconcile", lane: 0 }));
      };
      return { db, run };
    },
    essence,
  },
  {
    name: "the making of removals",
    async arrange() {
      const { db, take, work } = await feeding();
      await take([box("all"), box("gone"), box("away"), box("back")], "s");
      await work();
      await take([box("all")], "s");
      await take([box("back", { inside: { name: "all" } })]);
      return { db, run: (using) => makeRemovals(using) };
    },
    essence,
  },
  {
    name: "the sweep of what nobody decides",
    async arrange() {
      const { db, take, work } = await feeding();
      await take([box("big", { size: 9 }), box("large", { size: 8 })]);
      await work();
      await db.query(
        `update holdfast.entities set planned_at = now() - interval '3 days'
          where fields ->> 'name' = 'big'`,
      );
      const late = { inventory: { ...CONFIG.inventory, expireSeconds: 172_800 } };
      return { db, run: (using) => sweepOverdue(using, late) };
    },
    essence,
  },
  {
    name: "the fold of counts",
    async arrange() {
      const { db, take, work } = await feeding();
      await take([box("all"), box("big", { size: 9 })]);
      await work();
      return { db, run: (using) => using.transaction((tx) => foldCounts(tx)) };
    },
    essence,
  },
];

everyActivityRepeats(cases);
everyStepMayFail(cases);
