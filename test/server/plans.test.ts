import { expect, test } from "vitest";
import type { Accepted } from "../../contracts/operation.ts";
import type { PlanEntity, PlanView } from "../../contracts/plan.ts";
import type { Decided } from "../../contracts/review.ts";
import { setSettings } from "../../db/inventory-settings.ts";
import { PLANNED, sent, worked } from "../support/planning.ts";
import { problemOf, serving, type Serving } from "./serving.ts";

const owner = (name: string, level: unknown = 1) => sent("owner", { name, level });
const NDJSON = { "content-type": "application/x-ndjson" };
const lines = (...values: unknown[]) => values.map((one) => `${JSON.stringify(one)}\n`).join("");

async function jsonOf<T>(answer: Response, status = 200): Promise<T> {
  expect(answer.status, await answer.clone().text()).toBe(status);
  return (await answer.json()) as T;
}

/** A plan of `json`, planned, and its key for everything. */
async function planned(server: Serving, json: object, key: string): Promise<PlanView> {
  const { id } = await jsonOf<Accepted>(await server.ask("POST", "/v1/plans", { key, json }), 202);
  await worked(server.holdfast.db, id);
  return jsonOf(await server.ask("GET", `/v1/plans/${id}`, { key }));
}

test("a plan goes in as JSON or NDJSON, is read with its changes page by page, approved by its hash, and applied", async () => {
  await using server = await serving({ config: PLANNED });
  const key = await server.key("operator");
  const posted = await server.ask("POST", "/v1/plans", {
    key,
    json: { entities: [owner("o1"), owner("o2"), owner("o3")], expiresInSeconds: 600 },
  });
  const accepted = await jsonOf<Accepted>(posted.clone(), 202);
  expect(posted.headers.get("location")).toBe(`/v1/plans/${accepted.id}`);
  await worked(server.holdfast.db, accepted.id);
  const at = `/v1/plans/${accepted.id}`;
  const view = await jsonOf<PlanView>(await server.ask("GET", at, { key }));
  expect(view).toMatchObject({ counts: { waiting: 3 }, changes: { create: 3 }, mode: "review" });
  const pages: PlanEntity[][] = [];
  for (let next: string | undefined = "0"; next !== undefined;) {
    const page: { items: PlanEntity[]; next?: string } = await jsonOf(
      await server.ask("GET", `${at}/changes?limit=2&after=${next}`, { key }),
    );
    pages.push(page.items);
    next = page.next;
  }
  expect(pages.map((page) => page.map(({ title }) => title))).toEqual([
    ["Owner o1 created", "Owner o2 created"],
    ["Owner o3 created"],
  ]);
  const approved = await server.ask("POST", `${at}/approve`, { key, json: { hash: view.hash } });
  expect(await jsonOf(approved)).toEqual({ decided: 3, refused: [] });
  await worked(server.holdfast.db, accepted.id);
  expect(await jsonOf(await server.ask("GET", at, { key }))).toMatchObject({
    state: "completed",
    applied: { create: 3 },
    decision: { what: "approve", by: "operator" },
  });

  const streamed = await server.ask("POST", "/v1/plans?branch=next&expiresInSeconds=60", {
    key,
    headers: NDJSON,
    body: lines(owner("o1"), owner("o2")),
  });
  const { id, total } = await jsonOf<Accepted>(streamed, 202);
  expect(total).toBe(2);
  const list = await jsonOf<{ items: PlanView[]; next?: string }>(
    await server.ask("GET", "/v1/plans?limit=1", { key }),
  );
  expect(list.items).toMatchObject([{ id, branch: "next", state: "accepted", hash: null }]);
  const older = await server.ask("GET", `/v1/plans?limit=1&after=${list.next}`, { key });
  expect((await jsonOf<{ items: PlanView[] }>(older)).items[0]!.id).toBe(accepted.id);
});

