import { beforeEach, expect, test } from "vitest";
import type { Holdfast } from "../../client/index.ts";
import type { RetainItem } from "../../contracts/retain.ts";
import { findBank } from "../../db/banks.ts";
import { ownKnowledge } from "../../db/locks.ts";
import { factsAbout, replaceObservations } from "../../db/observations.ts";
import type { Db } from "../../db/pool.ts";
import { fresh } from "../support/fresh.ts";
import { preparedByHand } from "../support/retain-by-hand.ts";

let db: Db;
let holdfast: Holdfast;
beforeEach(async () => {
  ({ db, holdfast } = await fresh());
});

async function retained(bank: string, items: RetainItem[], tenant = "default"): Promise<string> {
  const { id } = await holdfast.retain.submit({ tenant, bank, items });
  await (await preparedByHand(db, id)).commit();
  return id;
}

const ADA = "Ada Lovelace wrote to Charles Babbage on 5 June 1833.";

test("a document reads as its parts in order of acceptance, whichever was committed first", async () => {
  const first = await holdfast.retain.submit({
    bank: "letters",
    items: [{ documentId: "l", content: ADA, tags: ["a", "b"], metadata: { x: "1", y: "1" } }],
  });
  const second = await holdfast.retain.submit({
    bank: "letters",
    items: [
      {
        documentId: "l",
        content: "He answered. 👍",
        mode: "append",
        tags: ["b", "c"],
        metadata: { y: "2" },
        context: "the answer",
        timestamp: "2026-11-21T10:00:00Z",
      },
    ],
  });
  for (const { id } of [second, first]) await (await preparedByHand(db, id)).commit();

  const document = await holdfast.document.get("letters", "l");
  expect(document).toMatchObject({
    tenant: "default",
    bank: "letters",
    documentId: "l",
    text: `${ADA}\nHe answered. 👍`,
    size: ADA.length + 15,
    tags: ["a", "b", "c"],
    metadata: { x: "1", y: "2" },
  });
  expect(document.parts).toMatchObject([
    { mode: "replace", operationId: first.id, itemNo: 1, chunks: [{ no: 0, start: 0 }] },
    { mode: "append", operationId: second.id, context: "the answer", metadata: { y: "2" } },
  ]);
  expect(document.parts[1]!.timestamp).toBe("2026-11-21T10:00:00.000Z");
  const [fact] = document.parts[0]!.facts;
  expect(fact).toMatchObject({ text: ADA, chunk: 0, start: 0, end: ADA.length });
  expect(fact!.entities).toContain("Ada Lovelace");
  expect(fact!.occurredStart).toBe("1833-06-05");
  expect(new Date(document.createdAt).toISOString()).toBe(document.createdAt);
});

test("the text of a long document is its chunks joined, to the last character", async () => {
  const content = Array.from({ length: 900 }, (_, n) => `Sentence ${n} of Ada 👩‍🚀.\n`).join("");
  await retained("letters", [{ documentId: "long", content }]);
  const document = await holdfast.document.get("letters", "long");
  expect(document.text).toBe(content);
  expect(document.parts[0]!.chunks.length).toBeGreaterThan(3);
  expect(document.parts[0]!.chunks.at(-1)!.end).toBe([...content].length);
});

test("banks and documents are listed page by page, with what they hold", async () => {
  for (const bank of ["one", "two", "three"]) {
    await retained(bank, [
      { documentId: "a", content: ADA },
      { documentId: "b", content: ADA },
    ]);
  }
  await holdfast.retain.submit({ bank: "three", items: [{ content: "Waiting." }] });

  const page = await holdfast.bank.list({ limit: 2 });
  expect(page.items.map((bank) => bank.name)).toEqual(["one", "two"]);
  const rest = await holdfast.bank.list({ limit: 2, after: page.next! });
  expect(rest).toEqual({ items: [await holdfast.bank.get("three")] });
  expect(rest.items[0]).toMatchObject({ tenant: "default", documents: 2, openOperations: 2 });
  expect(rest.items[0]!.facts).toBeGreaterThan(1);

  const documents = await holdfast.document.list("one", { limit: 1 });
  expect(documents.items).toMatchObject([{ documentId: "a", parts: 1, size: ADA.length }]);
  const more = await holdfast.document.list("one", { limit: 1, after: documents.next! });
  expect(more.items).toMatchObject([{ documentId: "b" }]);
  expect(more.next).toBeUndefined();
});

