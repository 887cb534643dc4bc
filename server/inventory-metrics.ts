import { Gauge, type Registry } from "prom-client";
import { COUNTED_TO, type InventoryStats } from "../db/inventory-stats.ts";

/** The inbox in numbers. Undefined when Postgres could not be read: absent, never an old number. */
export function inventoryMetrics(
  registry: Registry,
): (stats: InventoryStats | undefined, now: Date) => void {
  const gauge = <L extends string>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Gauge({ name: `holdfast_inventory_${name}`, help, labelNames, registers: [registry] });
  const entities = gauge("entities", `Entities still to come, by state, up to ${COUNTED_TO}`, [
    "state",
  ]);
  const lag = gauge("lag_seconds", "How long the oldest entity that is due has waited");
  const held = gauge("branches_held", "Branches that wait until somebody has looked");
  return (stats, now) => {
    entities.reset();
    for (const each of [lag, held]) each.remove();
    if (!stats) return;
    for (const { state, n } of stats.states) entities.set({ state }, n);
    lag.set(stats.oldestDue ? Math.max(0, (now.getTime() - stats.oldestDue.getTime()) / 1_000) : 0);
    held.set(stats.heldBranches);
  };
}
