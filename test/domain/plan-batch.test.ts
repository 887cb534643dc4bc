import { expect, test } from "vitest";
import type { Change, ChangeSet, Entity, PlanDecision } from "../../contracts/inventory.ts";
import { readEntity } from "../../domain/inventory-line.ts";
import { drive, planBatch, type PlannedEntity } from "../../domain/plan-batch.ts";
import { planHash, remainderOf } from "../../domain/plan-hash.ts";
import { loadRegistry } from "../../domain/registry.ts";
import { NETWORK_REGISTRY } from "../../domain/registries/network.ts";
import { SMALL_REGISTRY } from "../support/inventory-feeds.ts";
import { createMemoryInventory } from "../support/memory-inventory.ts";

const network = loadRegistry(NETWORK_REGISTRY);

function inventory(registry = network) {
  const memory = createMemoryInventory();
  const read = (given: object): Entity => {
    const reading = readEntity(registry, { timestamp: "2026-01-01T00:00:00Z", ...given });
    if (reading.read !== "entity") throw new Error(JSON.stringify(reading));
    return reading.entity;
  };
  const plan = (
    given: readonly object[],
    decide: (entity: number, changeSet: ChangeSet) => PlanDecision = () => "apply",
  ) => {
    const { newId, known } = memory;
    const batch = drive(planBatch({ registry, entities: given.map(read), newId, decide }), known);
    memory.apply(batch.writes);
    return batch;
  };
  const planOne = (given: object, decision: PlanDecision = "apply") =>
    plan([given], () => decision).entities[0]!;
  return { memory, plan, planOne };
}

function setOf(planned: PlannedEntity): ChangeSet {
  if (planned.outcome !== "planned") throw new Error(JSON.stringify(planned));
  return planned.changeSet;
}

function real({ changes }: ChangeSet): string[] {
  return changes.filter(({ kind }) => kind !== "noop").map(({ kind, type }) => `${kind} ${type}`);
}

function fault(planned: PlannedEntity): string {
  if (planned.outcome !== "failed") throw new Error(JSON.stringify(planned));
  return `${planned.error.fault}: ${planned.error.message}`;
}

const model = { model: "C9300", manufacturer: { name: "Cisco" } };
const sw1 = { name: "sw1", site: { name: "x" }, role: { name: "access" }, device_type: model };

test("a new entity creates what it is nested with first, and shows it by what names it", () => {
  const { planOne } = inventory();
  const set = setOf(planOne({ device: { ...sw1, serial: "A" } }));
  expect(set.title).toBe("Device sw1 created");
  expect(real(set)).toEqual([
    "create site",
    "create device_role",
    "create manufacturer",
    "create device_type",
    "create device",
  ]);
  expect(set.changes.map(({ no }) => no)).toEqual([0, 1, 2, 3, 4]);
  expect(set.changes.at(-1)).toEqual({
    no: 4,
    kind: "create",
    type: "device",
    identity: { name: "sw1", site: { name: "x" } },
    objectId: "o5",
    version: 0,
    before: {},
    after: {
      device_type: { manufacturer: { name: "Cisco" }, model: "C9300" },
      name: "sw1",
      role: { name: "access" },
      serial: "A",
      site: { name: "x" },
    },
    newRefs: ["device_type", "role", "site"],
    primary: true,
  });
  expect(Object.keys(set.changes.at(-1)!.after)).toEqual([
    "device_type",
    "name",
    "role",
    "serial",
    "site",
  ]);
});

test("an update shows only what changes; absent attributes stay; no-ops stand beside real changes only", () => {
  const { planOne, memory } = inventory();
  planOne({ device: { ...sw1, serial: "A", comments: "old" } });
  const set = setOf(
    planOne({ device: { name: "sw1", site: { name: "x" }, serial: "B", _clear: ["comments"] } }),
  );
  expect(set.title).toBe("Device sw1 modified");
  const update = set.changes.find(({ kind }) => kind === "update")!;
  expect(update).toMatchObject({
    before: { comments: "old", serial: "A" },
    after: { serial: "B" },
    version: 1,
    newRefs: [],
  });
  expect(set.changes.map(({ kind }) => kind)).toEqual(["noop", "update"]);
  expect(planOne({ device: { name: "sw1", site: { name: "x" }, serial: "B" } }).outcome).toBe(
    "unchanged",
  );
  expect(memory.objects.get(update.objectId)).toMatchObject({
    version: 2,
    data: { serial: "B", name: "sw1" },
  });
});

