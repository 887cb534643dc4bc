import fc from "fast-check";
import type { Json } from "../../domain/exact-json.ts";
import { readEntity } from "../../domain/inventory-line.ts";
import { loadRegistry, type Registry } from "../../domain/registry.ts";
import type { Entity, InventoryObject } from "../../contracts/inventory.ts";
import type { RegistryFile } from "../../contracts/registry.ts";

const some = <T>(arbitrary: fc.Arbitrary<T>, weight = 1) =>
  fc.oneof({ arbitrary: fc.constant(undefined), weight: 2 }, { arbitrary, weight });
/** A small registry with one of everything: two ways to be named, trees, cycles, ends, users. */
export const SMALL_REGISTRY_FILE: RegistryFile = {
  name: "small",
  common: { tags: "[@tag]" },
  types: {
    tag: { match: [["name"]], need: ["name"], fields: { name: "s", tags: "[@tag]", color: "s" } },
    user: { match: [["name"]], matchOnly: true, fields: { name: "s", email: "s" } },
    owner: {
      match: [["name"]],
      need: ["name"],
      slug: { field: "slug", from: "name" },
      fields: { name: "s", slug: "s", grade: { kind: "s", default: "low" }, level: "i" },
    },
    place: {
      match: [["name", "parent?"]],
      need: ["name"],
      fields: { name: "s", parent: "@place", note: "s", labels: "{}" },
    },
    box: {
      match: [
        ["asset"],
        ["name", "place", "owner?"],
        { parts: ["serial"], when: { role: "spare" } },
      ],
      need: ["kind"],
      defer: ["main"],
      fields: {
        asset: "s",
        name: "s",
        serial: "s",
        place: "@place",
        owner: "@owner",
        keeper: "@user",
        kind: "s",
        role: "s",
        size: "n",
        list: "[s]",
        set: { kind: "[i]", policy: "merge" },
        labels: "{}",
        main: "@port",
      },
    },
    port: {
      match: [["name", "box"]],
      need: ["name", "box", "type"],
      fields: { name: "s", box: "@box", type: "s", peer: "@port", near: "[@port]", on: "b" },
    },
    link: {
      match: [{ parts: ["a", "b"], anyOrder: true }],
      need: ["a", "b"],
      fields: {
        a: { kind: "[@port|box]", policy: "replace" },
        b: { kind: "[@port|box]", policy: "replace" },
        note: "s",
      },
    },
  },
};

export const SMALL_REGISTRY: Registry = loadRegistry(SMALL_REGISTRY_FILE);

export function isSmallReference(type: string, field: string): boolean {
  return SMALL_REGISTRY.types.get(type)!.fields.get(field)!.kind.startsWith("reference");
}

/** Users are never made by a plan: these are there. */
export const SMALL_SEED: readonly InventoryObject[] = ["u1", "u2"].map((name) => ({
  id: name,
  type: "user",
  version: 1,
  data: { name },
}));

const one = <T extends string | number>(...values: T[]) => fc.constantFrom(...values);
/** Seldom: one in six. */
const sometimes = <T>(arbitrary: fc.Arbitrary<T>) =>
  fc.oneof({ arbitrary: fc.constant(undefined), weight: 5 }, { arbitrary, weight: 1 });
const clear = (...names: string[]) =>
  sometimes(fc.uniqueArray(fc.constantFrom(...names), { minLength: 1, maxLength: 2 }));
const labels = fc.dictionary(one("k1", "k2", "k3"), one<string | number>("x", "y", 1), {
  maxKeys: 2,
});
const tags = fc.array(
  fc.record({ name: one("t1", "t2", "t3"), color: some(one("red", "blue"), 1) }),
  {
    maxLength: 2,
  },
);

