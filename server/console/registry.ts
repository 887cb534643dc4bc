import { registryOf } from "../../domain/inventory-registries.ts";
import type { Registry } from "../../domain/registry.ts";
import { part, valueOr, type Reading } from "./reading.ts";

/** The registry of a tenant, for words and kinds of fields; undefined when it cannot be had. */
export async function registryFor(
  { holdfast }: Reading,
  tenant: string,
): Promise<Registry | undefined> {
  const read = await part(async () => {
    const { registry } = await holdfast.inventory.settings.get(tenant);
    return registryOf(holdfast.config, registry);
  });
  return valueOr(read, undefined);
}
