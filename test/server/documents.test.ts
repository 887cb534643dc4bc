import { expect, test } from "vitest";
import { problemOf, serving, type Serving } from "./serving.ts";

const STRANGE = [
  "plain",
  "a/b/c",
  "/leading and trailing/",
  "100% sure?#&=+;",
  "%2F already",
  "naïve ☃ 𝒳 中文",
  "tab\tline\nend",
  "https://example.com/a?b=c#d",
];

/** Documents as work would have written them. */
async function write({ holdfast }: Serving, bank: string, ids: readonly string[]): Promise<void> {
  await holdfast.retain.submit({
    bank,
    items: ids.map((documentId) => ({ content: "x", documentId })),
  });
  await holdfast.db.query(
    `with wrote as (
       insert into holdfast.documents (bank_id, document_id, head_seq)
       select b.id, i.key, i.seq from holdfast.items i, holdfast.banks b where b.name = $1
     ), parts as (
       insert into holdfast.document_parts (seq, bank_id, document_id, operation_id, item_no, mode,
                                            digest, extractor, size, chunks, facts)
       select i.seq, b.id, i.key, i.operation_id, i.no, 'replace', '', 'test', length('text of ' || i.key), 1, 0
         from holdfast.items i, holdfast.banks b where b.name = $1
     )
     insert into holdfast.chunks (part_seq, no, start_at, end_at, text)
     select seq, 0, 0, length('text of ' || key), 'text of ' || key from holdfast.items`,
    [bank],
  );
}

test("banks and documents of any name are listed, read and erased", async () => {
  await using server = await serving();
  const key = await server.key("admin");
  const bank = "Müller & Söhne / 2026?";
  await write(server, bank, STRANGE);
  const read = async (method: string, path: string) => {
    const answer = await server.ask(method, path, { key });
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  };
  const at = `/v1/banks/${encodeURIComponent(bank)}`;
  expect((await read("GET", "/v1/banks")).body).toMatchObject({
    items: [{ name: bank, documents: 8 }],
  });
  expect((await read("GET", at)).body).toMatchObject({
    name: bank,
    tenant: "default",
    openOperations: 1,
  });
  expect((await read("GET", `${at}/observations`)).body).toEqual({ items: [] });

  const found: string[] = [];
  let after: string | undefined;
  do {
    const query = after === undefined ? "" : `&after=${encodeURIComponent(after)}`;
    const { body } = await read("GET", `${at}/documents?limit=3${query}`);
    found.push(...(body.items as { documentId: string }[]).map(({ documentId }) => documentId));
    after = body.next as string | undefined;
  } while (after !== undefined);
  expect(found.toSorted()).toEqual(STRANGE.toSorted());

  for (const id of STRANGE) {
    const one = `${at}/documents/${encodeURIComponent(id)}`;
    expect((await read("GET", one)).body).toMatchObject({ documentId: id, text: `text of ${id}` });
    expect(await read("DELETE", one)).toMatchObject({
      status: 200,
      body: { documentId: id, parts: 1 },
    });
    expect((await read("GET", one)).status).toBe(404);
  }
});

test("a bank is erased only by who repeats its name", async () => {
  await using server = await serving();
  const key = await server.key("admin");
  await write(server, "notes", ["d"]);
  for (const query of ["", "?confirm=note", "?confirm=Notes"]) {
    const problem = await problemOf(await server.ask("DELETE", `/v1/banks/notes${query}`, { key }));
    expect(problem).toMatchObject({ status: 400 });
    expect(problem.detail).toBe(
      "query: confirm: must repeat the bank's name, this cannot be undone",
    );
  }
  const erased = await server.ask("DELETE", "/v1/banks/notes?confirm=notes", { key });
  expect(await erased.json()).toMatchObject({ bank: "notes", operationsEnded: 1 });
  expect((await server.ask("GET", "/v1/banks/notes", { key })).status).toBe(404);
  expect((await server.ask("GET", "/v1/banks/notes/documents/d", { key })).status).toBe(404);
});

test("a webhook shows its secret once, and only allowed destinations are taken", async () => {
  await using server = await serving({
    config: { webhooks: { allow: ["hooks.example.com"] } },
  });
  const key = await server.key("admin");
  const add = (url: string) =>
    server.ask("POST", "/v1/webhooks", { key, json: { url, events: ["operation.finished"] } });
  const refused = await add("https://127.0.0.1/hooks");
  expect(refused.status).toBe(422);
  await problemOf(refused);

  const made = await add("https://hooks.example.com/in");
  expect(made.status).toBe(201);
  const { id, secret } = (await made.json()) as { id: string; secret: string };
  expect(secret).toMatch(/^whsec_/);
  expect(made.headers.get("location")).toBe(`/v1/webhooks/${id}`);
  for (const path of [
    "/v1/webhooks",
    `/v1/webhooks/${id}`,
    `/v1/webhooks/${id}/deliveries`,
    "/v1/audit",
  ]) {
    const answer = await server.ask("GET", path, { key });
    expect(answer.status).toBe(200);
    expect(await answer.text()).not.toContain(secret);
  }
  expect((await server.ask("DELETE", `/v1/webhooks/${id}`, { key })).status).toBe(200);
  expect((await server.ask("GET", `/v1/webhooks/${id}`, { key })).status).toBe(404);
});
