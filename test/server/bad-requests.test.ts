import fc from "fast-check";
import { expect, test } from "vitest";
import { problemOf, serving, type Serving } from "./serving.ts";

interface Declared {
  method: string;
  path: string;
  parameters: string[];
}

/** Every route of the API with its query parameters, but those that stream. */
async function declaredRoutes(server: Serving): Promise<Declared[]> {
  const { paths } = (await (await server.ask("GET", "/openapi.json")).json()) as {
    paths: Record<string, Record<string, { parameters?: { in: string; name: string }[] }>>;
  };
  return Object.entries(paths)
    .filter(([path]) => path.startsWith("/v1/") && !path.endsWith("/watch"))
    .flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, { parameters = [] }]) => ({
        method: method.toUpperCase(),
        path,
        parameters: parameters.filter((each) => each.in === "query").map((each) => each.name),
      })),
    );
}

const AWKWARD = [
  ["", " ", "\0", "a\0b", "..", "%", "é/ü", "𝒳", "x".repeat(3_000)],
  ["-1", "0", "1", "1.5", "1e9", "2147483648", "999999999999999999", "9".repeat(30), "NaN"],
  ["true", "2026-13-01", "2026-01-01", "0000-01-01T00:00:00Z", "2026-01-01T00:00:00+23:59"],
].flat();

/** Fails on a 5xx, and on a refusal that is no problem. */
async function assertSane(server: Serving, answer: Response, where: string): Promise<void> {
  expect(server.errors, where).toEqual([]);
  expect(answer.status, where).toBeLessThan(500);
  if (answer.status >= 400) expect((await problemOf(answer)).detail).not.toBe("");
  else await answer.body?.cancel();
}

test(
  "every parameter of every route takes or refuses the most awkward values",
  { timeout: 120_000 },
  async () => {
    await using server = await serving();
    const key = await server.key("admin");
    const { id } = await server.holdfast.retain.submit({ bank: "b", items: [{ content: "x" }] });
    for (const { method, path, parameters } of await declaredRoutes(server)) {
      const good = path.replace("{id}", id).replace("{bank}", "b").replace("{documentId}", "d");
      for (const value of AWKWARD.map(encodeURIComponent)) {
        const odd = path.replaceAll(/\{\w+\}/g, value || "%20");
        const asked = [odd, ...parameters.map((name) => `${good}?${name}=${value}`)];
        if (parameters[0])
          asked.push(`${good}?${parameters[0]}=${value}&${parameters[0]}=${value}`);
        for (const target of asked) {
          await assertSane(
            server,
            await server.ask(method, target, { key }),
            `${method} ${target}`,
          );
        }
      }
    }
  },
);

test("no request, however odd, is answered with a 5xx", { timeout: 120_000 }, async () => {
  await using server = await serving();
  const key = await server.key("admin");
  const routes = await declaredRoutes(server);
  const text = fc.oneof(
    fc.string({ unit: "binary", maxLength: 40 }),
    fc.constantFrom("b", "default", ...AWKWARD),
  );
  const item = fc.record(
    {
      content: text,
      documentId: text,
      tags: fc.array(text),
      timestamp: text,
      metadata: fc.dictionary(text, text),
      context: text,
    },
    { requiredKeys: ["content"] },
  );
  const handle = fc.oneof(fc.constantFrom("x".repeat(59), "A".repeat(59)), text);
  const object = fc.record(
    {
      bank: fc.oneof(text, fc.anything()),
      tenant: text,
      appliesTo: fc.constantFrom("all", "tenant", "scope", "queue"),
      name: text,
      reason: text,
      role: fc.constantFrom("viewer", "root"),
      url: fc.oneof(fc.webUrl(), text),
      events: fc.array(fc.constantFrom("operation.finished", "nothing")),
      items: fc.array(fc.oneof(item, fc.record({ payload: fc.jsonValue() })), { maxLength: 3 }),
      pipeline: fc.oneof(fc.constant("p"), text),
      pipelines: fc.array(fc.oneof(fc.constant("p"), text), { maxLength: 3 }),
      worker: text,
      limit: fc.oneof(fc.integer(), fc.constant(1)),
      options: fc.record(
        { batchSize: fc.integer({ max: 9 }), startAfter: text },
        { requiredKeys: [] },
      ),
      handles: fc.array(handle, { maxLength: 3 }),
      results: fc.array(
        fc.record(
          { handle, item: fc.integer(), result: fc.jsonValue(), error: text, reference: text },
          { requiredKeys: ["handle"] },
        ),
        { maxLength: 3 },
      ),
    },
    { requiredKeys: [] },
  );
  const body = fc.oneof(
    fc.json().map((json) => ["application/json", json] as const),
    object.map((value) => ["application/json", JSON.stringify(value)] as const),
    text.map((sent) => ["application/json", sent] as const),
    text.map((sent) => ["application/x-ndjson", `{"content":"x"}\n${sent}`] as const),
  );
  const printable = fc.string({ maxLength: 300 }).filter((value) => /^[\x20-\x7e]*$/.test(value));
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...routes.filter(({ method }) => method === "POST")),
      fc.array(text, { minLength: 2, maxLength: 2 }),
      body,
      fc.option(printable),
      async ({ method, path }, values, [type, sent], idempotencyKey) => {
        let at = 0;
        const filled = path.replaceAll(/\{\w+\}/g, () => encodeURIComponent(values[at++ % 2]!));
        const query = path === "/v1/retain" && type.endsWith("ndjson") ? "?bank=b" : "";
        const headers = {
          "content-type": type,
          ...(idempotencyKey ? { "idempotency-key": idempotencyKey } : {}),
        };
        const answer = await server.ask(method, filled + query, { key, headers, body: sent });
        await assertSane(server, answer, `${method} ${filled}`);
      },
    ),
    { numRuns: 700 },
  );
});

