import { InventorySettingsPatch, type InventorySettings } from "../contracts/inventory-settings.ts";
import { resolveBranch } from "../db/inbox-entities.ts";
import { setSettings, settingsOf } from "../db/inventory-settings.ts";
import { asking, assertTenant, type Context } from "./context.ts";
import { parseInput } from "./input.ts";

/** How the entities of a tenant are planned. A change counts from the next batch on, in every worker. */
export interface InventorySettingsClient {
  /** What holds now: what the tenant has set, over the configuration. */
  get(tenant: string): Promise<InventorySettings>;
  /**
   * Absent fields stay; null takes one back to what is configured. Answers what holds now.
   * @throws InvalidInput naming the field, and what may stand there
   */
  set(tenant: string, patch: InventorySettingsPatch): Promise<InventorySettings>;
}

export function inventorySettingsClient(context: Context): InventorySettingsClient {
  const { db, config, actor } = context;
  return {
    get: (tenant) =>
      asking(async () => {
        assertTenant(context, tenant);
        return settingsOf(db, config, tenant);
      }),
    set: (tenant, patch) =>
      asking(async () => {
        assertTenant(context, tenant);
        const parsed = parseInput(InventorySettingsPatch, patch);
        const settings = await db.transaction((tx) =>
          setSettings(tx, config, tenant, parsed, actor),
        );
        const { defaultBranch } = settings;
        if (defaultBranch !== null) await resolveBranch(db, tenant, defaultBranch);
        return settings;
      }),
  };
}