test("a batch asks once for each step of references, however many entities it has", () => {
  const { plan, memory } = inventory();
  const ports = Array.from({ length: 200 }, (_, n) => ({
    interface: { name: `e${n % 50}`, device: { ...sw1, name: `sw${n % 4}` }, type: "1000base-t" },
  }));
  const before = memory.questions();
  expect(plan(ports).entities.filter(({ outcome }) => outcome === "planned")).toHaveLength(100);
  expect(memory.questions() - before).toBe(1);
  const again = plan(ports);
  expect(again.entities.every(({ outcome }) => outcome === "unchanged")).toBe(true);
  expect(again.writes).toEqual([]);
  // What refers to nothing; types and devices; ports.
  expect(memory.questions() - before).toBe(4);
});

test("later entities of a batch see what earlier ones apply, and not what waits for review", () => {
  const { plan, memory } = inventory();
  const port = (name: string) => ({ interface: { name, device: sw1, type: "lag" } });
  const batch = plan([port("e0"), port("e1"), port("e2")], (entity) =>
    entity === 0 ? "review" : "apply",
  );
  const sets = batch.entities.map((one) => real(setOf(one)).length);
  expect(sets).toEqual([6, 6, 1]);
  expect(batch.writes).toHaveLength(7);
  expect([...memory.objects.values()].filter(({ type }) => type === "interface")).toHaveLength(2);
});

test("A, B, A in one batch ends as A, and writes nothing that ends as it was", () => {
  const { plan, planOne } = inventory();
  planOne({ site: { name: "x", status: "A" } });
  const status = (value: string) => ({ site: { name: "x", status: value } });
  const batch = plan([status("B"), status("A"), status("A")]);
  expect(batch.entities.map(({ outcome }) => outcome)).toEqual(["planned", "planned", "unchanged"]);
  expect(batch.writes).toEqual([]);
});

test("a reference that closes a cycle is set after everything is there", () => {
  const { planOne } = inventory();
  const address = {
    address: "10.0.0.1/24",
    assigned_object_interface: {
      name: "e0",
      type: "lag",
      device: { name: "sw1", site: { name: "x" } },
    },
  };
  const set = setOf(planOne({ device: { ...sw1, primary_ip4: address } }));
  expect(real(set).slice(-4)).toEqual([
    "create device",
    "create interface",
    "create ip_address",
    "update device",
  ]);
  expect(set.changes.at(-1)).toMatchObject({
    after: { primary_ip4: { address: "10.0.0.1/24" } },
    before: {},
    newRefs: ["primary_ip4"],
    primary: true,
  });
  expect(set.title).toBe("Device sw1 created");
  expect(planOne({ device: { ...sw1, primary_ip4: address } }).outcome).toBe("unchanged");
});

test("the master of a chassis is named by the chassis that it closes", () => {
  const { planOne } = inventory();
  const master = {
    virtual_chassis: { name: "vc" },
    vc_position: 1,
    site: { name: "x" },
    role: { name: "r" },
    device_type: model,
  };
  const set = setOf(planOne({ virtual_chassis: { name: "vc", master } }));
  expect(real(set).at(-1)).toBe("update virtual_chassis");
  expect(set.changes.at(-1)!.after).toEqual({
    master: { vc_position: 1, virtual_chassis: { name: "vc" } },
  });
});

