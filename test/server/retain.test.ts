import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { RETAIN_LIMITS } from "../../contracts/retain.ts";
import { ITEMS_JSON_BYTES } from "../../server/body.ts";
import { problemOf, serving, type Asked, type Serving } from "./serving.ts";

const NDJSON = { "content-type": "application/x-ndjson" };

interface Answered {
  id: string;
  total: number;
  batches: number;
  existing: boolean;
  state: string;
}

async function setup(config?: Parameters<typeof serving>[0]) {
  const server = await serving(config);
  const key = await server.key("service");
  return {
    server,
    submit: (asked: Asked, query = "") =>
      server.ask("POST", `/v1/retain${query}`, { key, ...asked }),
  };
}

/** Rows of every table that accepting writes to. */
async function rowsLeft({ holdfast }: Serving): Promise<number> {
  const { rows } = await holdfast.db.query<{ n: number }>(
    `select ((select count(*) from holdfast.operations) + (select count(*) from holdfast.items)
           + (select count(*) from holdfast.payloads) + (select count(*) from holdfast.sub_batches)
           + (select count(*) from holdfast.banks))::int as n`,
  );
  return rows[0]!.n;
}

test("a batch is accepted with 202 and a Location that tells of it", async () => {
  const { server, submit } = await setup();
  await using _ = server;
  const answer = await submit({
    json: { bank: "notes", items: [{ content: "one" }, { content: "two" }] },
  });
  expect(answer.status).toBe(202);
  const accepted = (await answer.json()) as Answered;
  expect(accepted).toMatchObject({ state: "accepted", total: 2, batches: 1, existing: false });
  const location = answer.headers.get("location")!;
  expect(location).toBe(`/v1/operations/${accepted.id}`);
  const key = await server.key("viewer");
  const view = (await (await server.ask("GET", location, { key })).json()) as object;
  expect(view).toMatchObject({ id: accepted.id, scope: "notes", submittedBy: "service", total: 2 });
});

test("the same key and content answer the same operation with 200, other content 409", async () => {
  const { server, submit } = await setup();
  await using _ = server;
  const json = { bank: "notes", items: [{ content: "one" }] };
  const headers = { "idempotency-key": "monday" };
  const first = (await (await submit({ json, headers })).json()) as Answered;
  const again = await submit({ json, headers });
  expect(again.status).toBe(200);
  expect(again.headers.get("location")).toBe(`/v1/operations/${first.id}`);
  expect(await again.json()).toMatchObject({ id: first.id, existing: true });
  expect((await submit({ json: { ...json, key: "monday" } })).status).toBe(200);

  const other = await problemOf(
    await submit({ json: { ...json, items: [{ content: "2" }] }, headers }),
  );
  expect(other).toMatchObject({
    status: 409,
    code: "key-reused",
    details: { operationId: first.id },
  });
  const two = await problemOf(await submit({ json: { ...json, key: "tuesday" }, headers }));
  expect(two.detail).toBe('Idempotency-Key: says "monday", the request itself "tuesday"');
});

test("the same batch as JSON and as NDJSON is one batch under one key", async () => {
  const { server, submit } = await setup();
  await using _ = server;
  const items = [
    { content: "one", tags: ["a"] },
    { content: "two", documentId: "d/2" },
  ];
  const json = {
    bank: "Notizen & mehr",
    key: "k",
    documentTags: ["x", "y"],
    options: { priority: 1, budget: 5_000 },
    items,
  };
  const first = (await (await submit({ json })).json()) as Answered;
  const lines = await submit(
    { headers: NDJSON, body: items.map((item) => JSON.stringify(item)).join("\r\n") },
    "?bank=Notizen%20%26%20mehr&documentTags=x&documentTags=y&priority=1&budget=5000&key=k",
  );
  expect(lines.status).toBe(200);
  expect(await lines.json()).toMatchObject({ id: first.id, existing: true });
});

