import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { holdfastOver } from "../../client/index.ts";
import { newContext } from "../../client/context.ts";
import { exportLine } from "../../client/inventory-export.ts";
import { NotFound } from "../../contracts/errors.ts";
import type { Entity, Fields, InventoryObject, ObjectId } from "../../contracts/inventory.ts";
import { PlanRule } from "../../contracts/plan-rule.ts";
import { ingest } from "../../db/inbox.ts";
import { planAndApply } from "../../db/plan-apply.ts";
import type { Db } from "../../db/pool.ts";
import { canonicalJson, parseExactJson } from "../../domain/exact-json.ts";
import { readLine } from "../../domain/inventory-line.ts";
import { registryOf } from "../../domain/inventory-registries.ts";
import type { Registry } from "../../domain/registry.ts";
import { fresh } from "../support/fresh.ts";
import { inventoryOf, seedInventory } from "../support/inventory-database.ts";
import {
  feeds,
  SMALL_REGISTRY,
  SMALL_REGISTRY_FILE,
  SMALL_SEED,
} from "../support/inventory-feeds.ts";
import { createOracle } from "../support/inventory-oracle.ts";

const APPLY_ALL = PlanRule.parse({ name: "everything", decision: "apply" });
const NETWORK = registryOf({}, "network");
const NO_RETRY = { attempts: 0, firstSeconds: 0, mostSeconds: 0 };

async function apply(db: Db, registry: Registry, tenant: string, entities: readonly Entity[]) {
  const place = { tenant, branch: "main" };
  await db.transaction((tx) => ingest(tx, registry, { ...place, source: "test", entities }));
  const how = { mode: "auto", rules: [APPLY_ALL], retry: NO_RETRY } as const;
  for (let claimed = 1; claimed > 0;) {
    ({ claimed } = await planAndApply(db, registry, place, how));
  }
}

function lines(...values: object[]): Entity[] {
  return values.map((value) => {
    const reading = readLine(
      NETWORK,
      canonicalJson({ timestamp: "2026-01-01T00:00:00Z", ...value }),
    );
    if (reading.read !== "entity") throw new Error(JSON.stringify(reading));
    return reading.entity;
  });
}

/** Every object as the oracle would export it: told without keys, look-ups or pages. */
function toldBy(registry: Registry, objects: ReadonlyMap<ObjectId, InventoryObject>): string[] {
  const identity = ({ type: name, data, id }: InventoryObject): Fields => {
    const type = registry.types.get(name)!;
    const matcher = type.matchers.find(
      ({ parts, when }) =>
        when.every(([field, wanted]) => (data[field] ?? null) === wanted) &&
        parts.every(({ field, optional }) => optional || data[field.name] !== undefined),
    );
    if (!matcher) return { id };
    return told(
      name,
      data,
      matcher.parts.map(({ field }) => field.name),
    );
  };
  const told = (name: string, data: Fields, names: readonly string[]): Fields =>
    Object.fromEntries(
      names.flatMap((field) => {
        const value = data[field];
        if (value === undefined) return [];
        const { kind, generic } = registry.types.get(name)!.fields.get(field)!;
        if (!kind.startsWith("reference")) return [[field, value]];
        const all = [value].flat().map((to) => {
          const object = objects.get(to as ObjectId)!;
          return generic ? { [object.type]: identity(object) } : identity(object);
        });
        const sorted = all.toSorted((a, b) => (canonicalJson(a) < canonicalJson(b) ? -1 : 1));
        return [[field, kind === "reference" ? sorted[0]! : sorted]];
      }),
    );
  return [...objects.values()]
    .map((object) => {
      const { type, data } = object;
      const attributes = told(type, data, Object.keys(data));
      return exportLine({ type, identity: identity(object), attributes });
    })
    .toSorted();
}

test(
  "the export is the oracle's inventory, line by line, whatever was fed",
  { timeout: 120_000 },
  async () => {
    const { db } = await fresh();
    const config = { inventory: { registry: "small", registries: { small: SMALL_REGISTRY_FILE } } };
    const { inventory } = holdfastOver(newContext({ db, config }));
    let exported = 0;
    for (const [round, feed] of fc.sample(feeds, 40).entries()) {
      const tenant = `t${round}`;
      await seedInventory(db, SMALL_REGISTRY, { tenant, branch: "main" }, SMALL_SEED);
      const oracle = createOracle(SMALL_REGISTRY, SMALL_SEED);
      await apply(db, SMALL_REGISTRY, tenant, feed);
      // What is a copy of what is still to come is not planned twice.
      const { rows: taken } = await db.query<{ type: string; fields: string }>(
        "select type, fields::text from holdfast.entities where tenant = $1 order by id",
        [tenant],
      );
      for (const { type, fields } of taken) {
        oracle.apply({ type, fields: parseExactJson(fields) as Fields });
      }
      const found: string[] = [];
      for await (const object of await inventory.export({ tenant })) found.push(exportLine(object));
      expect(found.toSorted()).toEqual(toldBy(SMALL_REGISTRY, oracle.objects));
      exported += found.length;
    }
    expect(exported).toBeGreaterThan(200);
  },
);

