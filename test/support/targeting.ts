import { onTestFinished } from "vitest";
import { drainTargetLane } from "../../activities/target.ts";
import { HttpTarget } from "../../activities/target-http.ts";
import { openTargets } from "../../activities/targets.ts";
import type { HoldfastConfig } from "../../contracts/config.ts";
import type { Entity } from "../../contracts/inventory.ts";
import { InventorySettingsPatch } from "../../contracts/inventory-settings.ts";
import type { TargetConfig } from "../../contracts/target.ts";
import { ingest } from "../../db/inbox.ts";
import { setSettings } from "../../db/inventory-settings.ts";
import type { Db } from "../../db/pool.ts";
import { ensureTarget } from "../../db/targets.ts";
import {
  startFaultTarget,
  type FaultTarget,
  type FaultTargetOptions,
} from "../../dev/fault-target.ts";
import { fresh } from "./fresh.ts";
import { SMALL_REGISTRY, SMALL_REGISTRY_FILE, SMALL_SEED } from "./inventory-feeds.ts";

export const TENANT = "a";
export const APPLY_ALL = {
  mode: "auto",
  rules: [{ name: "everything", decision: "apply" }],
} as const;

export interface Targeting {
  db: Db;
  outside: FaultTarget;
  target: HttpTarget;
  config: HoldfastConfig;
  take(entities: readonly Entity[]): Promise<void>;
  settings(patch: Parameters<typeof InventorySettingsPatch.parse>[0]): Promise<void>;
  /** Works all lanes at the same time until nothing is due, or the target is away. */
  drain(): Promise<void>;
  /** As if the target had been away long enough. */
  forgive(): Promise<void>;
  states(): Promise<number[]>;
}

type HttpConfig = Extract<TargetConfig, { url: string }>;

/** A tenant whose target is the fault server, spoken to over HTTP. */
export async function targeting(
  given: Partial<HttpConfig> = {},
  options: FaultTargetOptions = {},
  retry: NonNullable<HoldfastConfig["inventory"]>["retry"] = {},
): Promise<Targeting> {
  const { db } = await fresh();
  const outside = await startFaultTarget({
    registry: SMALL_REGISTRY,
    seed: SMALL_SEED,
    ...options,
  });
  onTestFinished(() => outside.stop());
  const config: HoldfastConfig = {
    inventory: {
      registries: { small: SMALL_REGISTRY_FILE },
      registry: "small",
      retry,
      targets: {
        outside: {
          url: outside.url,
          auth: { tokenUrl: outside.tokenUrl, clientId: "holdfast", clientSecret: "secret" },
          requestTimeoutMs: 5_000,
          ...given,
        },
      },
    },
  };
  const target = openTargets(config).get("outside") as HttpTarget;
  onTestFinished(() => target.close());
  const lanes = target.settings.concurrency;
  await db.transaction((tx) => ensureTarget(tx, "outside", lanes));
  const settings: Targeting["settings"] = async (patch) => {
    const parsed = InventorySettingsPatch.parse({ target: "outside", ...(patch as object) });
    await db.transaction((tx) => setSettings(tx, config, TENANT, parsed, "test"));
  };
  await settings({ ...APPLY_ALL, defaultBranch: "main" });
  const deps = { db, config, name: "outside", target, lingerMs: 0 };
  return {
    db,
    outside,
    target,
    config,
    settings,
    async take(entities) {
      const given = { tenant: TENANT, branch: "main", source: "test", entities };
      await db.transaction((tx) => ingest(tx, SMALL_REGISTRY, given));
    },
    async drain() {
      const { signal } = new AbortController();
      for (let done = 1; done > 0;) {
        const all = Array.from({ length: lanes }, (_, lane) => drainTargetLane(deps, lane, signal));
        done = (await Promise.all(all)).reduce((sum, one) => sum + one.done, 0);
      }
    },
    async forgive() {
      await db.query("update holdfast.targets set retry_at = clock_timestamp()");
      await db.query("update holdfast.entities set due_at = clock_timestamp() where state = 9");
    },
    async states() {
      const { rows } = await db.query<{ state: number }>(
        "select state from holdfast.entities order by id",
      );
      return rows.map(({ state }) => state);
    },
  };
}
