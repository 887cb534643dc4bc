import { spawnSync } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Registry } from "prom-client";
import { expect, test, vi } from "vitest";
import { openTargets } from "../../activities/targets.ts";
import { ENTITY_STATES } from "../../contracts/inventory.ts";
import { InventorySettingsPatch } from "../../contracts/inventory-settings.ts";
import type { HoldfastConfig } from "../../contracts/config.ts";
import { readStreams, StreamSettings } from "../../contracts/stream.ts";
import { EVENT_TYPES } from "../../contracts/webhook.ts";
import { INVENTORY_CHECKS } from "../../db/doctor/inventory.ts";
import { inventoryNameChecks } from "../../db/doctor/inventory-names.ts";
import { statesBefore, type EntityAct } from "../../domain/inventory-state.ts";
import { readLine } from "../../domain/inventory-line.ts";
import { registryOf } from "../../domain/inventory-registries.ts";
import { REVIEW_ACTS } from "../../contracts/review.ts";
import { inventoryMetrics } from "../../server/inventory-metrics.ts";
import { block, rows } from "./pages.ts";
import { servedProduct } from "./product.ts";
import { ours, ROOT, shell } from "./shell.ts";

const tools = ["bash", "grep"].filter((tool) => spawnSync("which", [tool]).status !== 0);
const word = (cell: string) => cell.replaceAll("`", "");

test(
  "the walk from a feed to an approved inventory runs as it is written",
  { timeout: 120_000 },
  async ({ skip }) => {
    if (tools.length > 0) skip(`not on this machine: ${tools.join(", ")}`);
    await using product = await servedProduct();

    const ran = await shell(product, block("inventory.md", "sh walk"));

    expect(ran.code, `${ran.out}\n${ran.err}`).toBe(0);
    expect(ran.out).toMatch(/Site AMS created/);
    expect(ran.out).toMatch(/Device sw1 created/);
    const exported = ran.out
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line) as { type: string });
    expect(exported.map(({ type }) => type).toSorted()).toEqual([
      "device",
      "device_role",
      "device_type",
      "manufacturer",
      "site",
    ]);
  },
);

test("the ten lines of the SDK do what they say", { timeout: 120_000 }, async () => {
  await using product = await servedProduct();
  const { ran } = (await asModule(
    `import { connect } from "holdfast";
     const holdfast = connect({ databaseUrl: ${JSON.stringify(product.databaseUrl)} });
     const lines = async () => {
       ${block("inventory.md", "ts sdk")}
       return { states, items };
     };
     export const ran = await lines().finally(() => holdfast.close());`,
  )) as { ran: { states: object; items: { state: string; title: string }[] } };
  expect(ran.states).toEqual({ failed: 1 });
  expect(ran.items).toMatchObject([{ state: "failed", type: "device" }]);
});

test("every line that the page shows is an entity, and none of it is dropped", () => {
  const lines = block("inventory.md", "ndjson lines").trim().split("\n");
  for (const line of lines) {
    expect(readLine(registryOf({}, "network"), line), line).toMatchObject({
      read: "entity",
      entity: { type: "device", warnings: [] },
    });
  }
});

test("the settings of the page can be set", () => {
  const settings = JSON.parse(block("inventory.md", "json settings")) as unknown;
  expect(InventorySettingsPatch.parse(settings)).toMatchObject({ mode: "auto" });
});

/** A block of the page as a file that imports us as we are here. */
async function asModule(text: string): Promise<unknown> {
  const path = join(await ours("holdfast-page-"), "page.ts");
  await writeFile(path, text.replace('"holdfast"', JSON.stringify(join(ROOT, "client/index.ts"))));
  return import(pathToFileURL(path).href);
}

async function configOf(info: string): Promise<HoldfastConfig> {
  const { default: config } = (await asModule(block("inventory.md", info))) as {
    default: HoldfastConfig;
  };
  return config;
}

test("the targets of the page can be opened", async () => {
  vi.stubEnv("NETBOX_SECRET", "secret");
  const targets = openTargets(await configOf("ts targets"));
  expect([...targets.keys()]).toEqual(["netbox", "practice"]);
  await Promise.all([...targets.values()].map((target) => target.close()));
});

test("the streams of the page can be read, with the defaults that it tells", async () => {
  const { inventory } = await configOf("ts streams");
  const streams = readStreams(inventory!.streams, "redis://127.0.0.1");
  expect(streams).toMatchObject([{ tenant: "acme" }, { branch: "lab", url: "redis://127.0.0.1" }]);
  const defaults = StreamSettings.parse({ stream: "s" });
  const told = new Map(
    rows("inventory.md", "setting of a stream").map(([name, value]) => [name, value]),
  );
  for (const [name, value] of Object.entries(defaults)) {
    if (name === "stream" || name === "tenant") continue;
    expect(word(told.get(`\`${name}\``) ?? ""), name).toBe(String(value));
  }
});

test("the events of the page are those there are", () => {
  const told = rows("inventory.md", "event").map(([name]) => word(name!));
  expect(told).toEqual(EVENT_TYPES.filter((type) => type.startsWith("inventory.")));
});

test("the runbook tells of every finding about the inventory, with what can be repaired", () => {
  const checks = [...INVENTORY_CHECKS, ...inventoryNameChecks({})];
  const told = rows("operations.md", "finding").map(([name, , repair]) => [
    word(name!),
    repair !== "-",
  ]);
  expect(Object.fromEntries(told)).toEqual(
    Object.fromEntries(checks.map(({ name, repair }) => [name, repair !== undefined])),
  );
});

test("the runbook tells of every metric of the inventory", async () => {
  const registry = new Registry();
  inventoryMetrics(registry);
  const page = await readFile(join(ROOT, "docs/operations.md"), "utf8");
  const names = (await registry.getMetricsAsJSON()).map(({ name }) => name);
  expect(names).not.toEqual([]);
  expect(names.filter((name) => !page.includes(`\`${name}`))).toEqual([]);
});

test("the registry of the page works", async () => {
  const config = await configOf("ts holdfast.config.ts");
  const registry = registryOf(config, config.inventory!.registry!);
  const truck = { plate: "AB-1", depot: { code: "N" }, driver: { badge: "7" }, labels: { a: "b" } };
  const line = JSON.stringify({ timestamp: "2026-03-01T00:00:00Z", truck });
  expect(readLine(registry, line)).toMatchObject({ read: "entity", entity: { warnings: [] } });
});

test("the states of the page, and of states.md, are those there are, with the numbers of the wire", () => {
  const { unspecified: _, ...states } = ENTITY_STATES;
  for (const page of ["inventory.md", "states.md"]) {
    const told = rows(page, "state").map(([name, number]) => [word(name!), Number(number)]);
    expect(Object.fromEntries(told), page).toEqual(states);
  }
});

test("every decision of the page may be made where the page says", () => {
  const told = rows("inventory.md", "act");
  expect(told.map(([act]) => word(act!)).toSorted()).toEqual(REVIEW_ACTS.toSorted());
  for (const [act, from] of told) {
    expect(from!.split(", "), act).toEqual([...statesBefore(word(act!) as EntityAct)]);
  }
});
