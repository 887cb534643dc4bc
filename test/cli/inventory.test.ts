import { beforeAll, expect, test } from "vitest";
import { seedInventory, type SeededInventory } from "../../dev/seed-inventory.ts";
import { openDb } from "../../db/pool.ts";
import { setupCli } from "./support.ts";

const cli = setupCli();
let seeded: SeededInventory;

beforeAll(async () => {
  const db = openDb({ url: cli.databaseUrl, size: 2 });
  seeded = await seedInventory(db);
  await db.close();
});

test("an object is shown by its id, by what names it, and by JSON, with its history and who refers to it", async () => {
  for (const which of [
    [seeded.object],
    ["device", "name=sw1.ams1", "site.name=ams1"],
    ["device", '{"name":"sw1.ams1","site":{"name":"ams1"}}'],
  ]) {
    const shown = await cli.runHere(["inventory", "show", ...which]);
    expect([shown.err, shown.code]).toEqual(["", 0]);
    expect(shown.out).toContain("Device sw1.ams1");
    expect(shown.out).toMatch(/serial +JPE20260/);
    expect(shown.out).toMatch(/Interface Ethernet1 +\d+ +device/);
    expect(shown.out).toContain("rule everything by itself");
  }
  const json = await cli.runHere(["inventory", "show", seeded.object, "--json"]);
  expect(json.json()).toMatchObject({
    id: seeded.object,
    history: { items: [{ kind: "create" }] },
  });
});

test("what cannot be found says how such an object is named, and what cannot be read what to write", async () => {
  for (const [args, code, said] of [
    [["device", "name=SW1.AMS1", "site.name=ams1"], 2, "a device is named by"],
    [["devise", "name=sw1"], 2, "devise is no type"],
    [["device"], 2, "give what names the object"],
    [["device", "sw1"], 2, "sw1 is no field=value"],
    [["device", "colour=red"], 2, "colour is no field of device"],
    [["999999"], 2, "no object 999999"],
  ] as const) {
    const ran = await cli.runHere(["inventory", "show", ...args]);
    expect([args, ran.code]).toEqual([args, code]);
    expect(ran.err).toContain(said);
  }
});

test("types are counted, objects listed, and everything exported a line each", async () => {
  const types = await cli.runHere(["inventory", "list"]);
  expect(types.out).toMatch(/^TYPE +OBJECTS +CALLED\n/);
  expect(types.out).toMatch(/interface +6\d +Interface/);
  const some = await cli.runHere(["inventory", "list", "device", "--text", "sw1.", "--limit", "2"]);
  expect(some.out).toMatch(/Device sw1\.ams1/);
  expect(some.err).toContain("--after");
  const exported = await cli.runHere(["inventory", "export", "--ndjson", "--type", "site"]);
  expect(
    exported.out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as unknown),
  ).toMatchObject(["ams1", "fra2", "lon3"].map((name) => ({ type: "site", identity: { name } })));
});

test("settings are shown, set from a file, and what was shown may be set again", async () => {
  const set = await cli.runHere(["inventory", "settings", "set", "-", "--tenant", "t9"], {
    input:
      '{"mode":"auto","rules":[{"name":"sites","when":{"types":["site"]},"decision":"apply"}]}',
  });
  expect([set.code, set.err]).toEqual([0, "settings of t9, version 1"]);
  expect(set.out).toMatch(/sites +apply +\{"types":\["site"\]\}/);
  const shown = await cli.runHere(["inventory", "settings", "show", "--tenant", "t9", "--json"]);
  const again = await cli.runHere(["inventory", "settings", "set", "-", "--tenant", "t9"], {
    input: shown.out,
  });
  expect([again.code, again.err]).toEqual([0, "settings of t9, version 2"]);
  const wrong = await cli.runHere(["inventory", "settings", "set", "-"], { input: "{mode:auto}" });
  expect([wrong.code, wrong.err]).toEqual([2, expect.stringContaining("is no JSON")]);
});

test("a held branch is listed with its reason, and lifted once", async () => {
  const holds = await cli.runHere(["inventory", "holds"]);
  expect(holds.out).toMatch(/acme +main .*more than 20 %/);
  const lift = () => cli.runHere(["inventory", "lift", "main", "--tenant", "acme"]);
  expect((await lift()).err).toBe("acme/main goes on");
  expect((await lift()).err).toContain("it is not held");
});