test("10,000 items by NDJSON are one operation, and none of them is missing", async () => {
  const { server, submit } = await setup();
  await using _ = server;
  const encoder = new TextEncoder();
  let no = 0;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      const lines = Array.from({ length: 100 }, () =>
        JSON.stringify({ content: `text ${++no} ${"é".repeat(200)}`, documentId: `d${no}` }),
      );
      controller.enqueue(encoder.encode(`${lines.join("\n")}\n`));
      if (no === RETAIN_LIMITS.items) controller.close();
    },
  });
  const answer = await submit({ headers: NDJSON, body }, "?bank=b");
  expect(answer.status).toBe(202);
  const { id, total } = (await answer.json()) as Answered;
  expect(total).toBe(10_000);
  const { rows } = await server.holdfast.db.query(
    `select count(*)::int as items, count(distinct i.xmin::text)::int as transactions,
            (select count(*)::int from holdfast.payloads where operation_id = $1) as payloads,
            (select content from holdfast.payloads where operation_id = $1 and item_no = 9999) like 'text 9999 é%' as right
       from holdfast.items i where operation_id = $1`,
    [id],
  );
  expect(rows[0]).toEqual({ items: 10_000, transactions: 1, payloads: 10_000, right: true });

  const key = await server.key("viewer");
  const streamed = await server.ask("GET", `/v1/operations/${id}/items`, {
    key,
    headers: { accept: "application/x-ndjson" },
  });
  expect(streamed.headers.get("content-type")).toBe("application/x-ndjson");
  const items = (await streamed.text())
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { no: number; key: string });
  expect(items.map((item) => item.no)).toEqual(Array.from({ length: 10_000 }, (_, at) => at + 1));
  expect(items[6_999]!.key).toBe("d7000");
});

describe("bad input", () => {
  // One server for all of them: each has to leave it as empty as it was.
  let shared: ReturnType<typeof setup>;
  beforeAll(async () => void (await (shared = setup())));
  afterAll(async () => (await shared).server[Symbol.asyncDispose]());

  test.for<[string, Asked, string, number, string]>([
    [
      "an empty batch",
      { json: { bank: "b", items: [] } },
      "",
      400,
      "items: must hold at least one item",
    ],
    [
      "no batch at all",
      { json: {} },
      "",
      400,
      "bank: Invalid input: expected string, received undefined",
    ],
    [
      "blank content",
      { json: { bank: "b", items: [{ content: "ok" }, { content: " \u00a0\n" }] } },
      "",
      400,
      "items[1].content: must not be blank",
    ],
    [
      "a wrong type",
      { json: { bank: "b", items: [{ content: 7 }] } },
      "",
      400,
      "items[0].content: Invalid input: expected string, received number",
    ],
    [
      "an over-long id",
      { json: { bank: "b", items: [{ content: "x", documentId: "é".repeat(501) }] } },
      "",
      400,
      "items[0].documentId: must be at most 1000 bytes",
    ],
    [
      "a NUL character",
      { json: { bank: "b", items: [{ content: "a\0b" }] } },
      "",
      400,
      "items[0].content: contains a NUL character (U+0000), which Postgres cannot store",
    ],
    [
      "an unknown option",
      { json: { bank: "b", options: { speed: 9 }, items: [{ content: "x" }] } },
      "",
      400,
      "options: unknown field speed",
    ],
    [
      "an unknown field",
      { json: { bank: "b", itmes: [], items: [{ content: "x" }] } },
      "",
      400,
      "input: unknown field itmes",
    ],
    [
      "too many items",
      { json: { bank: "b", items: Array.from({ length: 10_001 }, () => ({ content: "x" })) } },
      "",
      400,
      "items: must hold at most 10000 items; split the batch",
    ],
    [
      "a body that is no JSON",
      { headers: { "content-type": "application/json" }, body: '{"bank": "b",' },
      "",
      400,
      "body: is not JSON",
    ],
    ["a body that is no object", { json: [1] }, "", 400, "body: must be a JSON object"],
    ["null for a body", { json: null }, "", 400, "body: must be a JSON object"],
    [
      "an empty body",
      { headers: { "content-type": "application/json" }, body: "" },
      "",
      400,
      "body: is empty: send JSON",
    ],
    [
      "a body that is not UTF-8",
      { headers: { "content-type": "application/json" }, body: Uint8Array.of(0x22, 0xff, 0x22) },
      "",
      400,
      "body: is not UTF-8",
    ],
    [
      "another media type",
      { headers: { "content-type": "text/csv" }, body: "a,b" },
      "",
      415,
      "content-type text/csv is not taken: send application/json or application/x-ndjson",
    ],
    [
      "no media type",
      { body: Uint8Array.of(1) },
      "",
      415,
      "there is no content-type: send application/json or application/x-ndjson",
    ],
    [
      "another character set",
      { headers: { "content-type": "application/json; charset=latin1" }, body: "{}" },
      "",
      415,
      "charset=latin1 is not taken: send UTF-8",
    ],
    [
      "a packed body",
      { headers: { "content-type": "application/json", "content-encoding": "gzip" }, body: "{}" },
      "",
      415,
      "content-encoding gzip is not taken",
    ],
    [
      "parameters beside JSON",
      { json: { items: [{ content: "x" }] } },
      "?bank=b",
      400,
      "query: bank: a JSON body carries this itself",
    ],
    [
      "NDJSON that is wrong at a line",
      { headers: NDJSON, body: '{"content":"a"}\n\n{"content":"b"\n' },
      "?bank=b",
      400,
      "line 3: is not JSON",
    ],
    [
      "an NDJSON item that is wrong",
      { headers: NDJSON, body: '{"content":"a"}\n{"content":"b","mode":"add"}' },
      "?bank=b",
      400,
      'line 2: mode: Invalid option: expected one of "replace"|"append"',
    ],
    [
      "NDJSON without a line",
      { headers: NDJSON, body: "\n \n" },
      "?bank=b",
      400,
      "body: must hold at least one line",
    ],
    [
      "NDJSON over 10,000 lines",
      { headers: NDJSON, body: '{"content":"a"}\n'.repeat(10_001) },
      "?bank=b",
      413,
      "line 10001: a batch holds at most 10000 items; split it",
    ],
    [
      "NDJSON for no bank",
      { headers: NDJSON, body: '{"content":"a"}' },
      "",
      400,
      "bank: Invalid input: expected string, received undefined",
    ],
    [
      "a parameter that is not known",
      { headers: NDJSON, body: '{"content":"a"}' },
      "?bnak=b",
      400,
      "query: unknown field bnak",
    ],
    [
      "a parameter that is no number",
      { headers: NDJSON, body: '{"content":"a"}' },
      "?bank=b&priority=high",
      400,
      "query: priority: Invalid input: expected number, received NaN",
    ],
    [
      "an option out of range",
      { headers: NDJSON, body: '{"content":"a"}' },
      "?bank=b&priority=9",
      400,
      "options.priority: Too big: expected number to be <=5",
    ],
    [
      "an idempotency key that is none",
      {
        json: { bank: "b", items: [{ content: "x" }] },
        headers: { "idempotency-key": "k".repeat(256) },
      },
      "",
      400,
      "key: must be 1 to 255 printable ASCII characters",
    ],
    [
      "an offset no clock has",
      {
        json: {
          bank: "b",
          options: { startAfter: "2026-01-01T00:00:00+23:59" },
          items: [{ content: "x" }],
        },
      },
      "",
      400,
      "options.startAfter: ",
    ],
    [
      "a year that never was",
      { json: { bank: "b", items: [{ content: "x", timestamp: "0000-01-01" }] } },
      "",
      400,
      "items[0].timestamp: ",
    ],
  ])(
    "%s is refused with one clear sentence and leaves nothing",
    async ([, asked, query, status, detail]) => {
      const { server, submit } = await shared;
      const answer = await submit(asked, query);
      const problem = await problemOf(answer);
      expect(answer.status).toBe(status);
      expect(problem.detail.startsWith(detail), problem.detail).toBe(true);
      expect(problem).toMatchObject({
        status,
        instance: "/v1/retain",
        type: `urn:holdfast:problem:${problem.code}`,
      });
      expect(await rowsLeft(server)).toBe(0);
      expect(server.errors).toEqual([]);
    },
  );
});