test("every object is found by its identity as it was exported, and by its id", async () => {
  const { db } = await fresh();
  const config = { inventory: { registry: "small", registries: { small: SMALL_REGISTRY_FILE } } };
  const { inventory } = holdfastOver(newContext({ db, config }));
  await seedInventory(db, SMALL_REGISTRY, { tenant: "default", branch: "main" }, SMALL_SEED);
  for (const feed of fc.sample(feeds, 10)) await apply(db, SMALL_REGISTRY, "default", feed);
  const objects = await inventoryOf(db, { tenant: "default", branch: "main" });
  for (const { id, type } of objects.values()) {
    const byId = await inventory.get(id);
    expect((await inventory.get({ type, identity: byId.identity })).id).toBe(id);
  }
  expect(objects.size).toBeGreaterThan(8);
});

async function network() {
  const { db } = await fresh();
  const holdfast = holdfastOver(newContext({ db }));
  onTestFinished(() => undefined);
  const device = {
    name: "sw1",
    site: { name: "ams" },
    role: { name: "leaf" },
    device_type: { model: "m", manufacturer: { name: "acme" } },
  };
  await apply(
    db,
    NETWORK,
    "default",
    lines(
      { device: { ...device, serial: "A" } },
      { interface: { name: "eth0", type: "1000base-t", device } },
      { interface: { name: "eth1", type: "1000base-t", device } },
      { asn: { asn: 4_200_000_000n, rir: { name: "ripe" } } },
      { device: { ...device, name: "sw2", custom_fields: { big: 12_345_678_901_234_567_890n } } },
    ),
  );
  return { db, holdfast, inventory: holdfast.inventory };
}

test("integers beyond 2^53 leave as they came", async () => {
  const { inventory } = await network();
  const sw2 = await inventory.get({
    type: "device",
    identity: { name: "sw2", site: { name: "ams" } },
  });
  const fields = JSON.stringify(sw2.attributes, (_, v: unknown) =>
    typeof v === "bigint" ? `${v}n` : v,
  );
  const text: string[] = [];
  for await (const object of await inventory.export({ types: ["device"] }))
    text.push(exportLine(object));
  expect(text).toHaveLength(2);
  expect(fields).toContain("12345678901234567890n");
  expect(text.join("")).toContain(":12345678901234567890");
  expect(parseExactJson(text[1]!)).toBeTruthy();
});

test("lists go on where the page before ended, by id and by the beginning of a name", async () => {
  const { inventory } = await network();
  const walk = async (text?: string) => {
    const titles: string[] = [];
    for (let after: string | undefined; ;) {
      const page = await inventory.list({
        type: "device",
        limit: 1,
        ...(after && { after }),
        ...(text && { text }),
      });
      titles.push(...page.items.map(({ title }) => title));
      if (page.next === undefined) return titles;
      after = page.next;
    }
  };
  expect(await walk()).toEqual(["Device sw1", "Device sw2"]);
  expect(await walk("sw")).toEqual(["Device sw1", "Device sw2"]);
  expect(await walk("sw2")).toEqual(["Device sw2"]);
  expect(await walk("SW")).toEqual([]);
  await expect(inventory.list({ type: "cable", text: "x" })).rejects.toThrow(/leave it out/);
  await expect(inventory.list({ type: "devise" })).rejects.toThrow(/devise is no type .* device/);
});

test("an object says what it refers to, what refers to it, and what became of it", async () => {
  const { db, inventory } = await network();
  const identity = { name: "sw1", site: { name: "ams" } };
  const before = await inventory.get({ type: "device", identity });
  await apply(db, NETWORK, "default", lines({ device: { ...identity, serial: "B" } }));
  const { id, version, attributes } = await inventory.get({ type: "device", identity });
  expect([version, attributes["serial"]]).toEqual([before.version + 1, "B"]);

  const { out, in: referrers } = await inventory.references(id, { limit: 1 });
  expect(out.map(({ field, title }) => `${field}: ${title}`)).toEqual([
    "device_type: Device type m",
    "role: Device role leaf",
    "site: Site ams",
  ]);
  const more = await inventory.references(id, { after: referrers.next! });
  expect(
    [...referrers.items, ...more.in.items].map(({ title, fields }) => [title, fields]),
  ).toEqual([
    ["Interface eth0", ["device"]],
    ["Interface eth1", ["device"]],
  ]);

  const { items } = await inventory.history(id);
  expect(
    items.map(({ kind, before, after, rule }) => [
      kind,
      before?.["serial"],
      after?.["serial"],
      rule,
    ]),
  ).toEqual([
    ["update", "A", "B", "everything"],
    ["create", undefined, "A", "everything"],
  ]);
});

test("another tenant's objects are not there", async () => {
  const { db, inventory } = await network();
  const { items } = await inventory.list({ type: "device" });
  const other = holdfastOver(newContext({ db, tenants: ["acme"] })).inventory;
  const id = items[0]!.id;
  for (const ask of [
    () => other.get(id),
    () => other.history(id),
    () => other.references(id),
    () => other.list({ type: "device", tenant: "default" }),
    () => other.export({ tenant: "default" }),
  ]) {
    await expect(ask()).rejects.toThrow(NotFound);
  }
  expect(await other.branches()).toEqual([]);
});
