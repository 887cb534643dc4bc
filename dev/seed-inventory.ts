import { pathToFileURL } from "node:url";
import { newContext } from "../client/context.ts";
import { holdfastOver, type Holdfast } from "../client/index.ts";
import { PlanGuard, PlanRule } from "../contracts/plan-rule.ts";
import { settingsOf } from "../db/inventory-settings.ts";
import { markRunning } from "../db/operations.ts";
import { planStep } from "../db/plan-operation-apply.ts";
import { hashOfWaiting, waitingEntities } from "../db/plan-operation-decide.ts";
import { findPlan, tellWaiting } from "../db/plan-operation.ts";
import { sumPlan } from "../db/plan-operation-view.ts";
import { planAndApply } from "../db/plan-apply.ts";
import { openDb, type Db } from "../db/pool.ts";
import { registryOf } from "../domain/inventory-registries.ts";

/**
 * Fills a database with an inventory and with deviations of every kind, taken in, planned and applied by
 * the functions that do it in earnest, so that the console can be looked at and tested without a worker.
 */
export interface SeededInventory {
  /** A request of which something was rejected. */
  request: string;
  /** A plan that waits for a decision. */
  plan: string;
  /** An object with references in and out. */
  object: string;
  /** Entities, by what there is to see of them. */
  update: string;
  create: string;
  long: string;
  failed: string;
  waiting: string;
  applied: string;
}

const NETWORK = registryOf({}, "network");
const APPLY = PlanRule.parse({ name: "everything by itself", decision: "apply" });
const RULES = [
  PlanRule.parse({
    name: "tags by themselves",
    when: { kinds: ["create", "update"], changedTypes: ["tag"] },
    decision: "apply",
  }),
  PlanRule.parse({ name: "no lab", when: { values: { "site.name": "lab" } }, decision: "ignore" }),
  PlanRule.parse({
    name: "devices are looked at",
    when: { types: ["device"] },
    decision: "review",
  }),
];
const TAKEN = "2026-11-21T09:00:00.123456789Z";

type Fields = Record<string, unknown>;
const line = (type: string, fields: Fields, more: Fields = {}) => ({
  timestamp: TAKEN,
  [type]: fields,
  ...more,
});

const site = (name: string) => ({ name, status: "active" });
const device = (name: string, at: string, more: Fields = {}) => ({
  name,
  site: site(at),
  role: { name: "leaf" },
  device_type: { model: "DCS-7050", manufacturer: { name: "Arista" } },
  status: "active",
  ...more,
});
const port = (no: number, of: Fields, more: Fields = {}) => ({
  name: `Ethernet${no}`,
  type: "25gbase-x-sfp28",
  device: of,
  enabled: true,
  ...more,
});
const named = (name: string, at: string) => ({ name, site: { name: at } });

export async function seedInventory(db: Db): Promise<SeededInventory> {
  const holdfast = holdfastOver(newContext({ db, actor: "seed" }));
  await fillInventory(db, holdfast);
  const seeded = await deviate(db, holdfast);
  await hold(db, holdfast);
  await queue(holdfast);
  return { ...seeded, plan: await planThatWaits(db, holdfast) };
}

const PLACE = { tenant: "default", branch: "main" };

/** Three sites, twelve switches, their ports and addresses. */
async function fillInventory(db: Db, { inbox }: Holdfast): Promise<void> {
  const sites = ["ams1", "fra2", "lon3"];
  const devices = sites.flatMap((at) => [1, 2, 3, 4].map((no) => [`sw${no}.${at}`, at] as const));
  await inbox.ingest(
    [
      ...devices.map(([name, at], no) =>
        line("device", device(name, at, { serial: `JPE2026${no}`, tags: [{ name: "core" }] })),
      ),
      ...devices.flatMap(([name, at]) =>
        [1, 2, 3, 4, 5].map((no) => line("interface", port(no, named(name, at), { mtu: 9_214 }))),
      ),
      ...devices.map(([name, at], no) =>
        line("ip_address", {
          address: `10.20.${no}.1/24`,
          status: "active",
          assigned_object_interface: port(1, named(name, at)),
        }),
      ),
    ],
    { source: "discovery-1" },
  );
  await work(db, "auto", [APPLY]);
}