test("a device without a name is found by its place in the rack", () => {
  const { planOne } = inventory();
  const placed = { rack: { name: "R1", site: { name: "x" } }, position: 12, face: "front" };
  const { name: _, ...nameless } = sw1;
  expect(setOf(planOne({ device: { ...nameless, ...placed } })).title).toBe(
    "Device front 12 created",
  );
  expect(setOf(planOne({ device: { ...placed, position: 12.0, serial: "S" } })).title).toBe(
    "Device front 12 modified",
  );
  expect(fault(planOne({ device: { serial: "S" } }))).toBe(
    "missing-identity: nothing names this device: give asset_tag, or name and site, or " +
      "virtual_chassis and vc_position, or rack and position and face",
  );
});

test("matchers are tried in order: a tag finds the device that was renamed", () => {
  const { planOne, memory } = inventory();
  const { objectId } = planOne({ device: { ...sw1, asset_tag: "T1" } }) as { objectId: string };
  const set = setOf(planOne({ device: { ...sw1, asset_tag: "T1", name: "sw2" } }));
  expect(real(set)).toEqual(["update device"]);
  expect(memory.objects.get(objectId)!.data["name"]).toBe("sw2");
  // The old name is free again, and names another one now.
  expect(real(setOf(planOne({ device: sw1 })))).toEqual(["create device"]);
  expect(fault(planOne({ device: { ...sw1, asset_tag: "T1" } }))).toMatch(
    /^taken: name and site and tenant name another device already/,
  );
});

test("a rename inside a batch is followed by what comes after it", () => {
  const { plan, planOne, memory } = inventory();
  planOne({ device: { ...sw1, asset_tag: "T1" } });
  planOne({ interface: { name: "e0", type: "lag", device: sw1 } });
  const size = memory.objects.size;
  const batch = plan([
    { device: { asset_tag: "T1", name: "sw9" } },
    { interface: { name: "e0", mtu: 9000, device: { name: "sw9", site: { name: "x" } } } },
  ]);
  expect(batch.entities.map((one) => real(setOf(one)))).toEqual([
    ["update device"],
    ["update interface"],
  ]);
  expect(memory.objects.size).toBe(size);
});

test("case counts in what names an object", () => {
  const { plan, memory } = inventory();
  plan(
    ["TenGigabit1", "Tengigabit1"].map((name) => ({
      interface: { name, type: "lag", device: sw1 },
    })),
  );
  expect([...memory.objects.values()].filter(({ type }) => type === "interface")).toHaveLength(2);
});

test("the same object told twice in one entity is one object, and must be told the same way", () => {
  const { planOne } = inventory();
  const lag = { name: "Po1", type: "lag", device: { name: "sw1", site: { name: "x" } } };
  const set = setOf(
    planOne({
      interface: { lag, name: "e0", type: "1000base-t", device: { ...sw1, serial: "S" } },
    }),
  );
  expect(real(set).filter((one) => one === "create device")).toHaveLength(1);
  const other = { ...lag, device: { ...lag.device, serial: "T" } };
  expect(
    fault(
      planOne({
        interface: { lag: other, name: "e0", type: "1000base-t", device: { ...sw1, serial: "S" } },
      }),
    ),
  ).toBe(
    "conflict: device.serial: the same device stands in this entity with different values: say one",
  );
});

test("two names of one object that only the target knows must agree as well", () => {
  const { planOne } = inventory();
  planOne({ device: { ...sw1, asset_tag: "T1" } });
  const twice = (serial: string) => ({
    interface: {
      name: "e0",
      type: "lag",
      device: { asset_tag: "T1", serial: "S" },
      lag: { name: "e1", type: "lag", device: { ...sw1, serial } },
    },
  });
  expect(fault(planOne(twice("T")))).toMatch(/^conflict: device\.serial/);
  expect(real(setOf(planOne(twice("S"))))).toEqual([
    "update device",
    "create interface",
    "create interface",
  ]);
});

test("an object nested in itself is refused", () => {
  const { planOne } = inventory();
  const e0 = { name: "e0", type: "lag", device: sw1 };
  expect(fault(planOne({ interface: { ...e0, lag: e0 } }))).toMatch(
    /^cycle: this interface is nested in itself/,
  );
  expect(fault(planOne({ interface: { ...e0, lag: { ...e0, name: "e1", lag: e0 } } }))).toMatch(
    /^cycle/,
  );
});

