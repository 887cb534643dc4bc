import type { HoldfastConfig } from "../contracts/config.ts";
import { BUILT_IN_TARGET } from "../contracts/inventory-settings.ts";
import { insertEvents } from "./events.ts";
import type { InventoryPlace } from "./inventory-look-up.ts";
import { registryOf, settingsOf } from "./inventory-settings.ts";
import { DEFAULT_RETRY, planAndApplyAs, type PlanApplyBatch } from "./plan-apply.ts";
import { isPlaceBraked } from "./plan-due.ts";
import type { Settlement } from "./plan-settle.ts";
import type { Db, Tx } from "./pool.ts";

/**
 * One batch of a branch, as its tenant wants it now: settings and brakes are read in the transaction of
 * the batch, so that a change counts from the next one on. Claims nothing where the target is another.
 */
export async function reconcileBatch(
  db: Db,
  config: Pick<HoldfastConfig, "inventory">,
  place: InventoryPlace,
): Promise<PlanApplyBatch> {
  const { batchSize: limit, retry } = config.inventory ?? {};
  return planAndApplyAs(db, place, async (tx) => {
    const settings = await settingsOf(tx, config, place.tenant);
    if (settings.target !== BUILT_IN_TARGET || (await isBraked(tx, place))) return undefined;
    const { mode, rules, guard } = settings;
    return {
      registry: registryOf(config, settings.registry),
      mode,
      rules,
      guard,
      limit,
      retry: { ...DEFAULT_RETRY, ...retry },
      onHeld: (reason) => tellHeld(tx, place, reason),
      onSettled: (settled) => tellQuarantined(tx, place, settled),
    };
  });
}

async function isBraked(tx: Tx, { tenant, branch }: InventoryPlace): Promise<boolean> {
  const { rows } = await tx.query<{ braked: boolean }>(
    `select ${isPlaceBraked("p")} as braked from (select $1::text as tenant, $2::text as branch) p`,
    [tenant, branch],
  );
  return rows[0]!.braked;
}

function tellHeld(tx: Tx, { tenant, branch }: InventoryPlace, reason: string): Promise<void> {
  return insertEvents(tx, [{ type: "inventory.held", tenant, body: { branch, reason } }]);
}

/** What is given up waits for somebody: one event a batch. */
async function tellQuarantined(
  tx: Tx,
  { tenant, branch }: InventoryPlace,
  settled: readonly Settlement[],
): Promise<void> {
  const given = settled.filter(({ state }) => state === "errored");
  if (given.length === 0) return;
  const body = {
    branch,
    entities: given.length,
    first: given[0]!.id,
    reason: given[0]!.error?.message,
  };
  await insertEvents(tx, [{ type: "inventory.quarantined", tenant, body }]);
}
