import pg from "pg";
import { v7 as uuidv7 } from "uuid";
import { expect, onTestFinished, test } from "vitest";
import { accept } from "../../client/accept.ts";
import { newContext, type Context } from "../../client/context.ts";
import { connect, holdfastOver } from "../../client/index.ts";
import { memorySpool } from "../../client/payload-spool.ts";
import { Conflict, LimitExceeded, SchemaMismatch, Unavailable } from "../../contracts/errors.ts";
import { insertOperation, type NewOperation } from "../../db/operations.ts";
import { openDb, type Queryable, type Tx } from "../../db/pool.ts";
import { digestOf } from "../../domain/digest.ts";
import { fault, statementsOf, watched } from "../support/failing.ts";
import { documents, fresh, type Fresh } from "../support/fresh.ts";
import { sizes, snapshotOf } from "../support/snapshot.ts";

/** A connection of the caller's own, with an open transaction. */
async function callersTransaction(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  client.on("error", () => undefined);
  onTestFinished(() => client.end().catch(() => undefined));
  await client.query("begin");
  return client;
}

async function count(db: Queryable, table: string): Promise<number> {
  const { rows } = await db.query<{ n: number }>(
    `select count(*)::int as n from holdfast.${table}`,
  );
  return rows[0]!.n;
}

test("who reads while batches are accepted sees nothing of a batch, or all of it", async () => {
  const { db, holdfast } = await fresh();
  let accepting = true;
  const reads: unknown[] = [];
  const reader = (async () => {
    while (accepting) {
      const { rows } = await db.query(
        `select op.id, op.total, op.batches,
                (select count(*)::int from holdfast.sub_batches where operation_id = op.id) as b,
                (select count(*)::int from holdfast.items where operation_id = op.id) as i,
                (select count(*)::int from holdfast.payloads where operation_id = op.id) as p
           from holdfast.operations op`,
      );
      reads.push(...rows);
    }
  })();
  for (let round = 0; round < 8; round++) {
    // 20 MB, so that the payload takes several statements.
    const items = Array.from({ length: 20 }, () => ({ content: "x".repeat(1_000_000) }));
    await holdfast.retain.submit({ bank: "notes", items, options: { batchItems: 1 } });
  }
  accepting = false;
  await reader;
  expect(reads.length).toBeGreaterThan(8);
  // A content of 1,000,000 code points is stored in four pieces.
  for (const read of reads)
    expect(read).toMatchObject({ total: 20, batches: 20, b: 20, i: 20, p: 80 });
});

test("a fault at any statement of accept leaves nothing, in a transaction of ours", async () => {
  const { db } = await fresh();
  const batch = { bank: "notes", key: "k", items: documents(30), options: { batchItems: 7 } };
  const before = await snapshotOf(db);
  for (const code of ["08006", "40001", "0A000", "26000", "57P01", "XX000"]) {
    let failedAt = 0;
    for (let statement = 1; ; statement++) {
      const failing = watched(db, (no) => {
        if (no !== statement) return;
        failedAt = no;
        throw fault(code);
      });
      failedAt = 0;
      const submitted = holdfastOver(newContext({ db: failing })).retain.submit(batch);
      const outcome = await submitted.then(
        () => "accepted",
        (error: unknown) => error,
      );
      if (failedAt === 0) {
        expect(outcome).toBe("accepted");
        await db.query(
          "truncate holdfast.operations, holdfast.sub_batches, holdfast.items, holdfast.payloads, holdfast.banks",
        );
        break;
      }
      // The caller's own error, or the same as a typed one that carries it.
      if (code === "40001" || code === "XX000") expect(outcome).toMatchObject({ code });
      else expect(outcome).toBeInstanceOf(Unavailable);
      expect(await snapshotOf(db)).toEqual(before);
      expect(statement).toBeLessThan(20);
    }
  }
});

