import { expect, test } from "vitest";
import { HoldfastError } from "../../contracts/errors.ts";
import { documents, fresh } from "../support/fresh.ts";
import { sizes, snapshotOf } from "../support/snapshot.ts";

async function* upload(...chunks: (string | Uint8Array)[]) {
  yield* chunks;
}

const line = (value: unknown) => `${JSON.stringify(value)}\n`;

async function contents(db: Awaited<ReturnType<typeof fresh>>["db"], id: string) {
  const { rows } = await db.query<{ content: string }>(
    "select content from holdfast.payloads where operation_id = $1 order by item_no, part",
    [id],
  );
  return rows.map((row) => row.content);
}

test("a byte order mark, CR, blank lines and a missing last newline do not matter", async () => {
  const { db, holdfast } = await fresh();
  const { id, total } = await holdfast.retain.submitLines(
    { bank: "notes" },
    upload(
      `\ufeff{"content":"one"}\r\n`,
      "\r\n\n",
      ` {"content":"two"} \n  \n`,
      `{"content":"three"}`,
    ),
  );
  expect(total).toBe(3);
  expect(await contents(db, id)).toEqual(["one", "two", "three"]);
});

test("lines are split at LF only, wherever the upload is cut", async () => {
  const { db, holdfast } = await fresh();
  const texts = ["a\u2028b\u2029c\u0085d", "🦀 crab", "e\nf\rg", "\ufeffbom inside"];
  const bytes = Buffer.from(texts.map((content) => line({ content })).join(""));
  const oneByOne = Array.from(bytes, (_, at) => bytes.subarray(at, at + 1));
  const { id } = await holdfast.retain.submitLines({ bank: "notes" }, upload(...oneByOne));
  expect(await contents(db, id)).toEqual(texts);
});

test("a chunk that its stream uses again is not needed any more", async () => {
  const { db, holdfast } = await fresh();
  const buffer = Buffer.alloc(4);
  const bytes = Buffer.from(documents(20).map(line).join(""));
  async function* reusing() {
    for (let at = 0; at < bytes.length; at += 4) {
      const length = bytes.copy(buffer, 0, at, at + 4);
      yield buffer.subarray(0, length);
    }
  }
  const { id } = await holdfast.retain.submitLines({ bank: "notes" }, reusing());
  expect(await contents(db, id)).toEqual(documents(20).map((document) => document.content));
});

test("what is wrong with an upload is told by line, and nothing is written", async () => {
  const { db, holdfast } = await fresh();
  const before = await snapshotOf(db);
  const good = line({ content: "good" });
  const cases: [string, (string | Uint8Array)[], number, RegExp][] = [
    ["nothing", [], 400, /^body: must hold at least one line/],
    ["only a mark", ["\ufeff"], 400, /^body: must hold at least one line/],
    ["blank lines", ["\n \r\n"], 400, /^body: must hold at least one line/],
    ["not JSON", [good, good, "{content:1}\n", good], 400, /^line 3: is not JSON/],
    ["a cut line", [good, `{"content":"cu`], 400, /^line 2: is not JSON/],
    ["after blank lines", [good, "\n\n", "x"], 400, /^line 4: is not JSON/],
    ["not UTF-8", [good, Buffer.from([0x22, 0xff, 0x22, 0x0a])], 400, /^line 2: is not UTF-8/],
    ["no item", [good, "7\n"], 400, /^line 2: /],
    ["a blank content", [line({ content: " " })], 400, /^line 1: content: must not be blank/],
    ["half a pair", [`{"content":"\\ud83d"}`], 400, /^line 1: content: .*surrogate/],
    ["a NUL", [`{"content":"\\u0000"}`], 400, /^line 1: content: .*NUL/],
    ["30 February", [line({ content: "a", timestamp: "2026-02-30" })], 400, /^line 1: timestamp/],
    [
      "10,001 lines",
      [good.repeat(10_001)],
      413,
      /^line 10001: a batch holds at most 10000 items; split it/,
    ],
  ];
  for (const [name, chunks, status, message] of cases) {
    const error: unknown = await holdfast.retain
      .submitLines({ bank: "notes" }, upload(...chunks))
      .catch((cause: unknown) => cause);
    expect(error, name).toBeInstanceOf(HoldfastError);
    expect((error as HoldfastError).message, name).toMatch(message);
    expect((error as HoldfastError).status, name).toBe(status);
  }
  await expect(holdfast.retain.submitLines({ bank: "" }, upload(good))).rejects.toThrow(/^bank: /);
  expect(await snapshotOf(db)).toEqual(before);
});

test("an upload that breaks off leaves nothing", async () => {
  const { db, holdfast } = await fresh();
  const before = await snapshotOf(db);
  async function* dropped() {
    yield documents(500).map(line).join("");
    throw Object.assign(new Error("aborted"), { code: "ECONNRESET" });
  }
  await expect(holdfast.retain.submitLines({ bank: "notes" }, dropped())).rejects.toThrow();
  expect(await snapshotOf(db)).toEqual(before);
});

test("10,000 lines are one transaction, and a slow upload holds none open", async () => {
  const { db, holdfast } = await fresh();
  const before = sizes(await snapshotOf(db));
  const open = async () => {
    const { rows } = await db.query<{ n: number }>(
      `select count(*)::int as n from pg_stat_activity
        where datname = current_database() and xact_start is not null and pid <> pg_backend_pid()`,
    );
    return rows[0]!.n;
  };
  async function* slow() {
    const lines = documents(10_000).map(line);
    for (let from = 0; from < lines.length; from += 1_000) {
      yield lines.slice(from, from + 1_000).join("");
      expect(await open()).toBe(0);
      expect(sizes(await snapshotOf(db))).toEqual(before);
    }
  }
  const { id, total, batches } = await holdfast.retain.submitLines({ bank: "notes" }, slow());
  expect({ total, batches }).toEqual({ total: 10_000, batches: 100 });
  expect(await contents(db, id)).toHaveLength(10_000);
  const { rows } = await db.query<{ transactions: number }>(
    `select count(distinct xmin::text)::int as transactions from (
       select xmin from holdfast.operations union all select xmin from holdfast.sub_batches
       union all select xmin from holdfast.items union all select xmin from holdfast.payloads) t`,
  );
  expect(rows[0]!.transactions).toBe(1);
});

test("lengths are code points, ids may hold 1,000 bytes, and every field comes back as it was given", async () => {
  const { db, holdfast } = await fresh();
  const given = {
    content: "🦀".repeat(300) + "e\u0301",
    documentId: "🗂".repeat(250),
    timestamp: "2024-02-29T23:59:59.5+05:30",
    context: "a meeting",
    tags: ["blue", "grün"],
    metadata: { source: "mail", ключ: "значение" },
    entities: [{ text: "Ada Lovelace", type: "PERSON" }],
    resolveEntities: false,
    mode: "append" as const,
  };
  const { id } = await holdfast.retain.submit({ bank: "ü".repeat(500), items: [given] });
  const [item] = (await holdfast.operation.items(id)).items;
  expect(item).toMatchObject({ no: 1, batch: 1, size: 302, key: given.documentId });
  const { rows } = await db.query<{ content: string; meta: unknown }>(
    "select content, meta from holdfast.payloads",
  );
  const { content, documentId: _, ...meta } = given;
  expect(rows).toEqual([{ content, meta }]);
});
