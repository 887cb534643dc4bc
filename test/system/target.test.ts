import { afterAll, afterEach, beforeAll, expect, onTestFinished, test } from "vitest";
import type { Entity } from "../../contracts/inventory.ts";
import { InventorySettingsPatch } from "../../contracts/inventory-settings.ts";
import { ingest } from "../../db/inbox.ts";
import { setSettings } from "../../db/inventory-settings.ts";
import { startFaultTarget } from "../../dev/fault-target.ts";
import type { Fault } from "../../dev/fault-target-faults.ts";
import { until } from "../../dev/until.ts";
import { fileURLToPath } from "node:url";
import { SMALL_REGISTRY, SMALL_REGISTRY_FILE, SMALL_SEED } from "../support/inventory-feeds.ts";
import { startSystem, type System } from "../support/system.ts";
import { APPLY_ALL, TENANT } from "../support/targeting.ts";

const CONFIG = fileURLToPath(new URL("fixtures/target.config.ts", import.meta.url));

const box = (no: number, kind = "big"): Entity => ({
  type: "box",
  fields: { asset: `a${no}`, kind },
  warnings: [],
});
const boxes = (n: number, kind = "big") => Array.from({ length: n }, (_, no) => box(no, kind));

let system: System;
beforeAll(async () => (system = await startSystem()));
afterEach(async () => {
  await system.tidy();
  await system.forget();
});
afterAll(() => system.stop());

/** Workers that are processes, and a target that goes wrong. */
async function targeted() {
  const { db } = system;
  const outside = await startFaultTarget({ registry: SMALL_REGISTRY, seed: SMALL_SEED });
  onTestFinished(() => outside.stop());
  process.env["TARGET_URL"] = `http://127.0.0.1:${outside.port}`;
  const config = {
    inventory: {
      registries: { small: SMALL_REGISTRY_FILE },
      registry: "small",
      targets: { outside: { url: outside.url } },
    },
  };
  const patch = InventorySettingsPatch.parse({
    target: "outside",
    defaultBranch: "main",
    ...APPLY_ALL,
  });
  await db.transaction((tx) => setSettings(tx, config, TENANT, patch, "test"));
  return {
    db,
    outside,
    worker: () => system.worker({ config: CONFIG }),
    async take(entities: Entity[]) {
      const given = { tenant: TENANT, branch: "main", source: "test", entities };
      return db.transaction((tx) => ingest(tx, SMALL_REGISTRY, given));
    },
    async states(): Promise<Record<number, number>> {
      const { rows } = await db.query<{ state: number; n: number }>(
        "select state, count(*)::int as n from holdfast.entities group by state",
      );
      return Object.fromEntries(rows.map(({ state, n }) => [state, n]));
    },
    async end(states: Record<number, number>, withinMs = 90_000) {
      let seen: unknown;
      await until(
        async () => {
          seen = await this.states();
          return JSON.stringify(seen) === JSON.stringify(states);
        },
        withinMs,
        () => `states are ${JSON.stringify(seen)}, not ${JSON.stringify(states)}`,
        100,
      );
    },
    /** Every box is there, was written once, and its change set says that it was applied. */
    async sound(n: number) {
      const objects = [...outside.inventory.objects.values()].filter(({ type }) => type === "box");
      expect(objects).toHaveLength(n);
      const writes = objects.map(({ id }) => outside.inventory.writes.get(id));
      expect(new Set(writes)).toEqual(new Set([1]));
      const { rows } = await db.query<{ n: number; unapplied: number }>(
        `select count(distinct entity)::int as n,
                count(*) filter (where applied_at is null or changes = '[]')::int as unapplied
           from holdfast.change_sets`,
      );
      expect(rows[0]).toEqual({ n, unapplied: 0 });
      const { rows: open } = await db.query(
        "select 1 from holdfast.apply_attempts where ended_at is null",
      );
      expect(open).toEqual([]);
    },
  };
}

const lost: Fault = { fault: "timeout-after", path: "bulk-apply/", times: 1 };

test("a worker killed after the target has committed: what it did ends applied, with its change set", async () => {
  const made = await targeted();
  made.outside.fail(lost);
  await made.take(boxes(30));
  const victim = await made.worker();
  await until(
    () => made.outside.held() > 0,
    60_000,
    () => "nothing was applied",
  );
  await victim.send("SIGKILL");
  await made.worker();
  await made.end({ 3: 30 });
  await made.sound(30);
}, 180_000);

test("a worker that slept past its lease wakes up and writes nothing over what came after it", async () => {
  const made = await targeted();
  made.outside.fail(lost);
  await made.take(boxes(30));
  const sleeper = await made.worker();
  await until(
    () => made.outside.held() > 0,
    60_000,
    () => "nothing was applied",
  );
  await sleeper.send("SIGSTOP");
  await made.worker();
  await made.end({ 3: 30 });
  const { rows: before } = await made.db.query("select * from holdfast.entities order by id");
  const { rows: clock } = await made.db.query<{ now: Date }>("select clock_timestamp() as now");
  await sleeper.send("SIGCONT");
  await until(
    async () => {
      const { rows } = await made.db.query(
        "select 1 from holdfast.workers where identity like $1 and seen_at > $2",
        [`%#${sleeper.pid}`, clock[0]!.now],
      );
      return rows.length > 0;
    },
    60_000,
    () => `the sleeper was not heard of:\n${sleeper.lines().slice(-10).join("\n")}`,
  );
  const { rows: after } = await made.db.query("select * from holdfast.entities order by id");
  expect(after).toEqual(before);
  await made.sound(30);
}, 180_000);

test("while the target is down entities are taken in as ever, and all of it drains when it is back", async () => {
  const made = await targeted();
  await made.outside.down();
  await made.worker();
  for (let no = 0; no < 10; no++) await made.take(boxes(200).slice(no * 20, no * 20 + 20));
  await until(
    async () => {
      const { rows } = await made.db.query<{ failures: number }>(
        "select failures from holdfast.targets",
      );
      return (rows[0]?.failures ?? 0) >= 3;
    },
    60_000,
    () => "nobody asked the target",
  );
  await made.take([box(1_000)]);
  const { rows } = await made.db.query(
    "select 1 from holdfast.entities where state not in (1, 8, 10) or attempt > 0",
  );
  expect(rows).toEqual([]);
  await made.outside.up();
  await made.end({ 3: 201 });
  await made.sound(201);
}, 180_000);

test("replicas that start and die under load apply everything once", async () => {
  const made = await targeted();
  made.outside.fail({ fault: "slow" });
  await made.take(boxes(300));
  const first = await made.worker();
  await until(
    async () => ((await made.states())[3] ?? 0) > 20,
    60_000,
    () => "nothing is applied",
  );
  await made.worker();
  await made.worker();
  await first.send("SIGKILL");
  made.outside.heal();
  await made.end({ 3: 300 });
  await made.sound(300);
}, 180_000);
