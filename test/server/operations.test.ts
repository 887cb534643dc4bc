import { expect, test } from "vitest";
import { OperationView, type Page } from "../../contracts/operation.ts";
import { appendLogs } from "../../db/logs.ts";
import { problemOf, serving } from "./serving.ts";

async function setup() {
  const server = await serving();
  const key = await server.key("operator");
  const read = async <T = Record<string, unknown>>(path: string): Promise<T> =>
    (await (await server.ask("GET", path, { key })).json()) as T;
  const submit = async (bank = "b") =>
    (await server.holdfast.retain.submit({ bank, items: [{ content: "x" }] })).id;
  return { server, key, read, submit };
}

test("operations are listed newest first, page after page, filtered", async () => {
  const { server, key, read, submit } = await setup();
  await using _ = server;
  const ids = [];
  for (let i = 0; i < 5; i++) ids.push(await submit(i % 2 ? "odd" : "even"));
  const newest = ids.toReversed();
  const first = await read<Page<OperationView>>("/v1/operations?limit=2");
  expect(first.items.map(({ id }) => id)).toEqual(newest.slice(0, 2));
  OperationView.parse(first.items[0]);
  const second = await read<Page<OperationView>>(`/v1/operations?limit=3&after=${first.next}`);
  expect(second.items.map(({ id }) => id)).toEqual(newest.slice(2));
  expect(second).not.toHaveProperty("next");
  const odd = await read<Page<OperationView>>("/v1/operations?scope=odd&state=open&kind=retain");
  expect(odd.items.map(({ id }) => id)).toEqual([newest[1], newest[3]]);
  expect((await read<Page<OperationView>>("/v1/operations?state=failed")).items).toEqual([]);

  const wrong = await problemOf(
    await server.ask("GET", "/v1/operations?state=odd&limit=0", { key }),
  );
  expect(wrong.issues?.map(({ path }) => path)).toEqual(["query: state", "query: limit"]);
});

test("an operation is paused, resumed, cancelled and run again, and the audit says by whom", async () => {
  const { server, key, read, submit } = await setup();
  await using _ = server;
  const id = await submit();
  const does = async (verb: string, json?: unknown) => {
    const answer = await server.ask("POST", `/v1/operations/${id}/${verb}`, {
      key,
      ...(json === undefined ? {} : { json }),
    });
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  };
  expect((await does("pause", { reason: "an incident" })).body).toMatchObject({
    shown: "paused",
    pausedBy: "operator",
    pauseReason: "an incident",
  });
  expect((await does("resume")).body).toMatchObject({ pausedAt: null });
  expect((await does("retry")).body).toMatchObject({ status: 409, code: "still-open" });
  expect((await does("cancel")).body).toMatchObject({ state: "cancelled" });
  expect((await does("cancel")).status).toBe(200);
  expect((await does("pause")).body).toMatchObject({ status: 409, code: "already-ended" });
  expect((await does("retry")).body).toMatchObject({ state: "accepted", generation: 2 });

  const { items } = await read<{ items: { action: string; actor: string }[] }>(
    `/v1/operations/${id}/audit`,
  );
  expect(items.map(({ action, actor }) => `${action} ${actor}`)).toEqual([
    "operation.retry operator",
    "operation.cancel operator",
    "operation.resume operator",
    "operation.pause operator",
  ]);
  expect(await read(`/v1/audit?subject=${id}&limit=1`)).toMatchObject({
    items: [{ action: "operation.retry" }],
    next: expect.any(String),
  });
});

test("items, batches, logs and events are read page by page, and whole as NDJSON", async () => {
  const { server, key, read } = await setup();
  await using _ = server;
  const { id } = await server.holdfast.retain.submit({
    bank: "b",
    options: { batchItems: 2 },
    items: ["a", "b", "c"].map((content) => ({ content, documentId: content })),
  });
  await appendLogs(
    server.holdfast.db,
    Array.from({ length: 2_500 }, (_, no) => ({
      operationId: id,
      level: no % 10 ? "debug" : "warn",
      message: `line ${no}`,
    })),
  );
  expect(await read(`/v1/operations/${id}/items?outcome=open&batch=2`)).toMatchObject({
    items: [{ no: 3, key: "c", batch: 2, outcome: null }],
  });
  expect(await read(`/v1/operations/${id}/batches?limit=1`)).toMatchObject({
    items: [{ no: 1, of: 2, items: 2, settled: 0 }],
    next: "1",
  });
  expect(await read(`/v1/operations/${id}/logs?newest=true&limit=1`)).toMatchObject({
    items: [{ message: "line 2499" }],
  });
  const lines = async (query: string) => {
    const answer = await server.ask("GET", `/v1/operations/${id}/logs${query}`, {
      key,
      headers: { accept: "application/x-ndjson" },
    });
    return (await answer.text())
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { message: string });
  };
  expect((await lines("")).map(({ message }) => message)).toEqual(
    Array.from({ length: 2_500 }, (_, no) => `line ${no}`),
  );
  expect(await lines("?level=warn")).toHaveLength(250);
  await server.holdfast.operation.cancel(id);
  expect(await read(`/v1/operations/${id}/events`)).toMatchObject({
    items: [{ type: "operation.finished", operationId: id, tenant: "default" }],
  });
});

test.for([
  ["GET", ""],
  ["GET", "/items"],
  ["GET", "/logs"],
  ["POST", "/cancel"],
  ["POST", "/retry"],
] as const)("%s of an operation that is not there says so (%s)", async ([method, part]) => {
  const { server, key } = await setup();
  await using _ = server;
  const id = "00000000-0000-7000-8000-000000000000";
  const lines = { accept: "application/x-ndjson" };
  for (const headers of [{}, lines] as Record<string, string>[]) {
    const answer = await server.ask(method, `/v1/operations/${id}${part}`, { key, headers });
    expect(answer.status).toBe(404);
    expect((await problemOf(answer)).detail).toContain(`no operation ${id}`);
  }
  const wrong = await problemOf(await server.ask(method, `/v1/operations/1${part}`, { key }));
  expect(wrong.detail).toBe("path: id: must be an operation id (a uuid)");
});

test("brakes are set with a reason, listed with who set them, and lifted", async () => {
  const { server, key } = await setup();
  await using _ = server;
  const json = { appliesTo: "kind", name: "retain", reason: "the target is down" };
  expect(await (await server.ask("POST", "/v1/brakes", { key, json })).json()).toMatchObject({
    items: [{ ...json, setBy: "operator" }],
  });
  const bare = await server.ask("POST", "/v1/brakes", { key, json: { ...json, reason: " " } });
  expect((await problemOf(bare)).detail).toBe("reason: must say why, others will read it");
  const lift = () => server.ask("DELETE", "/v1/brakes?appliesTo=kind&name=retain", { key });
  expect(await (await lift()).json()).toEqual({ items: [] });
  expect((await lift()).status).toBe(404);
});