test("broken escapes in a path are a name like any other", async () => {
  await using server = await serving();
  const key = await server.key("viewer");
  for (const path of [
    "/v1/operations/%E0%A4%A",
    "/v1/banks/%ff",
    "/v1/banks/%",
    "/v1/banks/b/documents/%c3",
  ]) {
    const answer = await server.ask("GET", path, { key });
    expect([400, 404], path).toContain(answer.status);
    await problemOf(answer);
  }
});

test("what is not served is a problem, and a wrong method says which ones are right", async () => {
  await using server = await serving();
  const nothing = await server.ask("GET", "/v1/operation");
  expect(nothing.status).toBe(404);
  expect((await problemOf(nothing)).detail).toContain("/openapi.json lists every route");
  const wrong = await server.ask("PUT", "/v1/operations");
  expect(wrong.status).toBe(405);
  expect(wrong.headers.get("allow")).toBe("GET, HEAD");
  expect((await problemOf(wrong)).detail).toBe("/v1/operations does not take PUT: use GET or HEAD");
});

test("a fault of ours is a 500 with an id that is in the log, and nothing of its inside", async () => {
  await using server = await serving();
  const key = await server.key("viewer");
  await server.ask("GET", "/v1/operations", { key });
  const as = server.holdfast.as;
  server.holdfast.as = () => {
    throw new Error("the inside");
  };
  const answer = await server.ask("GET", "/v1/operations", { key });
  server.holdfast.as = as;
  const problem = await problemOf(answer);
  expect(answer.status).toBe(500);
  expect(JSON.stringify(problem)).not.toContain("inside");
  const id = answer.headers.get("x-request-id")!;
  expect(problem.detail).toContain(id);
  expect(server.errors).toHaveLength(1);
  expect(server.errors[0]).toMatchObject({ requestId: id, err: { message: "the inside" } });
});

test("without its database the server says so with 503 and when to try again", async () => {
  await using server = await serving();
  const key = await server.key("viewer");
  await server.holdfast.close();
  const answer = await server.ask("GET", "/v1/operations", { key });
  expect(answer.status).toBe(503);
  expect(answer.headers.get("retry-after")).toBe("5");
  expect(await problemOf(answer)).toMatchObject({
    code: "postgres-unavailable",
    detail: "Postgres does not answer: try again in 5 s; the server's log says why",
  });
});

test("on a database of another version the server says what to run", async () => {
  await using server = await serving();
  const key = await server.key("viewer");
  await server.holdfast.db.query("alter schema holdfast rename to elsewhere");
  const problem = await problemOf(await server.ask("GET", "/v1/operations", { key }));
  expect(problem).toMatchObject({ status: 503, code: "schema-mismatch" });
  expect(problem.detail).toContain('run "holdfast migrate"');
});

test("an answer carries what keeps browsers from misusing it", async () => {
  await using server = await serving();
  const { headers } = await server.ask("GET", "/v1/operations", {
    key: await server.key("viewer"),
    headers: { origin: "https://elsewhere.example" },
  });
  expect(headers.get("access-control-allow-origin")).toBeNull();
  expect(headers.get("x-powered-by")).toBeNull();
  expect(headers.get("x-content-type-options")).toBe("nosniff");
  expect(headers.get("content-security-policy")).toContain("default-src 'none'");
  expect(headers.get("cache-control")).toBe("no-store");
  expect(headers.get("x-request-id")).toMatch(/.{8}/);
});
