import { drainTargetLane } from "../activities/target.ts";
import { openTargets } from "../activities/targets.ts";
import { InventorySettingsPatch } from "../contracts/inventory-settings.ts";
import { setSettings } from "../db/inventory-settings.ts";
import type { Db } from "../db/pool.ts";
import { ensureTarget } from "../db/targets.ts";
import { startFaultTarget } from "../dev/fault-target.ts";
import type { Fault } from "../dev/fault-target-faults.ts";
import type { Frame } from "./frame.ts";
import { feed } from "./inventory-feed.ts";
import { planDatabase, take } from "./plan-scene.ts";

const POISON = "poison";

/** One entity that a target outside refuses, as calls it hears. */
export async function measurePoisonOverHttp(frame: Frame): Promise<void> {
  const { db } = await planDatabase(frame);
  const size = frame.quick ? 64 : 512;
  const places = [0, 1, Math.floor(size / 3), Math.floor(size / 2), size - 1];
  // All of them, two for each half on the way, one that applies the others, and one that asks for the bad
  // one once more when those before it that it stands on are there.
  const most = 2 * Math.log2(size) + 3;
  const worst = async (combined: boolean, fault: Fault) => {
    const calls: number[] = [];
    for (const at of places) calls.push(await callsFor(db, { size, at, combined, fault }));
    return Math.max(...calls);
  };
  const of = `one bad entity of ${size} over HTTP`;
  const plan = await worst(false, { fault: "status-400", path: "bulk-plan/", holding: POISON });
  frame.measure(`calls until all is settled, ${of}, plan refused`, plan, "calls", { atMost: most });
  const apply = await worst(false, { fault: "status-400", path: "bulk-apply/", holding: POISON });
  frame.measure("the same, apply refused", apply, "calls", { atMost: most });
  const once = await worst(true, { fault: "status-400", path: "bulk-plan", holding: POISON });
  frame.measure("the same, plan and apply in one call first", once, "calls");
  const unsure = await worst(false, { fault: "status-500", path: "bulk-apply/", holding: POISON });
  frame.measure("the same, apply breaks with 500, each read back", unsure, "calls");
  await frame.close();
}

interface Poisoned {
  size: number;
  /** Where among the others the bad one is. */
  at: number;
  /** Plan and apply are asked for in one call where they may be. */
  combined: boolean;
  fault: Fault;
}

async function callsFor(db: Db, { size, at, combined, fault }: Poisoned): Promise<number> {
  const outside = await startFaultTarget();
  outside.fail(fault);
  const { url, tokenUrl } = outside;
  const auth = { tokenUrl, clientId: "holdfast", clientSecret: "secret" };
  const targets = { outside: { url, auth, batchSize: size, concurrency: 1, combined } };
  const config = { inventory: { retry: { attempts: 0 }, targets } };
  const target = openTargets(config).get("outside")!;
  const tenant = crypto.randomUUID();
  const patch = InventorySettingsPatch.parse({
    target: "outside",
    defaultBranch: "main",
    mode: "auto",
    rules: [{ name: "all", decision: "apply" }],
  });
  await db.transaction(async (tx) => {
    await ensureTarget(tx, "outside", 1);
    await setSettings(tx, config, tenant, patch, "bench");
  });
  const devices = feed(size * 10).filter(({ type }) => type === "device");
  const { fields, ...rest } = devices[at]!;
  devices[at] = { ...rest, fields: { ...fields, serial: POISON } };
  await take(db, tenant, devices.slice(0, size));
  const deps = { db, config, name: "outside", target, lingerMs: 0 };
  while ((await drainTargetLane(deps, 0, new AbortController().signal)).done > 0);
  await target.close();
  await outside.stop();
  const { rows } = await db.query<{ bad: number; applied: number }>(
    `select count(*) filter (where state in (4, 7))::int as bad,
            count(*) filter (where state = 3)::int as applied
       from holdfast.entities where tenant = $1`,
    [tenant],
  );
  const { bad, applied } = rows[0]!;
  if (bad !== 1 || applied !== size - 1) throw new Error(`${bad} failed, ${applied} were applied`);
  return outside.calls.filter(({ path }) => path.startsWith("bulk-")).length;
}
