import { expect, test } from "vitest";
import { seedInventory } from "../../dev/seed-inventory.ts";
import { serving } from "./serving.ts";

async function filled() {
  const server = await serving();
  return Object.assign(server, { seeded: await seedInventory(server.holdfast.db) });
}

test("the inventory is read by HTTP: types, objects, one by its identity, history, references, export", async () => {
  await using server = await filled();
  const key = await server.key("viewer");
  const get = async (path: string) => {
    const answer = await server.ask("GET", `/v1/inventory${path}`, { key });
    expect([path, answer.status]).toEqual([path, 200]);
    return answer;
  };
  const types = (await (await get("/types")).json()) as {
    items: { type: string; objects: number }[];
  };
  expect(types.items).toContainEqual({ type: "device", label: "Device", objects: 12, more: false });
  const identity = encodeURIComponent('{"name":"sw1.ams1","site":{"name":"ams1"}}');
  const one = (await (await get(`/objects?type=device&identity=${identity}`)).json()) as {
    items: { id: string; title: string }[];
  };
  expect(one.items).toMatchObject([{ id: server.seeded.object, title: "Device sw1.ams1" }]);
  const first = (await (await get("/objects?type=interface&limit=7")).json()) as {
    items: unknown[];
    next: string;
  };
  expect(first.items).toHaveLength(7);
  await get(`/objects?type=interface&after=${first.next}`);
  expect(await (await get(`/objects/${server.seeded.object}/history`)).json()).toMatchObject({
    items: [{ kind: "create", rule: "everything by itself" }],
  });
  expect(
    await (await get(`/objects/${server.seeded.object}/references?limit=1`)).json(),
  ).toMatchObject({
    in: { items: [{ type: "interface", fields: ["device"] }], next: expect.any(String) as string },
  });
  const lines = (await (await get("/export?type=device&type=site")).text()).trim().split("\n");
  expect(lines).toHaveLength(15);
  expect(JSON.parse(lines[0]!)).toMatchObject({
    type: "device",
    identity: { name: "sw1.ams1", site: { name: "ams1" } },
    attributes: { site: { name: "ams1" }, tags: [{ name: "core" }] },
  });
});

test("settings are read by whoever may read, and set by an admin alone; a hold is lifted once", async () => {
  await using server = await filled();
  const [operator, admin] = [await server.key("operator"), await server.key("admin")];
  const set = (key: string, json: unknown) =>
    server.ask("PUT", "/v1/inventory/settings?tenant=acme", { key, json });
  expect((await set(operator, { mode: "plan-only" })).status).toBe(403);
  expect(await (await set(admin, { mode: "plan-only" })).json()).toMatchObject({
    mode: "plan-only",
  });
  const wrong = await set(admin, { mode: "sometimes" });
  expect([wrong.status, await wrong.text()]).toEqual([400, expect.stringContaining("mode")]);

  const holds = await server.ask("GET", "/v1/inventory/holds", { key: operator });
  expect(await holds.json()).toMatchObject({
    items: [{ tenant: "acme", branch: "main", objects: 40 }],
  });
  const lift = () =>
    server.ask("POST", "/v1/inventory/holds/lift", {
      key: operator,
      json: { tenant: "acme", branch: "main" },
    });
  expect([(await lift()).status, (await lift()).status]).toEqual([200, 404]);
});

test("what is asked wrongly is named, and what is another tenant's is not there", async () => {
  await using server = await filled();
  const key = await server.key("admin", ["acme"]);
  for (const [path, status, text] of [
    ["/objects?type=devise", 400, "devise is no type"],
    ["/objects?type=device&identity=sw1", 400, "cannot be read as JSON"],
    ["/objects?type=device&identity=%7B%22nam%22:%22x%22%7D", 400, "nam is no field of device"],
    ["/objects/abc", 400, "must be an object id"],
    [`/objects/${server.seeded.object}`, 404, "no object"],
    ["/export?tenant=default", 404, "no tenant default"],
    ["/objects?type=device&tenant=default", 404, "no tenant default"],
  ] as const) {
    const answer = await server.ask("GET", `/v1/inventory${path}`, { key });
    expect([path, answer.status]).toEqual([path, status]);
    expect(await answer.text(), path).toContain(text);
  }
});