test("observations are listed with their sources, and found by entity whatever the case", async () => {
  await retained("letters", [
    { documentId: "a", content: ADA },
    { documentId: "b", content: "Charles Babbage read what Ada Lovelace sent." },
  ]);
  const bankId = (await findBank(db, "default", "letters"))!;
  const entities = ["ada lovelace", "charles babbage"];
  const about = await factsAbout(db, bankId, entities, 10);
  const said = about.map(({ entity, name, facts }) => ({
    entity,
    name,
    text: `All about ${name}`,
    sources: facts.map((fact) => fact.id),
  }));
  await db.transaction(async (tx) => {
    await ownKnowledge(tx, bankId);
    await replaceObservations(tx, bankId, entities, said, "test@1");
  });

  const { items } = await holdfast.bank.observations("letters", { entity: "ADA Lovelace" });
  expect(items).toMatchObject([{ entity: "Ada Lovelace", text: "All about Ada Lovelace" }]);
  const facts = await Promise.all(["a", "b"].map((id) => holdfast.document.get("letters", id)));
  const ids = facts.flatMap(({ parts }) => parts[0]!.facts.map((fact) => fact.id));
  expect(ids).toEqual(expect.arrayContaining(items[0]!.sources));
  expect(items[0]!.sources).toHaveLength(2);

  const page = await holdfast.bank.observations("letters", { limit: 1 });
  const rest = await holdfast.bank.observations("letters", { limit: 1, after: page.next! });
  expect([...page.items, ...rest.items].map((one) => one.entity)).toEqual([
    "Ada Lovelace",
    "Charles Babbage",
  ]);
});

test("a caller of one tenant sees, reads and erases nothing of another", async () => {
  await retained("letters", [{ documentId: "a", content: ADA }], "acme");
  await retained("letters", [{ documentId: "a", content: "Ours." }], "ours");
  const ours = holdfast.as({ actor: "ours", tenants: ["ours"] });
  expect((await ours.document.get("letters", "a")).text).toBe("Ours.");
  expect((await ours.bank.list()).items.map((bank) => bank.tenant)).toEqual(["ours"]);
  for (const refused of [
    () => ours.bank.list({ tenant: "acme" }),
    () => ours.bank.erase("letters", { tenant: "acme" }),
    () => ours.document.get("letters", "a", { tenant: "acme" }),
    () => ours.document.erase("letters", "a", { tenant: "acme" }),
  ]) {
    await expect(refused()).rejects.toMatchObject({ code: "not-found", status: 404 });
  }
  await ours.bank.erase("letters");
  const theirs = await holdfast.document.get("letters", "a", { tenant: "acme" });
  expect(theirs.text).toBe(ADA);
});

test("what is erased is audited: who, and what, but none of the content", async () => {
  await retained("letters", [{ documentId: "a", content: ADA }]);
  await holdfast.document.erase("letters", "a");
  await holdfast.bank.erase("letters");
  const { rows } = await db.query(
    "select actor, action, tenant, subject, before from holdfast.audit order by id",
  );
  const by = { actor: "test", tenant: "default" };
  expect(rows).toEqual([
    { ...by, action: "document.erase", subject: "letters/a", before: { parts: 1, items: 1 } },
    { ...by, action: "bank.erase", subject: "letters", before: { id: expect.any(String) } },
  ]);
});

test("what is wrong with a question is named by field", async () => {
  await expect(holdfast.bank.get("nowhere")).rejects.toThrow("no bank nowhere");
  await expect(holdfast.document.list("nowhere")).rejects.toThrow("no bank nowhere");
  await expect(holdfast.bank.get(" ")).rejects.toThrow("bank: must not be blank");
  await expect(holdfast.bank.list({ limit: 0 })).rejects.toThrow("limit: ");
  await expect(holdfast.bank.list({ after: "x" })).rejects.toThrow("after: must be the `next`");
  const elsewhere = holdfast.bank.get("b", { tenant: "../" });
  await expect(elsewhere).rejects.toThrow("tenant: must be 1 to 100");
  await retained("letters", [{ documentId: "a", content: ADA }]);
  await expect(holdfast.document.get("letters", "b")).rejects.toThrow("no document b");
  await expect(holdfast.document.get("letters", "")).rejects.toThrow("documentId: must not");
});