test("a connection that is killed in the middle of accept leaves nothing, and the next call works", async () => {
  const { db, holdfast } = await fresh();
  const before = await snapshotOf(db);
  const batch = { bank: "notes", items: documents(30) };
  const statements = (
    await statementsOf(db, (seen) => holdfastOver(newContext({ db: seen })).retain.submit(batch))
  ).length;
  await db.query(
    "truncate holdfast.operations, holdfast.sub_batches, holdfast.items, holdfast.payloads, holdfast.banks",
  );

  // The first statement is the whole accept into a bank that is there; this one is not yet.
  for (let killAt = 2; killAt <= statements; killAt++) {
    const killing = watched(db, async (no) => {
      if (no !== killAt) return;
      await db.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
          where datname = current_database() and state = 'idle in transaction'`,
      );
    });
    await expect(
      holdfastOver(newContext({ db: killing })).retain.submit(batch),
    ).rejects.toBeInstanceOf(Unavailable);
    expect(await snapshotOf(db)).toEqual(before);
  }
  await holdfast.retain.submit(batch);
});

test("in the caller's transaction nothing exists unless it commits, and nobody else sees it before", async () => {
  const { url, db, holdfast } = await fresh();
  const before = await snapshotOf(db);
  const tx = await callersTransaction(url);
  await tx.query("create table public.theirs (id int)");
  const accepted = await holdfast.retain.submit({ bank: "lazy", items: documents(5) }, { tx });
  expect(await snapshotOf(db)).toEqual(before);
  await tx.query("rollback");
  expect(await snapshotOf(db)).toEqual(before);
  await expect(holdfast.operation.get(accepted.id)).rejects.toMatchObject({ code: "not-found" });

  await tx.query("begin");
  await tx.query("create table public.theirs (id int)");
  const again = await holdfast.retain.submit({ bank: "lazy", items: documents(5) }, { tx });
  await tx.query("commit");
  expect(await holdfast.operation.get(again.id)).toMatchObject({ state: "accepted", total: 5 });
  await db.query("select from public.theirs");
});

test("a submit that is refused in the caller's transaction leaves nothing, even when the caller commits", async () => {
  const { url, db, context } = await fresh();
  const tight = holdfastOver({ ...context, limits: { ...context.limits, openItems: 2 } });
  const before = await snapshotOf(db);
  const tx = await callersTransaction(url);
  await expect(
    tight.retain.submit({ bank: "lazy", items: documents(5) }, { tx }),
  ).rejects.toBeInstanceOf(LimitExceeded);
  // Their own work goes on in the same transaction.
  await tx.query("create table public.theirs (id int)");
  await tx.query("commit");
  expect(await snapshotOf(db)).toEqual(before);
  await db.query("select from public.theirs");
});

test("a fault at any statement in the caller's transaction leaves nothing, even when the caller commits", async () => {
  const { url, db, holdfast } = await fresh();
  const before = await snapshotOf(db);
  // Two slices of payload, so that a fault can come after the operation's row is written.
  const items = Array.from({ length: 12 }, () => ({ content: "x".repeat(1_000_000) }));
  for (let statement = 1; ; statement++) {
    const client = await callersTransaction(url);
    let seen = 0;
    const tx: Queryable = {
      query: async (text, values) => {
        if (++seen === statement) throw fault("ECONNRESET");
        return client.query(text, values) as never;
      },
    };
    const outcome = await holdfast.retain.submit({ bank: "lazy", items }, { tx }).then(
      () => "accepted",
      (error: unknown) => error,
    );
    await client.query("commit");
    if (seen < statement) {
      expect(outcome).toBe("accepted");
      break;
    }
    expect(outcome).toBeInstanceOf(Unavailable);
    expect(sizes(await snapshotOf(db))).toEqual(sizes(before));
  }
  expect(await count(db, "operations")).toBe(1);
});

test("what is no open transaction is refused as the caller's, because nothing would hold it together", async () => {
  const { url, db, holdfast } = await fresh();
  const before = await snapshotOf(db);
  const pool = new pg.Pool({ connectionString: url });
  onTestFinished(() => pool.end());
  const items = documents(3);
  await expect(
    holdfast.retain.submit({ bank: "lazy", items }, { tx: pool as unknown as Tx }),
  ).rejects.toThrow("tx: is no open transaction: begin one");
  expect(await snapshotOf(db)).toEqual(before);
});

test("a driver that reads numbers and times its own way makes no difference", async () => {
  const { url, holdfast } = await fresh();
  const odd = new pg.Client({
    connectionString: url,
    types: {
      getTypeParser: (oid: number) =>
        oid === 20 ? Number : oid === 17 ? bytesOf : (text: string) => text,
    },
  });
  await odd.connect();
  function bytesOf(text: string): Uint8Array {
    return Uint8Array.from(Buffer.from(text.slice(2), "hex"));
  }
  onTestFinished(() => odd.end());
  const submit = (key: string) =>
    holdfast.retain.submit(
      { bank: "lazy", key, items: documents(3) },
      { tx: odd as unknown as Tx },
    );
  await odd.query("begin");
  const { id } = await submit("k");
  await odd.query("commit");
  const { input } = await holdfast.operation.get(id);
  expect(typeof input.bankId).toBe("string");

  await odd.query("begin");
  expect(await submit("k")).toMatchObject({ id, existing: true });
  await odd.query("commit");
});

test("parsers that an application sets on pg for itself make no difference", async () => {
  const { url } = await fresh();
  const { TIMESTAMPTZ, INT8, JSONB, BOOL } = pg.types.builtins;
  const oids = [TIMESTAMPTZ, INT8, JSONB, BOOL] as const;
  const usual = oids.map((oid) => pg.types.getTypeParser(oid));
  onTestFinished(() => oids.forEach((oid, index) => pg.types.setTypeParser(oid, usual[index])));
  for (const oid of oids) pg.types.setTypeParser(oid, (text: string) => `theirs ${text}`);

  const holdfast = connect({ databaseUrl: url });
  onTestFinished(() => holdfast.close());
  const { id } = await holdfast.retain.submit({ bank: "notes", items: documents(2) });
  const view = await holdfast.operation.cancel(id);
  expect(view).toMatchObject({ state: "cancelled", input: { bank: "notes" } });
  expect(Date.parse(view.finishedAt!)).toBeGreaterThan(0);
  expect((await holdfast.operation.items(id)).items[0]!.seq).toMatch(/^\d+$/);
});

test("every sub-batch is complete in the statement that makes it, and says what it is", async () => {
  const { db, holdfast } = await fresh();
  const { id, batches } = await holdfast.retain.submit({
    bank: "notes",
    documentTags: ["audit", "2026"],
    items: documents(25).map((item) => ({ ...item, tags: ["own"] })),
    options: { batchItems: 10 },
  });
  expect(batches).toBe(3);
  const shown = await holdfast.operation.batches(id);
  expect(shown.items).toMatchObject([
    { no: 1, of: 3, firstItem: 1, lastItem: 10, items: 10, settled: 0 },
    { no: 2, of: 3, firstItem: 11, lastItem: 20, items: 10 },
    { no: 3, of: 3, firstItem: 21, lastItem: 25, items: 5 },
  ]);
  const size = documents(25).reduce((sum, { content }) => sum + [...content].length, 0);
  expect(shown.items.reduce((sum, batch) => sum + batch.size, 0)).toBe(size);
  expect(await holdfast.operation.get(id)).toMatchObject({
    total: 25,
    batches: 3,
    input: { bank: "notes", totalSize: size, documentTags: ["audit", "2026"] },
  });
  const { rows } = await db.query<{ meta: { tags: string[] } }>(
    "select meta from holdfast.payloads where operation_id = $1",
    [id],
  );
  expect(rows).toHaveLength(25);
  for (const { meta } of rows) expect(meta.tags).toEqual(["own"]);
});

test("one sub-batch and a thousand take the same statements", async () => {
  const { db } = await fresh();
  const submit = (items: number) => (seen: Fresh["db"]) =>
    holdfastOver(newContext({ db: seen })).retain.submit({
      bank: "notes",
      items: documents(items),
      options: { batchItems: 1 },
    });
  await submit(1)(db);
  const one = await statementsOf(db, submit(1));
  const thousand = await statementsOf(db, submit(1_000));
  expect(thousand).toEqual(one);
  expect(one.length).toBeLessThanOrEqual(4);
  expect(await count(db, "sub_batches")).toBe(1_002);
});

test("items are packed in order, none lost, none twice, none split, the same each time", async () => {
  const { holdfast } = await fresh();
  const items = Array.from({ length: 137 }, (_, index) => ({
    content: "ä".repeat(1 + ((index * 7919) % 900)),
  }));
  const packed = async () => {
    const { id } = await holdfast.retain.submit({
      bank: "notes",
      items,
      options: { budget: 1_000, batchItems: 9 },
    });
    return (await holdfast.operation.batches(id, { limit: 1_000 })).items.map(
      ({ firstItem, lastItem, size }) => ({ firstItem, lastItem, size }),
    );
  };
  const batches = await packed();
  expect(await packed()).toEqual(batches);
  let next = 1;
  for (const { firstItem, lastItem, size } of batches) {
    expect(firstItem).toBe(next);
    expect(size).toBe(
      items.slice(firstItem - 1, lastItem).reduce((sum, { content }) => sum + content.length, 0),
    );
    expect(size <= 1_000 || firstItem === lastItem).toBe(true);
    expect(lastItem - firstItem).toBeLessThan(9);
    next = lastItem + 1;
  }
  expect(next).toBe(138);
});

test("a key answers the operation of its first use, however often and from wherever it comes", async () => {
  const { db, holdfast } = await fresh();
  const batch = { bank: "notes", key: "order-7", items: documents(3) };
  const answers = await Promise.all(
    Array.from({ length: 50 }, () => holdfast.retain.submit(batch)),
  );
  expect(new Set(answers.map((answer) => answer.id)).size).toBe(1);
  expect(answers.filter((answer) => !answer.existing)).toHaveLength(1);
  expect(sizes(await snapshotOf(db))).toMatchObject({ operations: 1, items: 3, banks: 1 });

  // The order of keys is no content, and neither is what is left undefined.
  const items = documents(3).map(({ documentId, content }) => ({
    content,
    tags: undefined,
    documentId,
  }));
  const shuffled = { items, key: "order-7", documentTags: undefined, bank: "notes" };
  const repeated = await holdfast.retain.submit(shuffled);
  expect(repeated).toMatchObject({ id: answers[0]!.id, existing: true });

  // Nor does it matter which door the batch comes through.
  const lines = documents(3).map((item) => `${JSON.stringify(item)}\n`);
  const streamed = await holdfast.retain.submitLines(
    { bank: "notes", key: "order-7" },
    (async function* () {
      yield* lines;
    })(),
  );
  expect(streamed).toMatchObject({ id: answers[0]!.id, existing: true });
});

test("a key with other content is a conflict that names the operation and changes nothing", async () => {
  const { db, holdfast } = await fresh();
  const { id } = await holdfast.retain.submit({ bank: "notes", key: "k", items: documents(3) });
  const before = await snapshotOf(db);
  const other = [
    { bank: "notes", key: "k", items: documents(2) },
    { bank: "notes", key: "k", items: documents(3).toReversed() },
    { bank: "others", key: "k", items: documents(3) },
    { bank: "notes", key: "k", items: documents(3), documentTags: ["t"] },
    { bank: "notes", key: "k", items: documents(3), options: { chunkSize: 500 } },
  ];
  for (const batch of other) {
    const refused = holdfast.retain.submit(batch);
    await expect(refused).rejects.toBeInstanceOf(Conflict);
    await expect(refused).rejects.toMatchObject({
      code: "key-reused",
      status: 409,
      details: { operationId: id },
    });
  }
  expect(await snapshotOf(db)).toEqual(before);
  // Another tenant's key is another key.
  const theirs = await holdfast.retain.submit({
    tenant: "acme",
    bank: "notes",
    key: "k",
    items: documents(2),
  });
  expect(theirs).toMatchObject({ existing: false });
});

test("a key waits for the transaction that holds it, and is free again when that rolls back", async () => {
  const { url, holdfast } = await fresh();
  const batch = { bank: "notes", key: "k", items: documents(3) };
  const tx = await callersTransaction(url);
  const first = await holdfast.retain.submit(batch, { tx: tx as unknown as Tx });
  const waiting = holdfast.retain.submit(batch);
  await tx.query("rollback");
  const second = await waiting;
  expect(second).toMatchObject({ existing: false });
  expect(second.id).not.toBe(first.id);
});

test("a transaction that keeps a key is waited for only so long, and the wait leaves nothing", async () => {
  const { url, db, holdfast } = await fresh();
  await holdfast.retain.submit({ bank: "notes", items: documents(1) });
  const before = await snapshotOf(db);
  const tx = await callersTransaction(url);
  await holdfast.retain.submit({ bank: "notes", key: "k", items: documents(1) }, { tx });

  const own = openDb({ url, size: 1 });
  onTestFinished(() => own.close());
  const operation = operationWith("k");
  const payload = { bytes: Buffer.alloc(0), entries: [] };
  const none = { operations: Infinity, items: Infinity, bytes: Infinity };
  await expect(insertOperation(own, operation, payload, none, 20)).rejects.toMatchObject({
    code: "55P03",
  });
  expect((await own.query("show lock_timeout")).rows).toEqual([{ lock_timeout: "0" }]);
  await tx.query("rollback");
  expect(await snapshotOf(db)).toEqual(before);
});

function operationWith(key: string): NewOperation {
  return {
    id: uuidv7(),
    kind: "retain",
    tenant: "default",
    scope: "notes",
    bank: "notes",
    key,
    digest: digestOf({}),
    priority: 3,
    bytes: 0,
    input: {},
    submittedBy: "test",
    batches: [],
    items: [],
  };
}

test("ids and contents are stored as they were given, whatever stands in them", async () => {
  const { db, holdfast } = await fresh();
  const ids = [
    'a "quoted" id',
    "back\\slash",
    "{a,b}",
    "NULL",
    "null",
    "comma, blank ",
    "line\nbreak",
    "ü😀",
  ];
  const items = ids.map((documentId, index) => ({
    documentId,
    content: `${documentId} \u0001 \\x41 €`,
    ...(index % 2 === 0 ? { metadata: { [documentId]: documentId } } : {}),
  }));
  const { id } = await holdfast.retain.submit({ bank: 'b"\\', items });
  const { rows } = await db.query(
    `select i.key as "documentId", p.content, p.meta from holdfast.items i
       join holdfast.payloads p on p.operation_id = i.operation_id and p.item_no = i.no
      where i.operation_id = $1 order by i.no`,
    [id],
  );
  expect(rows).toEqual(
    items.map(({ documentId, content, metadata }) => ({
      documentId,
      content,
      meta: metadata ? { metadata } : null,
    })),
  );
});

test("a repeat is what was asked for, whatever a validator makes of it and however it comes", async () => {
  const { db, holdfast } = await fresh();
  const rewriting = holdfastOver(
    newContext({
      db,
      config: {
        validator: {
          validate: async (item) => ({
            verdict: "rewrite",
            item: { ...item, content: `${item.content} (${Math.random()})` },
          }),
        },
      },
    }),
  );
  const header = { bank: "notes", key: "k" };
  const items = [
    { content: "eins €", metadata: { a: "1", b: "2" }, entities: [{ text: "Ada" }] },
    { content: "zwei", documentId: "two" },
  ];
  const otherOrder = [
    { entities: [{ text: "Ada" }], metadata: { b: "2", a: "1" }, content: "eins €" },
    { documentId: "two", content: "zwei" },
  ];
  const lines = async function* () {
    for (const item of otherOrder) yield `${JSON.stringify(item)}\n`;
  };
  const { id } = await rewriting.retain.submit({ ...header, items });
  const same = { id, existing: true };
  expect(await rewriting.retain.submit({ ...header, items })).toMatchObject(same);
  expect(await holdfast.retain.submit({ ...header, items: otherOrder })).toMatchObject(same);
  expect(await holdfast.retain.submitLines(header, lines())).toMatchObject(same);
  expect(await rewriting.retain.submitLines(header, lines())).toMatchObject(same);

  const moved = [
    { ...items[0]!, content: "eins " },
    { ...items[1]!, content: "€zwei" },
  ];
  for (const sdk of [holdfast, rewriting]) {
    await expect(sdk.retain.submit({ ...header, items: moved })).rejects.toMatchObject({
      code: "key-reused",
    });
  }
});

test("an exclusive thing has one open operation; its end frees it", async () => {
  const { context, db, holdfast } = await fresh();
  const first = await acceptExclusive(context, "queue/mail", "a");
  const second = acceptExclusive(context, "queue/mail", "b");
  await expect(second).rejects.toMatchObject({
    code: "exclusive",
    status: 409,
    details: { operationId: first.id },
  });
  // The same request again is the same operation, and another thing is another.
  expect(await acceptExclusive(context, "queue/mail", "a")).toMatchObject({
    id: first.id,
    existing: true,
  });
  await acceptExclusive(context, "queue/other", "c");
  expect(await count(db, "operations")).toBe(2);

  await holdfast.operation.cancel(first.id);
  expect(await acceptExclusive(context, "queue/mail", "b")).toMatchObject({ existing: false });
});

async function acceptExclusive(context: Context, exclusiveOn: string, key: string) {
  const spool = memorySpool();
  await spool.add(1, "clear", undefined);
  return accept(
    context,
    {
      id: uuidv7(),
      kind: "clear",
      tenant: "default",
      scope: "",
      key,
      digest: digestOf({ exclusiveOn }),
      exclusiveOn,
      priority: 3,
      bytes: 5,
      input: {},
      batches: [{ from: 1, to: 1, size: 5 }],
      items: [{ key: "", size: 5, batch: 1 }],
    },
    () => spool.slices(),
    {},
  );
}

test("a tenant has as much open work as its limits say, and a repeat is answered all the same", async () => {
  const { db } = await fresh();
  const over = async (limits: Partial<Context["limits"]>, what: string) => {
    const holdfast = holdfastOver(newContext({ db, config: { limits } }));
    const batch = { tenant: what, bank: "notes", key: "k", items: documents(4) };
    const { id } = await holdfast.retain.submit(batch);
    const before = await snapshotOf(db);
    const refused = holdfast.retain.submit({ ...batch, key: "other", bank: "second" });
    await expect(refused).rejects.toBeInstanceOf(LimitExceeded);
    await expect(refused).rejects.toMatchObject({ status: 429, retryAfterSeconds: 10 });
    await expect(refused).rejects.toThrow(what);
    expect(await snapshotOf(db)).toEqual(before);

    expect(await holdfast.retain.submit(batch)).toMatchObject({ id, existing: true });
    await expect(holdfast.retain.submit({ ...batch, items: documents(3) })).rejects.toMatchObject({
      code: "key-reused",
    });
    // Other tenants have limits of their own, and what has ended no longer counts.
    await holdfast.retain.submit({ ...batch, tenant: `${what}-2` });
    await holdfast.operation.cancel(id);
    await holdfast.retain.submit({ ...batch, key: "other" });
  };
  await over({ openOperations: 1 }, "operations");
  await over({ openItems: 7 }, "items");
  await over({ openBytes: 300 }, "bytes");
});

test("a table that changed shape under an open client is named, and nothing is written", async () => {
  const { db, holdfast } = await fresh();
  await holdfast.retain.submit({ bank: "notes", items: documents(2) });
  const before = sizes(await snapshotOf(db));
  await db.query("alter table holdfast.payloads rename column content to text");
  await expect(
    holdfast.retain.submit({ bank: "more", items: documents(2) }),
  ).rejects.toBeInstanceOf(SchemaMismatch);
  expect(sizes(await snapshotOf(db))).toEqual(before);
  await db.query("alter table holdfast.payloads rename column text to content");
  await db.query("alter table holdfast.operations add column later text");
  await db.query("alter table holdfast.items alter column size type bigint");
  await holdfast.retain.submit({ bank: "more", items: documents(2) });
});