test("lists of references unite, maps merge key by key, other lists are replaced", () => {
  const { planOne, memory } = inventory(SMALL_REGISTRY);
  const box = (given: object) => ({ box: { asset: "a", kind: "big", ...given } });
  const { objectId } = planOne(
    box({ tags: [{ name: "t1" }], labels: { a: 1, b: 1 }, list: ["x", "y"], set: [1] }),
  ) as { objectId: string };
  const set = setOf(
    planOne(box({ tags: [{ name: "t2" }], labels: { b: 2 }, list: ["z"], set: [2, 1] })),
  );
  expect(set.changes.at(-1)).toMatchObject({
    before: { labels: { a: 1, b: 1 }, list: ["x", "y"], set: [1], tags: [{ name: "t1" }] },
    after: {
      labels: { a: 1, b: 2 },
      list: ["z"],
      set: [1, 2],
      tags: [{ name: "t1" }, { name: "t2" }],
    },
  });
  planOne(box({ tags: [{ name: "t3" }], _clear: ["tags", "labels.a", "list"] }));
  expect(memory.objects.get(objectId)!.data).toMatchObject({ labels: { b: 2 }, set: [1, 2] });
  expect(memory.objects.get(objectId)!.data["tags"]).toHaveLength(1);
  expect(memory.objects.get(objectId)!.data["list"]).toBeUndefined();
});

test("new objects get defaults and a slug, and neither ever finds one", () => {
  const { planOne } = inventory(SMALL_REGISTRY);
  const set = setOf(planOne({ owner: { name: "2960+24PC-L" } }));
  expect(set.changes[0]!.after).toEqual({ grade: "low", name: "2960+24PC-L", slug: "2960-24pc-l" });
  expect(setOf(planOne({ owner: { name: "2960-24PC-L" } })).changes[0]!.kind).toBe("create");
  expect(planOne({ owner: { name: "2960+24PC-L" } }).outcome).toBe("unchanged");
});

test("a cable is one cable from either end", () => {
  const { planOne, memory } = inventory();
  const end = (name: string) => ({ interface: { name, type: "lag", device: sw1 } });
  const cable = (a: string, b: string) => ({
    cable: { a_terminations: [end(a)], b_terminations: [end(b)], status: "connected" },
  });
  planOne(cable("e0", "e1"));
  const size = memory.objects.size;
  expect(planOne(cable("e1", "e0")).outcome).toBe("unchanged");
  expect(setOf(planOne(cable("e0", "e2"))).title).toBe("Cable e0 created");
  expect(memory.objects.size).toBe(size + 2);
});

test("what a type needs is needed to create it, not to update it", () => {
  const { planOne } = inventory();
  const port = { name: "e0", device: { name: "sw1", site: { name: "x" } } };
  const missing = planOne({ interface: { ...port, type: "lag" } });
  expect(fault(missing)).toBe(
    "missing-reference: there is no such device, and device_type is needed to make it: give device_type, or send the device itself",
  );
  expect((missing as { title: string }).title).toBe("Interface e0 discovered");
  planOne({ device: sw1 });
  expect(fault(planOne({ interface: port }))).toMatch(
    /^required: there is no such interface, and type is needed/,
  );
  planOne({ interface: { ...port, type: "lag" } });
  expect(real(setOf(planOne({ interface: { ...port, mtu: 9000 } })))).toEqual(["update interface"]);
});

test("who waits for an object is told by what names it when it arrives", () => {
  const { planOne, plan } = inventory();
  plan([{ site: { name: "x" } }]);
  const missing = planOne({
    interface: { name: "e0", type: "lag", device: { name: "sw1", site: { name: "x" } } },
  });
  const waitsFor = missing.outcome === "failed" ? missing.error.waitsFor! : [];
  expect(waitsFor).toHaveLength(1);
  expect(plan([{ device: { ...sw1, name: "other" } }]).arrivals()).not.toContain(waitsFor[0]);
  expect(plan([{ device: { ...sw1, asset_tag: "T" } }]).arrivals()).toContain(waitsFor[0]);
});