async function work(db: Db, mode: "auto" | "plan-only", rules: PlanRule[], place = PLACE) {
  const guard = PlanGuard.parse({});
  for (let claimed = 1; claimed > 0;) {
    ({ claimed } = await planAndApply(db, NETWORK, place, { mode, rules, guard }));
  }
}

const LONG = "A line that somebody wrote down once, about cabling and who to call. ".repeat(30);

async function deviate(db: Db, holdfast: Holdfast) {
  const { inbox, inventory, review, settings } = {
    ...holdfast,
    settings: holdfast.inventory.settings,
  };
  await settings.set("default", { mode: "auto", rules: RULES });
  const { request } = await inbox.ingest(
    [
      line("device", {
        ...named("sw1.ams1", "ams1"),
        serial: "JPE20269999",
        status: "offline",
        tags: [{ name: "rma" }],
      }),
      line("device", device("sw5.ams1", "ams1", { serial: "JPE202655", tags: [{ name: "core" }] })),
      line("device", {
        ...named("sw2.ams1", "ams1"),
        comments: LONG,
        custom_fields: { asset: 12_345_678_901_234_567_890n.toString(), owner: "net" },
      }),
      line("device", { ...named("sw3.ams1", "ams1"), role: { name: "spine" }, _clear: ["serial"] }),
      line("device", { status: "active", comments: "names nothing" }),
      line("device", { ...named("sw9.fra2", "fra2"), status: "planned" }),
      line("device", device("lab1", "lab")),
      line(
        "interface",
        port(1, named("sw2.fra2", "fra2"), { enabled: false, description: "to the old core" }),
      ),
      line("interface", port(2, named("sw2.fra2", "fra2"), { mtu: 1_500 })),
      line(
        "interface",
        port(9, device("sw8.lon3", "lon3"), { tagged_vlans: [{ name: "storage", vid: 40 }] }),
      ),
      line("interface", port(3, named("sw12.lon3", "lon3"))),
      line("tag", { name: "audited", color: "00ff00" }),
      { timestamp: TAKEN, devise: { name: "sw1" } },
      line("device", { name: 7, site: site("ams1") }),
      { timestamp: "yesterday", device: { name: "sw1" } },
    ],
    { source: "discovery-1", messageId: "scan-2026-11-21" },
  );
  await work(db, "auto", RULES);
  const { items } = await review.list({
    states: ["open", "failed", "errored", "ignored", "applied"],
    request,
    limit: 200,
  });
  const of = (text: string) => items.find(({ title }) => title.includes(text))?.id ?? items[0]!.id;
  await review.decide({ act: "approve", ids: [of("Ethernet2")] });
  await review.decide({
    act: "ignore",
    ids: [of("sw3.ams1")],
    reason: "the role is being discussed",
  });
  await inbox.ingest(
    [
      line(
        "interface",
        port(1, named("sw4.lon3", "lon3"), {
          primary_mac_address: { mac_address: "00:1c:73:00:00:01" },
          untagged_vlan: { name: "office" },
        }),
      ),
    ],
    { source: "discovery-2" },
  );
  await work(db, "auto", RULES);
  const object = await inventory.get({ type: "device", identity: named("sw1.ams1", "ams1") });
  const { items: now } = await review.list({ states: ["open"], limit: 200 });
  const { items: retried } = await inbox.list({ state: "pending_retry" });
  const { items: failed } = await inbox.list({ state: "failed" });
  const { items: applied } = await inbox.list({ state: "applied", type: "tag" });
  const open = (text: string) => now.find(({ title }) => title.includes(text))!.id;
  return {
    request,
    object: object.id,
    update: open("sw1.ams1"),
    create: open("sw5.ams1"),
    long: open("sw2.ams1"),
    failed: failed[0]!.id,
    waiting: retried[0]?.id ?? failed[0]!.id,
    applied: applied[0]!.id,
  };
}

