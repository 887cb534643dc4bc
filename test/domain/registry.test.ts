import { expect, test } from "vitest";
import { InvalidInput } from "../../contracts/errors.ts";
import type { RegistryFile } from "../../contracts/registry.ts";
import { loadRegistry } from "../../domain/registry.ts";
import { NETWORK_REGISTRY } from "../../domain/registries/network.ts";
import { PACKAGES_REGISTRY } from "../../domain/registries/packages.ts";

type Types = RegistryFile["types"];
const site = { match: [["name"]], need: ["name"], fields: { name: "s" } } satisfies Types[string];

function complaint(types: Types, common: RegistryFile["common"] = {}): string {
  try {
    loadRegistry({ name: "test", types, common });
  } catch (error) {
    if (error instanceof InvalidInput) return error.message;
    throw error;
  }
  return "loaded";
}

test("the registries that come with the product load, and know what they must", () => {
  const network = loadRegistry(NETWORK_REGISTRY);
  expect(network.types.size).toBe(55);
  const device = network.types.get("device")!;
  expect(network.find("dcim.device")).toBe(device);
  expect(network.find("deviceType")?.name).toBe("device_type");
  expect(device.matchers.map(({ name }) => name)).toEqual([
    "asset_tag",
    "name+site+tenant?",
    "virtual_chassis+vc_position",
    "rack+position+face",
  ]);
  expect(device.anyCase.get("primaryIp4")).toMatchObject({ name: "primary_ip4", deferred: true });
  expect(network.types.get("ip_address")!.label).toBe("IP address");
  expect(loadRegistry(PACKAGES_REGISTRY).types.has("release")).toBe(true);
});

test("a name that nothing has is named, with the place where it stands", () => {
  expect(complaint({ site: { ...site, match: [["nam"]] } })).toBe(
    "types.site.match[0]: site has no field nam",
  );
  expect(complaint({ site: { ...site, need: ["x"] } })).toBe(
    "types.site.need: site has no field x",
  );
  expect(complaint({ site: { ...site, defer: ["x"] } })).toBe(
    "types.site.defer: site has no field x",
  );
  expect(complaint({ site: { ...site, fields: { name: "s", region: "@region" } } })).toBe(
    "types.site.fields.region: refers to region, which is no type of this registry",
  );
  expect(complaint({ site: { ...site, match: [{ parts: ["name"], when: { x: 1 } }] } })).toBe(
    "types.site.match[0].when: site has no field x",
  );
  expect(complaint({ site }, { tags: "[@tag]" })).toMatch(/refers to tag/);
});

test("a cycle of two types needs a field that is set later; a tree of one type does not", () => {
  const ring = (defer: string[]): Types => ({
    device: { match: [["name"]], defer, fields: { name: "s", address: "@address" } },
    address: { match: [["ip"]], fields: { ip: "s", port: "@port" } },
    port: { match: [["name", "device"]], fields: { name: "s", device: "@device" } },
  });
  expect(complaint(ring([]))).toBe(
    "types.device.fields.address: nothing closes the cycle device.address -> address.port -> port.device: " +
      "name one of these fields in defer of its type",
  );
  expect(complaint(ring(["address"]))).toBe("loaded");
  expect(complaint({ site: { ...site, fields: { name: "s", parent: "@site" } } })).toBe("loaded");
  expect(
    complaint({ site: { ...site, need: ["parent"], fields: { name: "s", parent: "@site" } } }),
  ).toMatch(/need: parent refers to site: no first one could be made/);
});

test("an identity is made of what is known when an object is looked for", () => {
  const type = (given: Partial<Types[string]>): Types => ({ site: { ...site, ...given } });
  expect(complaint(type({ match: [["name?"]] }))).toMatch(
    /only optional parts, so it would match everything/,
  );
  expect(complaint(type({ match: [["name", "map"]], fields: { name: "s", map: "{}" } }))).toMatch(
    /map is a map/,
  );
  expect(
    complaint(
      type({ match: [["name", "top"]], defer: ["top"], fields: { name: "s", top: "@site" } }),
    ),
  ).toMatch(/top is deferred, so it is unknown when the object is found/);
  expect(
    complaint(
      type({
        match: [["slug"]],
        slug: { field: "slug", from: "name" },
        fields: { name: "s", slug: "s" },
      }),
    ),
  ).toMatch(/what is made up never names an object/);
  expect(complaint(type({ match: [["name"], ["name"]] }))).toMatch(/match\[1\]: stands twice/);
});

test("limits, defaults and policies fit the kind of their field", () => {
  const field = (given: RegistryFile["types"][string]["fields"][string]) =>
    complaint({ site: { ...site, fields: { name: "s", x: given } } });
  expect(field({ kind: "s", min: 1 })).toMatch(/has min or max and is no number/);
  expect(field({ kind: "i", maxLength: 1 })).toMatch(/has maxLength or oneOf and is no text/);
  expect(field({ kind: "i", default: "1" })).toMatch(/has a default that is no integer/);
  expect(field({ kind: "s", oneOf: ["a"], default: "b" })).toMatch(
    /has a default that is not in oneOf/,
  );
  expect(field({ kind: "s", policy: "merge" })).toMatch(/only lists and maps can be merged/);
  expect(field("text")).toMatch(/types\.site\.fields\.x/);
  expect(complaint({ site: { ...site, fields: { name: "s", metadata: "s" } } })).toMatch(
    /metadata is never data/,
  );
  expect(complaint({ site: { ...site, fields: { name: "s", a_b: "s", aB: "s" } } })).toMatch(
    /snake_case/,
  );
  expect(complaint({ site, other: { ...site, type: "site" } })).toMatch(/"site" names site too/);
  expect(complaint({})).toMatch(/types: must hold a type/);
});