test("nothing of an entity that fails is applied, and its siblings are", () => {
  const { plan, memory } = inventory();
  const batch = plan([
    { interface: { name: "e0", device: { ...sw1, name: "lost" } } },
    { site: { name: "y" } },
    { device: { serial: "nobody" } },
  ]);
  expect(batch.entities.map(({ outcome }) => outcome)).toEqual(["failed", "planned", "failed"]);
  expect([...memory.objects.values()].map(({ data }) => data["name"])).toEqual(["y"]);
});

test("objects that are only ever found are never written", () => {
  const { memory, planOne } = inventory(SMALL_REGISTRY);
  memory.seed(SMALL_REGISTRY, [{ id: "u", type: "user", version: 1, data: { name: "ann" } }]);
  const box = (keeper: object) => ({ box: { asset: "a", kind: "big", keeper } });
  expect(real(setOf(planOne(box({ name: "ann", email: "new" }))))).toEqual(["create box"]);
  expect(memory.objects.get("u")!.data).toEqual({ name: "ann" });
  expect(fault(planOne(box({ name: "bob" })))).toMatch(
    /^missing-reference: there is no such user, and none is ever made/,
  );
});

test("the hash of a plan is of its effects, whatever ids they get", () => {
  const one = setOf(inventory().planOne({ device: sw1 }));
  const { planOne } = inventory();
  planOne({ site: { name: "elsewhere" } });
  const other = setOf(planOne({ device: sw1 }, "review"));
  expect(other.hash).toBe(one.hash);
  expect(other.changes[0]!.objectId).not.toBe(one.changes[0]!.objectId);
  expect(setOf(planOne({ device: { ...sw1, serial: "S" } }, "review")).hash).not.toBe(one.hash);
  expect(planHash([])).toMatch(/^[0-9a-f]{64}$/);
});

test("an approved plan may be applied in part when the rest has come to be, and never with more", () => {
  const { planOne } = inventory();
  const approved = setOf(planOne({ device: sw1 }, "review"));
  const left = (changes: readonly Change[]) => remainderOf(approved.changes, changes);
  expect(left(setOf(planOne({ device: sw1 }, "review")).changes)).toBe("same");
  planOne({ device_type: model });
  expect(left(setOf(planOne({ device: sw1 }, "review")).changes)).toBe("part");
  planOne({ device: { ...sw1, role: { name: "core" } } });
  expect(left(setOf(planOne({ device: sw1 }, "review")).changes)).toBe("changed");
  planOne({ device: sw1 });
  expect(left([])).toBe("done");
});

test("a change shows what a reference leaves by what names it, in as few questions as it takes", () => {
  const { plan, memory } = inventory();
  const names = Array.from({ length: 20 }, (_, n) => ({
    ...sw1,
    name: `sw${n}`,
    platform: { name: `old${n}` },
  }));
  plan(names.map((device) => ({ device })));
  const before = memory.questions();
  const batch = plan(
    names.map(({ name, site }) => ({ device: { name, site, platform: { name: "new" } } })),
  );
  expect(setOf(batch.entities[7]!).changes.at(-1)).toMatchObject({
    before: { platform: { name: "old7" } },
    after: { platform: { name: "new" } },
  });
  expect(memory.questions() - before).toBeLessThanOrEqual(4);
});

test("while many entities are planned, others have a turn: it asks for nothing now and then", () => {
  const { memory } = inventory(SMALL_REGISTRY);
  const entities = Array.from({ length: 2_000 }, (_, no): Entity => {
    return { type: "owner", fields: { name: `o${no}` }, warnings: [] };
  });
  let decided = 0;
  let most = 0;
  const plan = planBatch({
    registry: SMALL_REGISTRY,
    entities,
    newId: memory.newId,
    decide: () => (decided++, "apply"),
  });
  drive(plan, (wanted) => {
    most = Math.max(most, decided);
    decided = 0;
    return memory.known(wanted);
  });
  expect(most).toBe(250);
});