test("an approval of a plan that is another by now is 409 with the new hash, and approves nothing", async () => {
  await using server = await serving({ config: PLANNED });
  const key = await server.key("operator");
  const view = await planned(server, { entities: [owner("o1"), owner("o2")] }, key);
  const at = `/v1/plans/${view.id}`;
  const { items } = await jsonOf<{ items: PlanEntity[] }>(
    await server.ask("GET", `${at}/changes`, { key }),
  );
  const part = { entities: [items[0]!.id, "999999"], reason: "not ours" };
  expect(
    await jsonOf<Decided>(await server.ask("POST", `${at}/reject`, { key, json: part })),
  ).toEqual({
    decided: 1,
    refused: [{ id: "999999", why: `is no entity of plan ${view.id}` }],
  });
  const approve = (hash: string | null | undefined) =>
    server.ask("POST", `${at}/approve`, { key, json: { hash } });
  const problem = await problemOf(await approve(view.hash));
  expect(problem).toMatchObject({ status: 409, code: "plan-changed" });
  const now = problem.details!["hash"] as string;
  expect(now).toMatch(/^[0-9a-f]{64}$/);
  expect((await server.holdfast.plan.get(view.id)).counts).toMatchObject({
    waiting: 1,
    approved: 0,
  });
  expect(await jsonOf(await approve(now))).toMatchObject({ decided: 1 });
  const nothing = await problemOf(await server.ask("POST", `${at}/reject`, { key }));
  expect(nothing).toMatchObject({ status: 409, code: "nothing-to-decide" });
  await worked(server.holdfast.db, view.id);
  const ended = await problemOf(await server.ask("POST", `${at}/reject`, { key }));
  expect(ended).toMatchObject({ status: 409, code: "already-ended" });
});

test("a part of a plan is approved as it was seen, or not at all", async () => {
  await using server = await serving({ config: PLANNED });
  const key = await server.key("operator");
  const { id } = await planned(server, { entities: [owner("o1"), owner("o2")] }, key);
  const { items } = await server.holdfast.plan.changes(id);
  const entities = items.map((one) => one.id);
  const approve = (planHashes?: (string | null)[]) =>
    server.ask("POST", `/v1/plans/${id}/approve`, { key, json: { entities, planHashes } });
  expect((await problemOf(await approve())).issues).toMatchObject([{ path: "planHashes" }]);
  expect(await jsonOf<Decided>(await approve([items[0]!.planHash, "0".repeat(64)]))).toEqual({
    decided: 1,
    refused: [{ id: entities[1], why: "its plan is another now: look again" }],
  });
});

test("what is not planned yet cannot be decided about as a whole", async () => {
  await using server = await serving({ config: PLANNED });
  const key = await server.key("operator");
  const { id } = await jsonOf<Accepted>(
    await server.ask("POST", "/v1/plans", { key, json: { entities: [owner("o1")] } }),
    202,
  );
  const json = { hash: "0".repeat(64) };
  const early = await problemOf(await server.ask("POST", `/v1/plans/${id}/approve`, { key, json }));
  expect(early).toMatchObject({ status: 409, code: "still-planning" });
});

test("the idempotency key answers the same plan with 200, and other content with 409", async () => {
  await using server = await serving({ config: PLANNED });
  const key = await server.key("service");
  const headers = { "Idempotency-Key": "ticket 7" };
  const post = (...entities: object[]) =>
    server.ask("POST", "/v1/plans", { key, headers, json: { entities } });
  const first = await jsonOf<Accepted>(await post(owner("o1")), 202);
  expect(await jsonOf(await post(owner("o1")))).toMatchObject({ id: first.id, existing: true });
  expect((await problemOf(await post(owner("o2")))).code).toBe("key-reused");
});

test("integers beyond 2^53 go in and come out of a plan as they were sent", async () => {
  await using server = await serving({ config: PLANNED });
  const key = await server.key("operator");
  const body =
    '{"entities":[{"object_type":"owner","entity":{"name":"o1","level":9007199254740993}}]}';
  const headers = { "content-type": "application/json" };
  const { id } = await jsonOf<Accepted>(
    await server.ask("POST", "/v1/plans", { key, headers, body }),
    202,
  );
  await worked(server.holdfast.db, id);
  const changes = await server.ask("GET", `/v1/plans/${id}/changes`, { key });
  expect(await changes.text()).toContain('"level":9007199254740993');
});