/** Another tenant, of whose inventory more was about to change than its guard lets. */
async function hold(db: Db, { inbox, inventory }: Holdfast): Promise<void> {
  const place = { tenant: "acme", branch: "main" };
  const sites = Array.from({ length: 40 }, (_, no) => `plant-${no + 1}`);
  await inbox.ingest(
    sites.map((name) => line("site", site(name))),
    { ...place, source: "factory" },
  );
  await work(db, "auto", [APPLY], place);
  await db.query(
    "update holdfast.inventory_guards set window_at = window_at - interval '2 hours' where tenant = 'acme'",
  );
  const guard = { maxShare: 0.2, minObjects: 5 };
  await inventory.settings.set("acme", { mode: "auto", rules: [APPLY], guard });
  await inbox.ingest(
    sites.map((name) => line("site", { ...site(name), status: "retired" })),
    { ...place, source: "factory" },
  );
  const how = { mode: "auto", rules: [APPLY], guard: PlanGuard.parse(guard) } as const;
  await planAndApply(db, NETWORK, place, how);
}

/** Taken in, and to be planned as soon as a worker is there. */
async function queue({ inbox }: Holdfast): Promise<void> {
  await inbox.ingest(
    Array.from({ length: 24 }, (_, no) => line("vlan", { vid: 100 + no, name: `v${no}` })),
    { source: "stream:discovery", branch: "staging" },
  );
}

async function planThatWaits(db: Db, { plan }: Holdfast): Promise<string> {
  const { id } = await plan.submit(
    [
      line("device", device("sw6.ams1", "ams1", { serial: "JPE202666" })),
      line("device", { ...named("sw1.fra2", "fra2"), status: "decommissioning" }),
      line("device", { ...named("sw2.fra2", "fra2"), status: "decommissioning" }),
      line("device", { ...named("sw3.fra2", "fra2"), status: "active" }),
      line("interface", port(6, named("sw1.lon3", "lon3"), { description: "uplink" })),
      line("device", { ...named("sw7.nowhere", "ams1"), status: "planned" }),
    ],
    { key: "CHG-20417" },
  );
  await db.transaction((tx) => markRunning(tx, id, 1));
  const { rules, guard } = await settingsOf(db, {}, "default");
  const step = { generation: 1, plan: (await findPlan(db, id))!, registry: NETWORK, by: "seed" };
  await planStep(db, step, { auto: false, rules, guard });
  await db.transaction(async (tx) => {
    const { counts, changes } = await sumPlan(tx, id);
    const hash = hashOfWaiting(await waitingEntities(tx, id));
    await tellWaiting(tx, (await findPlan(tx, id))!, hash, {
      expiresInSeconds: 86_400,
      escalate: false,
      body: { waiting: counts.waiting, stale: counts.stale, changes },
    });
  });
  return id;
}

const LOT = 5_000;

/** Makes it a lot: so many interfaces, and as many deviations of them. */
export async function seedLot(db: Db, objects: number): Promise<void> {
  const holdfast = holdfastOver(newContext({ db, actor: "seed" }));
  for (const mtu of [9_214, 1_500]) {
    for (let from = 0; from < objects; from += LOT) {
      const lines = Array.from({ length: Math.min(LOT, objects - from) }, (_, i) => {
        const no = from + i;
        const of = device(`lot${Math.floor(no / 48)}`, `pod-${Math.floor(no / 4_800)}`);
        return line("interface", port(no % 48, of, { mtu }));
      });
      await holdfast.inbox.ingest(lines, { source: "lot" });
    }
    const how = mtu === 9_214 ? (["auto", [APPLY]] as const) : (["plan-only", []] as const);
    await work(db, how[0], [...how[1]]);
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const url = process.env.DATABASE_URL;
  if (!url) throw new Error("DATABASE_URL is not set: which database is to be filled?");
  const db = openDb({ url });
  try {
    console.log(await seedInventory(db));
    const lot = Number(process.argv[2] ?? 0);
    if (lot > 0) await seedLot(db, lot);
  } finally {
    await db.close();
  }
}
