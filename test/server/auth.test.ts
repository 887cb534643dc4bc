import { expect, test } from "vitest";
import type { Claim } from "../../client/index.ts";
import { ACTIONS, ROLES, type Action } from "../../contracts/roles.ts";
import { aJob } from "../support/jobs.ts";
import { problemOf, serving, type Serving } from "./serving.ts";

interface Declared {
  method: string;
  path: string;
  action: Action | "open";
}

/** Every route the document tells of. */
async function declaredRoutes({ ask }: Serving): Promise<Declared[]> {
  const { paths } = (await (await ask("GET", "/openapi.json")).json()) as {
    paths: Record<string, Record<string, { "x-action": Action | "open" }>>;
  };
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, route]) => ({
      method: method.toUpperCase(),
      path,
      action: route["x-action"],
    })),
  );
}

const guarded = (routes: Declared[]) =>
  routes.filter((route): route is Declared & { action: Action } => route.action !== "open");

const NOBODY = "00000000-0000-7000-8000-000000000000";
const filled = (path: string) =>
  path.replace(/\{(id|webhookId|eventId)\}/g, NOBODY).replace(/\{\w+\}/g, "nothing");

test("every route under /v1 is declared with who may use it", async () => {
  await using server = await serving();
  const declared = await declaredRoutes(server);
  const served = server.app.routes
    .filter(({ method, path }) => method !== "ALL" && path.startsWith("/v1/"))
    .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, "{$1}")}`);
  expect(
    guarded(declared)
      .map(({ method, path }) => `${method} ${path}`)
      .toSorted(),
  ).toEqual(served.toSorted());
  expect(served.length).toBeGreaterThan(15);
});

test("without a key, or with one nobody gave out, every route answers 401", async () => {
  await using server = await serving();
  for (const { method, path } of guarded(await declaredRoutes(server))) {
    for (const authorization of [undefined, `Bearer hf_${"x".repeat(43)}`, "Basic aGk6aG8="]) {
      const headers: Record<string, string> = authorization ? { authorization } : {};
      const answer = await server.ask(method, filled(path), { headers });
      expect(answer.status, `${method} ${path}`).toBe(401);
      expect(answer.headers.get("www-authenticate")).toBe("Bearer");
      expect((await problemOf(answer)).code).toBe("unauthorized");
    }
  }
});

test("every route refuses the roles below the one it needs, and lets that one in", async () => {
  await using server = await serving();
  const keys = Object.fromEntries(
    await Promise.all(ROLES.map(async (role) => [role, await server.key(role)] as const)),
  );
  for (const { method, path, action } of guarded(await declaredRoutes(server))) {
    const needed = ROLES.indexOf(ACTIONS[action]);
    for (const [rank, role] of ROLES.entries()) {
      const answer = await server.ask(method, filled(path), { key: keys[role] });
      const where = `${method} ${path} as ${role}`;
      if (rank < needed) {
        expect(answer.status, where).toBe(403);
        expect((await problemOf(answer)).detail).toContain(ACTIONS[action]);
      } else {
        expect([401, 403], where).not.toContain(answer.status);
        await answer.body?.cancel();
      }
    }
  }
});

test("a key of another tenant finds nothing, changes nothing and sees nothing, on every route", async () => {
  await using server = await serving();
  const { id } = await server.holdfast.retain.submit({
    tenant: "a",
    bank: "planted-bank",
    items: [{ content: "planted", documentId: "planted-document" }],
  });
  await server.holdfast.brake.set("scope", "a/planted-bank", "planted");
  const job = await aJob(server.holdfast.db, {
    items: 3,
    tenant: "a",
    pipeline: "planted-pipeline",
  });
  const other = await server.key("admin", ["b"]);
  const before = await server.holdfast.operation.get(id);
  const jobBefore = await server.holdfast.job.get(job);
  for (const { method, path } of guarded(await declaredRoutes(server))) {
    const at = path
      .replace("{id}", path.startsWith("/v1/jobs/") ? job : id)
      .replace("{pipeline}", "planted-pipeline")
      .replace("{bank}", "planted-bank")
      .replace("{documentId}", "planted-document")
      .replaceAll(/\{\w+\}/g, NOBODY);
    for (const query of ["", "?tenant=a", "?tenant=a&confirm=planted-bank"]) {
      const answer = await server.ask(method, at + query, { key: other });
      const where = `${method} ${at}${query}`;
      if (path.endsWith("/depth") && query === "") {
        // Nothing waits there, for all that this key may see.
        const nothing = { ready: 0, jobs: 0, oldestSeconds: 0, workersOnline: 0 };
        expect(await answer.json(), where).toEqual(nothing);
      } else if (path.includes("{") || method !== "GET") {
        expect([400, 403, 404, 415], where).toContain(answer.status);
        await problemOf(answer);
      } else {
        expect(await answer.text(), where).not.toMatch(new RegExp(`planted|${id}|${job}`));
      }
    }
  }
  expect(await server.holdfast.operation.get(id)).toEqual(before);
  const batch = { bank: "planted-bank", tenant: "a", items: [{ content: "more" }] };
  expect((await server.ask("POST", "/v1/retain", { key: other, json: batch })).status).toBe(404);
  expect((await server.holdfast.operation.list()).items).toHaveLength(2);
  expect(await server.holdfast.job.get(job)).toEqual(jobBefore);
});

test("who looks on hands nothing in, and who works does not steer", async () => {
  await using server = await serving();
  const keys = { viewer: await server.key("viewer"), service: await server.key("service") };
  const at = `/v1/jobs/${NOBODY}`;
  for (const [role, path] of [
    ...["/v1/jobs", "/v1/jobs/claim", "/v1/jobs/extend", "/v1/jobs/release"].map(
      (path) => ["viewer", path] as const,
    ),
    ["viewer", `${at}/results`],
    ["service", `${at}/cancel`],
    ["service", `${at}/retry`],
  ] as const) {
    const answer = await server.ask("POST", path, { key: keys[role], json: {} });
    expect(answer.status, `${path} as ${role}`).toBe(403);
  }
});

test("a key of another tenant is handed nothing, and a lease it lost the tenant of is over for it", async () => {
  await using server = await serving();
  const { db } = server.holdfast;
  const id = await aJob(db, { items: 3, tenant: "a" });
  const both = await server.key("service", ["a", "b"]);
  const other = await server.key("service", ["b"]);
  const ask = async (key: string, path: string, json: object) =>
    server.ask("POST", `/v1/jobs/${path}`, { key, json });
  const claiming = { pipelines: ["p"], worker: "w" };
  expect(await (await ask(other, "claim", claiming)).json()).toEqual({ waiting: 0, batches: [] });
  const claimed = (await (await ask(both, "claim", claiming)).json()) as Claim;
  const handles = [claimed.batches[0]!.handle];
  const results = [{ handle: handles[0]!, item: 1, result: 1 }];

  // The key stays what it is, and may now be used in one tenant fewer.
  await db.query("update holdfast.api_keys set tenants = '{b}' where tenants = '{a,b}'");
  await using replica = await serving({ database: server.databaseUrl });
  const askAgain = (path: string, json: object) =>
    replica.ask("POST", `/v1/jobs/${path}`, { key: both, json });
  for (const path of ["extend", "release"]) {
    expect(await (await askAgain(path, { handles })).json(), path).toMatchObject({
      leases: [{ status: "ended" }],
    });
  }
  expect((await askAgain(`${id}/results`, { results })).status).toBe(404);
  expect((await ask(other, `${id}/results`, { results })).status).toBe(404);
  const submit = { tenant: "a", pipeline: "p", items: [{}] };
  const submitted = await server.ask("POST", "/v1/jobs", { key: other, json: submit });
  expect(submitted.status).toBe(404);
  expect((await server.holdfast.job.get(id)).batches).toEqual({ ready: 0, leased: 1, done: 0 });
  expect((await server.holdfast.job.list()).items).toHaveLength(1);
});

test("a key of some tenants cannot make itself a greater one, nor hold back other tenants", async () => {
  await using server = await serving();
  const key = await server.key("admin", ["b"]);
  const made = await server.ask("POST", "/v1/keys", { key, json: { name: "all", role: "admin" } });
  expect(made.status).toBe(403);
  const brake = (appliesTo: string, name: string) =>
    server.ask("POST", "/v1/brakes", { key, json: { appliesTo, name, reason: "because" } });
  expect((await brake("all", "")).status).toBe(403);
  expect((await brake("kind", "retain")).status).toBe(403);
  expect((await brake("tenant", "a")).status).toBe(404);
  expect((await brake("scope", "a/bank")).status).toBe(404);
  expect((await brake("scope", "b/bank")).status).toBe(200);
  expect(await server.holdfast.brake.list()).toHaveLength(1);
});

test("a revoked key is refused with the next request of the server that revoked it", async () => {
  await using server = await serving();
  const admin = await server.key("admin");
  const viewer = await server.key("viewer");
  expect((await server.ask("GET", "/v1/operations", { key: viewer })).status).toBe(200);
  const { items } = (await (await server.ask("GET", "/v1/keys", { key: admin })).json()) as {
    items: { id: string; name: string }[];
  };
  const { id } = items.find(({ name }) => name === "viewer")!;
  expect(JSON.stringify(items)).not.toContain("hf_");
  expect((await server.ask("DELETE", `/v1/keys/${id}`, { key: admin })).status).toBe(200);
  expect((await server.ask("GET", "/v1/operations", { key: viewer })).status).toBe(401);
});

test("a known key costs no statement with every request", async () => {
  await using server = await serving();
  const key = await server.key("viewer");
  let verified = 0;
  const verify = server.holdfast.key.verify;
  server.holdfast.key.verify = (secret) => {
    verified++;
    return verify(secret);
  };
  await Promise.all(Array.from({ length: 5 }, () => server.ask("GET", "/v1/operations", { key })));
  await server.ask("GET", "/v1/operations", { key });
  expect(verified).toBe(1);
});

test("with keys switched off, everybody here is admin, and pages of other sites get nothing", async () => {
  await using server = await serving({ auth: "off" });
  expect((await server.ask("GET", "/v1/keys")).status).toBe(200);
  const { id } = await server.holdfast.retain.submit({ bank: "b", items: [{ content: "text" }] });
  const path = `/v1/operations/${id}/cancel`;
  for (const [name, value] of [
    ["origin", "https://elsewhere.example"],
    ["origin", "null"],
    ["sec-fetch-site", "cross-site"],
  ] as const) {
    expect((await server.ask("POST", path, { headers: { [name]: value } })).status).toBe(421);
  }
  const rebound = await server.app.request("http://rebound.example/v1/keys");
  expect((await problemOf(rebound)).code).toBe("keys-are-off");
  const own = await server.ask("POST", path, { headers: { origin: "http://localhost" } });
  expect(own.status).toBe(200);
});
