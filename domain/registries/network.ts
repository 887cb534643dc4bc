import type { RegistryFile } from "../../contracts/registry.ts";
import { ADDRESS_TYPES } from "./network-addresses.ts";
import { DEVICE_TYPES } from "./network-devices.ts";
import { ORGANISATION_TYPES } from "./network-organisation.ts";
import { SERVICE_TYPES } from "./network-services.ts";

/**
 * Network inventory: sites, racks, devices and their ports, addresses, circuits, virtual machines.
 * Nothing is made up: no defaults, no slugs, so that the inventory says what was observed.
 */
export const NETWORK_REGISTRY: RegistryFile = {
  name: "network",
  common: { tags: "[@tag]", custom_fields: "{}" },
  types: { ...ORGANISATION_TYPES, ...DEVICE_TYPES, ...ADDRESS_TYPES, ...SERVICE_TYPES },
};
