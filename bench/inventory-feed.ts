import type { Entity } from "../contracts/inventory.ts";
import { readEntity } from "../domain/inventory-line.ts";
import type { Json } from "../domain/exact-json.ts";
import { NETWORK_REGISTRY } from "../domain/registries/network.ts";
import { loadRegistry } from "../domain/registry.ts";

/**
 * What a discovery agent sends of a network: of ten entities one is a device, seven are its interfaces,
 * two are addresses on them, each with all that it stands on nested by value, about six objects a line.
 */

export const NETWORK = loadRegistry(NETWORK_REGISTRY);

/** Entities of one device. */
const OF_A_DEVICE = 10;
const INTERFACES = 7;

const SITES = 40;
const MAKERS = 12;
const MODELS = 60;
const ROLES = 8;

/** The line of one entity, as it stands in a file. The same number is the same line. */
export function feedLine(no: number, { serial = "a" } = {}): string {
  return JSON.stringify(feedValue(no, serial));
}

/** Entities from `first` on, read as a line of them would be. */
export function feed(count: number, { first = 0, serial = "a" } = {}): Entity[] {
  return Array.from({ length: count }, (_, at) => {
    const reading = readEntity(NETWORK, feedValue(first + at, serial) as unknown as Json);
    if (reading.read !== "entity") throw new Error(`the feed is wrong: ${JSON.stringify(reading)}`);
    return reading.entity;
  });
}

function feedValue(no: number, serial: string) {
  const nth = Math.floor(no / OF_A_DEVICE);
  const part = no % OF_A_DEVICE;
  const device = deviceOf(nth);
  const timestamp = "2026-03-01T00:00:00.123456789Z";
  if (part === 0) {
    return { timestamp, device: { ...device, serial: `${serial}-${nth}`, status: "active" } };
  }
  if (part <= INTERFACES) {
    const mtu = 9_000;
    return { timestamp, interface: { ...interfaceOf(part, device), enabled: true, mtu } };
  }
  const port = interfaceOf(part - INTERFACES, device);
  const address = `10.${(nth >> 13) & 255}.${(nth >> 5) & 255}.${((nth & 31) << 3) + part - INTERFACES}/29`;
  return {
    timestamp,
    ip_address: { address, status: "active", assigned_object_interface: port },
  };
}

function deviceOf(nth: number) {
  const model = nth % MODELS;
  return {
    name: `sw-${nth}.example.net`,
    site: { name: `Site ${nth % SITES}` },
    device_type: {
      model: `Model ${model}`,
      manufacturer: { name: `Maker ${model % MAKERS}` },
    },
    role: { name: `Role ${nth % ROLES}` },
  };
}

function interfaceOf(no: number, device: ReturnType<typeof deviceOf>) {
  return { name: `Ethernet1/${no}`, type: "10gbase-x-sfpp", device };
}
