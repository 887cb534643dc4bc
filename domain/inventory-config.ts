import type { HoldfastConfig } from "../contracts/config.ts";
import { InvalidInput } from "../contracts/errors.ts";
import { InventoryDefaults } from "../contracts/inventory-settings.ts";
import { PlanRules } from "../contracts/plan-rule.ts";
import { DEFAULT_REGISTRY, registryNames, registryOf } from "./inventory-registries.ts";

/**
 * Checks what the configuration says of inventories, so that a mistake is found when a process starts.
 * @throws InvalidInput naming the place: of a registry its type and field
 */
export function assertInventoryConfig(config: Pick<HoldfastConfig, "inventory">): void {
  const { inventory } = config;
  if (!inventory) return;
  const parsed = InventoryDefaults.safeParse(inventory);
  if (!parsed.success) {
    throw new InvalidInput(
      parsed.error.issues.map(({ path, message }) => ({
        path: ["inventory", ...path].join("."),
        message,
      })),
    );
  }
  for (const name of registryNames(config)) registryOf(config, name);
  registryOf(config, inventory.registry ?? DEFAULT_REGISTRY);
}

/** The rules of the configuration, with what they leave out. */
export function configuredRules(config: Pick<HoldfastConfig, "inventory">): PlanRules {
  const rules = config.inventory?.rules;
  if (!rules) return [];
  const before = read.get(rules);
  if (before) return before;
  const parsed = PlanRules.parse(rules);
  read.set(rules, parsed);
  return parsed;
}

type PlanRules = ReturnType<typeof PlanRules.parse>;
const read = new WeakMap<object, PlanRules>();
