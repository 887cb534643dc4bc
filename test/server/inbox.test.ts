import { expect, test } from "vitest";
import { INBOX_LIMITS, type IngestAnswer } from "../../contracts/inbox.ts";
import { problemOf, serving, type Serving } from "./serving.ts";

const AT = "2026-03-01T00:00:00Z";
const site = (name: string) => ({ timestamp: AT, site: { name } });
const NDJSON = { "content-type": "application/x-ndjson" };
const lines = (...values: unknown[]) => values.map((one) => `${JSON.stringify(one)}\n`).join("");

const path = "/v1/inbox/entities";

async function answerOf(answer: Response, status = 202): Promise<IngestAnswer> {
  expect(answer.status, await answer.clone().text()).toBe(status);
  return (await answer.json()) as IngestAnswer;
}

async function got<T = Record<string, unknown>>({ ask }: Serving, key: string, at: string) {
  const answer = await ask("GET", at, { key });
  expect(answer.status, await answer.clone().text()).toBe(200);
  return (await answer.json()) as T;
}

test("entities come as JSON or NDJSON, and what became of each request can be read", async () => {
  await using server = await serving();
  const key = await server.key("service");
  const json = { branch: "next", entities: [site("a"), { timestamp: AT, site: {} }] };
  const posted = await server.ask("POST", path, { key, json });
  const location = posted.headers.get("location")!;
  const first = await answerOf(posted);
  expect(first).toMatchObject({ accepted: 1, rejected: 1 });
  expect(location).toBe(`/v1/inbox/requests/${first.request}`);
  expect(await got(server, key, location)).toMatchObject({
    source: "http",
    by: "service",
    states: { queued: 1 },
    settled: false,
  });
  expect(await got(server, key, `${location}/rejects`)).toMatchObject({
    items: [{ no: 2, code: "fields", raw: JSON.stringify({ timestamp: AT, site: {} }) }],
  });

  const body = lines(site("b"), site("c"), "garbage");
  const query = "?branch=main&snapshot=site%2Fams&graceSeconds=60";
  const streamed = await answerOf(
    await server.ask("POST", `${path}${query}`, { key, headers: NDJSON, body }),
  );
  expect(streamed).toMatchObject({
    accepted: 2,
    rejected: 1,
    snapshot: { scope: "site/ams", members: 2, missing: null, graceSeconds: 60 },
  });
  const listed = await got<{ items: { id: string; branch: string }[] }>(server, key, path);
  expect(listed.items.map(({ branch }) => branch)).toEqual(["main", "main", "next"]);
  const all = await got<{ items: unknown[] }>(server, key, "/v1/inbox/requests?limit=1");
  expect(all.items).toMatchObject([{ request: streamed.request, scope: "site/ams" }]);
  expect(await got(server, key, "/v1/inbox/status")).toMatchObject({
    items: [
      { branch: "main", states: { queued: 2 } },
      { branch: "next", states: { queued: 1 } },
    ],
  });
});

test("integers beyond 2^53 go in and come out as they were sent", async () => {
  await using server = await serving();
  const key = await server.key("service");
  const text = `{"entities":[{"timestamp":"${AT}","site":{"name":"a","custom_fields":{"big":12345678901234567890}}}]}`;
  await answerOf(
    await server.ask("POST", path, {
      key,
      headers: { "content-type": "application/json" },
      body: text,
    }),
  );
  const { items } = await got<{ items: { id: string }[] }>(server, key, path);
  const answer = await server.ask("GET", `${path}/${items[0]!.id}`, { key });
  expect(await answer.text()).toContain('"big":12345678901234567890');
});

test("the idempotency key names the message: its repeat is answered with 200 and changes nothing", async () => {
  await using server = await serving();
  const key = await server.key("service");
  const headers = { "Idempotency-Key": "delivery 7" };
  const post = () => server.ask("POST", path, { key, headers, json: { entities: [site("a")] } });
  const first = await answerOf(await post());
  const again = await answerOf(await post(), 200);
  expect(again).toEqual({ ...first, repeated: true });
  const other = { messageId: "another", entities: [] };
  const both = await server.ask("POST", path, { key, headers, json: other });
  expect((await problemOf(both)).issues![0]!.path).toBe("Idempotency-Key");
  const odd = await server.ask("POST", path, {
    key,
    headers: { "Idempotency-Key": "" },
    json: { entities: [] },
  });
  expect((await problemOf(odd)).status).toBe(400);
});