test("a JSON body over the limit is refused before it is read, with the way to send it", async () => {
  const { server, submit } = await setup();
  await using _ = server;
  let pulled = 0;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      pulled++;
      controller.enqueue(new Uint8Array(1024 * 1024).fill(0x20));
    },
  });
  const answer = await submit({ headers: { "content-type": "application/json" }, body });
  expect(answer.status).toBe(413);
  expect((await problemOf(answer)).detail).toContain(
    "send NDJSON (content-type application/x-ndjson)",
  );
  expect(pulled).toBeLessThan(ITEMS_JSON_BYTES / 1024 ** 2 + 5);

  const announced = { "content-type": "application/json", "content-length": "99999999" };
  expect((await submit({ headers: announced, body: "{}" })).status).toBe(413);
  expect(await rowsLeft(server)).toBe(0);
});

test("a tenant with enough open work is told when to come again", async () => {
  const { server, submit } = await setup({ config: { limits: { openOperations: 1 } } });
  await using _ = server;
  const json = { bank: "b", items: [{ content: "x" }] };
  expect((await submit({ json })).status).toBe(202);
  const full = await submit({ json });
  expect(full.status).toBe(429);
  expect(full.headers.get("retry-after")).toBe("10");
  expect((await problemOf(full)).detail).toContain("1 open operations of at most 1");
});

test("what the validator refuses is 422 with its reason", async () => {
  const { server, submit } = await setup({
    config: {
      validator: {
        validate: async (item) =>
          item.content.includes("secret")
            ? { verdict: "refuse", reason: "holds a secret" }
            : { verdict: "accept" },
      },
    },
  });
  await using _ = server;
  const answer = await submit({
    json: { bank: "b", items: [{ content: "fine" }, { content: "secret" }] },
  });
  expect(answer.status).toBe(422);
  expect((await problemOf(answer)).detail).toBe(
    "items[1]: refused by the validator: holds a secret",
  );
  expect(await rowsLeft(server)).toBe(0);
});