const owner = fc.record({
  name: one("o1", "o2"),
  level: some(one(1, 2)),
  grade: some(one("low", "high"), 1),
  _clear: clear("level", "grade"),
});
const place: fc.Arbitrary<unknown> = fc.record({
  name: one("p1", "p2"),
  parent: some(fc.record({ name: one("p1", "p2", "p3") }), 1),
  note: some(one("n1", "n2"), 1),
  labels: some(labels, 1),
  tags: some(tags, 1),
  _clear: clear("note", "labels", "labels.k1", "tags"),
});
const ownFields = {
  serial: some(one("s1", "s2"), 1),
  owner: sometimes(owner),
  keeper: sometimes(fc.record({ name: one("u1", "u2", "u3"), email: some(one("e"), 1) })),
  kind: some(one("big", "small"), 20),
  role: sometimes(one("spare", "main")),
  size: some(one(1, 1.5, 2), 1),
  list: some(fc.array(one("l1", "l2"), { maxLength: 2 }), 1),
  set: some(fc.array(one(1, 2), { maxLength: 2 }), 1),
  labels: some(labels, 1),
  tags: some(tags, 1),
  _clear: clear("owner", "asset", "list", "set", "tags", "size", "main"),
};
const cellar = fc.constant({ name: "p1" });
const named = fc.oneof(
  { arbitrary: fc.record({ name: one("b1", "b2"), place: cellar }), weight: 4 },
  // Two ways at once: this is how things are renamed, and names are taken.
  {
    arbitrary: fc.record({ asset: one("a1", "a2"), name: one("b1", "b2"), place: cellar }),
    weight: 5,
  },
  { arbitrary: fc.record({ asset: one("a1", "a2") }), weight: 2 },
  { arbitrary: fc.record({ name: one("b1", "B1"), place }), weight: 1 },
  { arbitrary: fc.constant({}), weight: 1 },
);
const boxOf = <T>(fields: fc.Arbitrary<T>) =>
  fc.tuple(named, fields).map(([name, fields]) => ({ ...fields, ...name }));
const innerBox = boxOf(fc.record(ownFields));
const innerPort = fc.record({ name: one("e0", "e1"), box: innerBox, type: some(one("copper"), 8) });
const box = boxOf(fc.record({ ...ownFields, main: some(innerPort, 1) }));
const port = fc.record({
  name: one("e0", "e1"),
  box,
  type: some(one("copper", "fibre"), 4),
  peer: some(innerPort, 1),
  near: some(fc.array(innerPort, { maxLength: 2 }), 1),
  on: some(fc.boolean(), 1),
});
const end = fc.oneof(
  innerPort.map((port) => ({ port })),
  innerBox.map((box) => ({ box })),
);
const link = fc.record({
  a: fc.array(end, { minLength: 1, maxLength: 1 }),
  b: fc.array(end, { minLength: 1, maxLength: 1 }),
  note: some(one("n1", "n2")),
});

const entity: fc.Arbitrary<Entity> = fc
  .oneof(
    { arbitrary: place.map((place) => ({ place })), weight: 1 },
    { arbitrary: owner.map((owner) => ({ owner })), weight: 1 },
    { arbitrary: box.map((box) => ({ box })), weight: 5 },
    { arbitrary: port.map((port) => ({ port })), weight: 4 },
    { arbitrary: link.map((link) => ({ link })), weight: 1 },
  )
  .map((given): Entity | undefined => {
    const plain = JSON.parse(
      JSON.stringify({ timestamp: "2026-01-01T00:00:00Z", ...given }),
    ) as Json;
    const reading = readEntity(SMALL_REGISTRY, plain);
    return reading.read === "entity" ? reading.entity : undefined;
  })
  .filter((entity) => entity !== undefined);

/**
 * Feeds that sources really send: a few objects over and over, children before parents, the same again
 * (A, A), back to what was (A, B, A), in any order.
 */
export const feeds: fc.Arbitrary<readonly Entity[]> = fc
  .array(entity, { minLength: 3, maxLength: 10, size: "max" })
  .chain((distinct) =>
    fc
      .array(fc.nat(distinct.length - 1), { minLength: 4, maxLength: 24, size: "max" })
      .map((order) => order.map((no) => distinct[no]!)),
  );