test("what is wrong with a request is one problem that names the field, and nothing is taken", async () => {
  await using server = await serving({ config: { inventory: { maxQueued: 1 } } });
  const key = await server.key("service");
  const cases: [number, string, Record<string, unknown>, string?][] = [
    [400, "entities", {}],
    [400, "unknown field nonsense", { entities: [], nonsense: 1 }],
    [400, "tenant", { entities: [], tenant: "no good" }],
    [400, "snapshot.graceSeconds", { entities: [], snapshot: { scope: "s", graceSeconds: -1 } }],
    [400, "names nothing", { entities: [], snapshot: { scope: "s" } }],
    [400, "a JSON body carries this itself", { entities: [] }, "?branch=x"],
    [413, "send fewer", { entities: [site("a"), site("b")] }],
    [
      413,
      `at most ${INBOX_LIMITS.entities}`,
      { entities: Array(INBOX_LIMITS.entities + 1).fill(0) },
    ],
  ];
  for (const [status, says, json, query = ""] of cases) {
    const problem = await problemOf(await server.ask("POST", `${path}${query}`, { key, json }));
    expect(problem).toMatchObject({ status });
    expect(problem.detail).toContain(says);
  }
  const noScope = await server.ask("POST", `${path}?graceSeconds=1`, {
    key,
    headers: NDJSON,
    body: "",
  });
  expect((await problemOf(noScope)).detail).toContain("name the scope");
  const media = await server.ask("POST", path, {
    key,
    headers: { "content-type": "text/csv" },
    body: "a",
  });
  expect(media.status).toBe(415);
  const { rows } = await server.holdfast.db.query("select from holdfast.ingest_requests");
  expect(rows).toEqual([]);
});

test("a full tenant is told 429 with when to come back", async () => {
  await using server = await serving({ config: { inventory: { maxQueued: 1 } } });
  const key = await server.key("service");
  await answerOf(await server.ask("POST", path, { key, json: { entities: [site("a")] } }));
  for (const sent of [
    { json: { entities: [site("b")] } },
    { headers: NDJSON, body: lines(site("b")) },
  ]) {
    const full = await server.ask("POST", path, { key, ...sent });
    expect(full.status).toBe(429);
    expect(Number(full.headers.get("retry-after"))).toBeGreaterThan(0);
    expect((await problemOf(full)).code).toBe("limit-exceeded");
  }
});

test("roles and tenants are asked for everything", async () => {
  await using server = await serving();
  const [viewer, service, operator] = await Promise.all(
    (["viewer", "service", "operator"] as const).map((role) => server.key(role)),
  );
  const theirs = await server.key("operator", ["b"]);
  const json = { tenant: "a", entities: [site("a")] };
  expect((await server.ask("POST", path, { json })).status).toBe(401);
  expect((await server.ask("POST", path, { key: viewer!, json })).status).toBe(403);
  expect((await server.ask("POST", path, { key: theirs, json })).status).toBe(404);
  const { request } = await answerOf(await server.ask("POST", path, { key: service!, json }));
  const requeue = { tenant: "a", request };
  const post = (key: string) => server.ask("POST", "/v1/inbox/requeue", { key, json: requeue });
  expect((await post(service!)).status).toBe(403);
  expect((await post(theirs)).status).toBe(404);
  expect(await (await post(operator!)).json()).toEqual({ requeued: 0, passedOver: 0 });
  for (const at of [`/v1/inbox/requests/${request}`, `/v1/inbox/requests/${request}/rejects`]) {
    expect((await server.ask("GET", at, { key: theirs })).status).toBe(404);
    expect((await server.ask("GET", at, { key: viewer! })).status).toBe(200);
  }
  const odd = await server.ask("GET", "/v1/inbox/requests/nonsense", { key: viewer! });
  expect((await problemOf(odd)).status).toBe(400);
});
