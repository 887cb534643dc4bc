import { Counter, Gauge, type Registry } from "prom-client";
import { COUNTED_TO, type InventoryStats } from "../db/inventory-stats.ts";
import type { CountName } from "../db/plan-counts.ts";

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
  const showEnds = endsBySource(registry);
  return (stats, now) => {
    entities.reset();
    for (const each of [lag, held]) each.remove();
    showEnds(stats?.sources ?? []);
    if (!stats) return;
    for (const { state, n } of stats.states) entities.set({ state }, n);
    lag.set(stats.oldestDue ? Math.max(0, (now.getTime() - stats.oldestDue.getTime()) / 1_000) : 0);
    held.set(stats.heldBranches);
  };
}

/** Counted in Postgres by whoever settled the entities; the sources are few, see `MOST_SOURCES`. */
function endsBySource(registry: Registry): (sources: InventoryStats["sources"]) => void {
  const counter = <L extends string>(name: string, help: string, label: L) =>
    new Counter({
      name: `holdfast_inventory_${name}_total`,
      help,
      labelNames: ["source", label],
      registers: [registry],
    });
  const plans = counter("plans", "Entities that were planned, or could not be", "result");
  const applies = counter("applies", "Plans that were applied, or that a target refused", "result");
  const changes = counter("changes", "Objects that applied plans changed", "kind");
  const shown: [Counter, CountName, Record<string, string>][] = [
    [plans, "planned", { result: "success" }],
    [plans, "plan_failed", { result: "failure" }],
    [applies, "applied", { result: "success" }],
    [applies, "apply_failed", { result: "failure" }],
    [changes, "created", { kind: "create" }],
    [changes, "updated", { kind: "update" }],
    [changes, "deleted", { kind: "delete" }],
  ];
  return (sources) => {
    for (const each of [plans, applies, changes]) each.reset();
    for (const { source, ...counts } of sources) {
      for (const [each, name, label] of shown) each.inc({ source, ...label }, counts[name]);
    }
  };
}