test("what is wrong with a plan is one problem that names the field, and nothing is taken", async () => {
  await using server = await serving({ config: PLANNED });
  const key = await server.key("operator");
  const cases: [number, string, object, string?][] = [
    [400, "entities", {}],
    [400, "entities", { entities: [] }],
    [400, "unknown field nonsense", { entities: [owner("o1")], nonsense: 1 }],
    [400, "mode", { entities: [owner("o1")], mode: "now" }],
    [400, "expiresInSeconds", { entities: [owner("o1")], expiresInSeconds: 0 }],
    [400, "tenant", { entities: [owner("o1")], tenant: "no good" }],
    [400, "entities[1]", { entities: [owner("o1"), sent("nonsense", {})] }],
    [400, "level", { entities: [owner("o1", "high")] }],
    [400, "a JSON body carries this itself", { entities: [owner("o1")] }, "?branch=x"],
  ];
  for (const [status, says, json, query = ""] of cases) {
    const problem = await problemOf(await server.ask("POST", `/v1/plans${query}`, { key, json }));
    expect(problem, says).toMatchObject({ status });
    expect(problem.detail).toContain(says);
  }
  const line = await server.ask("POST", "/v1/plans", {
    key,
    headers: NDJSON,
    body: `${lines(owner("o1"))}garbage\n`,
  });
  expect((await problemOf(line)).detail).toContain("line 2");
  const media = await server.ask("POST", "/v1/plans", {
    key,
    headers: { "content-type": "text/csv" },
    body: "a",
  });
  expect(media.status).toBe(415);
  const { rows } = await server.holdfast.db.query("select from holdfast.operations");
  expect(rows).toEqual([]);

  const { id } = await planned(server, { entities: [owner("o1")] }, key);
  for (const json of [
    { hash: "nonsense" },
    { entities: [] },
    { entities: ["x"] },
    {},
    { entities: ["1"] },
    { entities: ["1"], planHashes: [] },
    { planHashes: ["0".repeat(64)] },
    { entities: ["1"], hash: "0".repeat(64) },
    { nonsense: 1 },
  ]) {
    const problem = await problemOf(
      await server.ask("POST", `/v1/plans/${id}/approve`, { key, json }),
    );
    expect(problem, JSON.stringify(json)).toMatchObject({ status: 400 });
  }
  for (const path of [`/v1/plans/${id}/changes?limit=0`, "/v1/plans/nonsense"]) {
    expect((await problemOf(await server.ask("GET", path, { key }))).status).toBe(400);
  }
});

test("a plan for a tenant whose target is outside is refused, and says where to go", async () => {
  const targets = { netbox: { url: "http://127.0.0.1:9" } };
  const config = { ...PLANNED, inventory: { ...PLANNED.inventory, targets } };
  await using server = await serving({ config });
  const { db } = server.holdfast;
  await db.transaction((tx) => setSettings(tx, config, "acme", { target: "netbox" }, "test"));
  const key = await server.key("operator");
  const json = { tenant: "acme", branch: "main", entities: [owner("o1")] };
  const problem = await problemOf(await server.ask("POST", "/v1/plans", { key, json }));
  expect(problem).toMatchObject({ status: 409, code: "target-outside" });
  expect(problem.detail).toMatch(/tenant acme is netbox.*ingest the entities into the inbox/);
  expect((await db.query("select from holdfast.operations")).rows).toEqual([]);
});

test("roles and tenants are asked for everything", async () => {
  await using server = await serving({ config: PLANNED });
  const [viewer, service, operator] = await Promise.all(
    (["viewer", "service", "operator"] as const).map((role) => server.key(role)),
  );
  const theirs = await server.key("operator", ["b"]);
  const json = { tenant: "a", entities: [owner("o1")] };
  const post = (key?: string) => server.ask("POST", "/v1/plans", { key, json });
  expect((await post()).status).toBe(401);
  expect((await post(viewer)).status).toBe(403);
  expect((await post(theirs)).status).toBe(404);
  const { id } = await jsonOf<Accepted>(await post(service), 202);
  await worked(server.holdfast.db, id);
  for (const at of [`/v1/plans/${id}`, `/v1/plans/${id}/changes`]) {
    expect((await server.ask("GET", at)).status).toBe(401);
    expect((await server.ask("GET", at, { key: theirs })).status).toBe(404);
    expect((await server.ask("GET", at, { key: viewer! })).status).toBe(200);
  }
  for (const act of ["approve", "reject"]) {
    const at = `/v1/plans/${id}/${act}`;
    expect((await server.ask("POST", at, { key: service! })).status).toBe(403);
    const json = { hash: "0".repeat(64) };
    expect((await server.ask("POST", at, { key: theirs, json })).status).toBe(404);
  }
  const seen = await jsonOf<{ items: unknown[] }>(
    await server.ask("GET", "/v1/plans", { key: theirs }),
  );
  expect(seen.items).toEqual([]);
  expect((await server.holdfast.plan.get(id)).counts).toMatchObject({ waiting: 1 });
  const { hash } = await server.holdfast.plan.get(id);
  const asSeen = { key: operator!, json: { hash } };
  expect((await server.ask("POST", `/v1/plans/${id}/approve`, asSeen)).status).toBe(200);
  const other = await server.holdfast.retain.submit({ bank: "b", items: [{ content: "x" }] });
  expect((await server.ask("GET", `/v1/plans/${other.id}`, { key: viewer! })).status).toBe(404);
});
