import type { HoldfastConfig } from "../../contracts/config.ts";
import type { Entity } from "../../contracts/inventory.ts";
import type { PlanRule } from "../../contracts/plan-rule.ts";
import type { RegistryMatcher } from "../../contracts/registry.ts";
import { ingest } from "../../db/inbox.ts";
import { registryOf, setSettings } from "../../db/inventory-settings.ts";
import { reconcileBatch } from "../../db/reconcile.ts";
import { decide } from "../../db/review.ts";
import { fresh } from "./fresh.ts";
import { inventoryFaults, inventoryOf } from "./inventory-database.ts";

/** One branch of boxes that snapshots speak of, worked by hand. */

export const PLACE = { tenant: "a", branch: "main" };

export const rule = (kinds: PlanRule["when"]["kinds"]): PlanRule => ({
  name: `all ${kinds}`,
  enabled: true,
  when: { kinds },
  decision: "apply",
});

/** Boxes that are named in these ways. */
export function boxesNamed(match: RegistryMatcher[], batchSize?: number): HoldfastConfig {
  const fields = { name: "s", tag: "s", size: "i", inside: "@box" } as const;
  const boxes = { name: "boxes", types: { box: { match, need: ["name"], fields } } };
  return {
    inventory: { registry: "boxes", registries: { boxes }, ...(batchSize && { batchSize }) },
  };
}

export async function removing(given: HoldfastConfig, ...rules: PlanRule[]) {
  const { db } = await fresh(given);
  let config = given;
  const registry = () => registryOf(config, "boxes");
  const settings = { mode: "auto" as const, rules: [rule(["create", "update"]), ...rules] };
  await db.transaction((tx) => setSettings(tx, config, "a", settings, "test"));
  const take = (entities: readonly Entity[], snapshot?: { scope: string; graceSeconds: number }) =>
    db.transaction((tx) =>
      ingest(tx, registry(), {
        ...PLACE,
        source: "test",
        entities,
        snapshot: snapshot && { ...snapshot, allowEmpty: true },
      }),
    );
  return {
    db,
    take: (...entities: Entity[]) => take(entities),
    snapshot: (scope: string, ...entities: Entity[]) => take(entities, { scope, graceSeconds: 0 }),
    snapshotWithGrace: (scope: string, graceSeconds: number, ...entities: Entity[]) =>
      take(entities, { scope, graceSeconds }),
    /** From now on the installation is configured like this. */
    configure: (other: HoldfastConfig) => void (config = other),
    work: async () => {
      while ((await reconcileBatch(db, config, PLACE)).claimed > 0);
    },
    approve: () =>
      db.transaction((tx) =>
        decide(tx, { tenant: "a" }, { act: "approve", by: "ada" }, { limit: 1_000 }),
      ),
    names: async () =>
      [...(await inventoryOf(db, PLACE)).values()].map(({ data }) => data["name"]).toSorted(),
    faults: () => inventoryFaults(db, registry(), PLACE),
    removals: async () => {
      const { rows } = await db.query<{ state: number; fault: string | null }>(
        `select state, error ->> 'fault' as fault from holdfast.entities where removal order by id`,
      );
      return rows.map(({ state, fault }) => [state, fault]);
    },
  };
}
