import type { HoldfastConfig } from "../../contracts/config.ts";
import { SMALL_REGISTRY_FILE } from "./inventory-feeds.ts";

/** A registry that is small and has one of everything. */
export const PLANNED: HoldfastConfig = {
  inventory: { registry: "small", registries: { small: SMALL_REGISTRY_FILE } },
};
