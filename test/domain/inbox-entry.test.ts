import canonicalizeModule from "canonicalize";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Entity, Fields, FieldValue } from "../../contracts/inventory.ts";
import { canonicalJson } from "../../domain/exact-json.ts";
import { inboxEntry, namedEntry } from "../../domain/inbox-entry.ts";
import { entityHash } from "../../domain/inventory-hash.ts";
import { entityIdentity, identitiesSaid } from "../../domain/inventory-identity.ts";
import { NETWORK_REGISTRY } from "../../domain/registries/network.ts";
import { loadRegistry } from "../../domain/registry.ts";

// Its types name what is a default export a module.
const canonicalize = canonicalizeModule as unknown as (value: unknown) => string | undefined;
const registry = loadRegistry(NETWORK_REGISTRY);
const entity = (type: string, fields: Fields): Entity => ({ type, fields, warnings: [] });

test("canonical JSON is that of the standard, whatever texts and keys hold", () => {
  const text = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.string(),
    fc.constantFrom('"', "\\", "\u007f", "é", "\u2028", "\n"),
  );
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 2 },
      text,
      fc.maxSafeInteger(),
      fc.boolean(),
      fc.array(tie("value"), { maxLength: 3 }),
      fc.dictionary(text, tie("value"), { maxKeys: 3 }),
    ),
  }));
  fc.assert(
    fc.property(fc.dictionary(text, value, { maxKeys: 5 }), (fields) => {
      expect(canonicalJson(fields as FieldValue)).toBe(canonicalize(fields));
    }),
    { numRuns: 200 },
  );
});

test("an entry holds what is stored of an entity, hashed and named as everywhere", () => {
  const site = entity("site", { name: "a", comments: 'tab\t "quoted" \u2028' });
  const entry = inboxEntry(registry, { ...site, warnings: ["w"], branch: "b", sourceTime: "t" });
  expect(entry).toEqual({
    type: "site",
    identity: entityIdentity(registry, site),
    hash: entityHash(site),
    text: canonicalJson(site.fields),
    warnings: '["w"]',
    branch: "b",
    sourceTime: "t",
  });
});

test("what nothing names is refused with every way to name it, deep inside too", () => {
  expect(namedEntry(registry, entity("site", { slug: "x" }))).toMatchObject({
    code: "missing-identity",
    issues: [{ path: "site", message: expect.stringContaining("only slug: give name") }],
  });
  const device = (site: Fields) => entity("device", { name: "d", site });
  expect(namedEntry(registry, device({ slug: "x" }))).toMatchObject({ code: "missing-identity" });
  expect(namedEntry(registry, device({ name: "x" }))).toHaveProperty("identity");
  const placed = { rack: { name: "r", site: { name: "x" } }, position: 1, face: "front" };
  expect(namedEntry(registry, entity("device", placed))).toHaveProperty("identity");
});

test("of a snapshot, what an entity says, itself and what is nested, is known by each of its names", () => {
  const site = { name: "ams" };
  const device = entity("device", {
    name: "d",
    site,
    rack: { name: "r", site },
    role: { slug: "nameless" },
    tags: [{ name: "t1" }, { name: "t2" }],
  });
  const found = inboxEntry(registry, device, true);
  const named = [
    device,
    entity("site", site),
    entity("rack", { name: "r", site }),
    entity("tag", { name: "t1" }),
    entity("tag", { name: "t2" }),
  ];
  expect(found.nested!.toSorted()).toEqual(
    named.flatMap((one) => identitiesSaid(registry, one)).toSorted(),
  );
});
