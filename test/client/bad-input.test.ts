import { beforeAll, describe, expect, test } from "vitest";
import { newContext } from "../../client/context.ts";
import { connect, holdfastOver, type Holdfast } from "../../client/index.ts";
import { HoldfastError } from "../../contracts/errors.ts";
import { openDb, type Db } from "../../db/pool.ts";
import { testDatabase } from "../support/database.ts";
import { documents, fresh } from "../support/fresh.ts";
import { snapshotOf, type Snapshot } from "../support/snapshot.ts";

// Nothing here may write, so all cases share one database and compare it with how it began.
let db: Db;
let holdfast: Holdfast;
let open: string;
let ended: string;
let before: Snapshot;

beforeAll(async () => {
  const database = await testDatabase();
  db = openDb({ url: database.url });
  holdfast = holdfastOver(newContext({ db }));
  const batch = (key: string) => holdfast.retain.submit({ bank: "b", key, items: documents(2) });
  ended = (await batch("ended")).id;
  await holdfast.operation.cancel(ended);
  open = (await batch("open")).id;
  before = await snapshotOf(db);
  return async () => {
    await db.close();
    await database.drop();
  };
});

async function refused(call: () => Promise<unknown>): Promise<HoldfastError> {
  const error: unknown = await call().then(
    () => expect.fail("it was accepted"),
    (cause: unknown) => cause,
  );
  expect(error, String(error)).toBeInstanceOf(HoldfastError);
  expect(await snapshotOf(db)).toEqual(before);
  return error as HoldfastError;
}

const item = { content: "Ada wrote." };
const items = [item];
const NOBODY = "01900000-0000-7000-8000-000000000000";

describe("a batch is refused with the field that is wrong, and nothing is written:", () => {
  const cases: [string, unknown, number, RegExp][] = [
    ["nothing at all", undefined, 400, /^input: /],
    ["null", null, 400, /^input: /],
    ["a text", "bank", 400, /^input: /],
    ["a list", items, 400, /input|bank/],
    ["no bank", { items }, 400, /^bank: /],
    ["a blank bank", { bank: " \u00a0\ufeff", items }, 400, /^bank: must not be blank/],
    ["a bank of 1,001 bytes", { bank: "a".repeat(1_001), items }, 400, /^bank: .*1000 bytes/],
    ["a bank of 1,002 bytes", { bank: "ä".repeat(501), items }, 400, /^bank: .*1000 bytes/],
    ["no items", { bank: "b" }, 400, /^items: /],
    ["items that are no list", { bank: "b", items: item }, 400, /^items: /],
    ["an empty batch", { bank: "b", items: [] }, 400, /^items: must hold at least one item/],
    ["10,001 items", { bank: "b", items: documents(10_001) }, 400, /^items: .*10000 items; split/],
    ["an item that is null", { bank: "b", items: [item, null] }, 400, /^items\[1\]: /],
    ["no content", { bank: "b", items: [{}] }, 400, /^items\[0\]\.content: /],
    ["content that is a number", { bank: "b", items: [{ content: 7 }] }, 400, /\[0\]\.content: /],
    ["empty content", { bank: "b", items: [{ content: "" }] }, 400, /must not be blank/],
    [
      "blank content",
      { bank: "b", items: [item, { content: "\u2003\u00a0\ufeff\n" }] },
      400,
      /^items\[1\]\.content: must not be blank/,
    ],
    ["a NUL in content", { bank: "b", items: [{ content: "a\0b" }] }, 400, /content: .*NUL/],
    [
      "half a surrogate pair",
      { bank: "b", items: [{ content: "a\ud83d b" }] },
      400,
      /content: .*half a surrogate pair/,
    ],
    [
      "the other half",
      { bank: "b", items: [{ ...item, context: "\ude00" }] },
      400,
      /context: .*half a surrogate pair/,
    ],
    ["a NUL in a bank", { bank: "b\0", items }, 400, /^bank: .*NUL/],
    ["a NUL in an id", { bank: "b", items: [{ ...item, documentId: "\0" }] }, 400, /documentId: /],
    [
      "an id of 1,001 bytes",
      { bank: "b", items: [{ ...item, documentId: "x".repeat(1_001) }] },
      400,
      /documentId: must be at most 1000 bytes/,
    ],
    [
      "a NUL in metadata",
      { bank: "b", items: [{ ...item, metadata: { a: "\0" } }] },
      400,
      /metadata\.a: .*NUL/,
    ],
    [
      "metadata that is no text",
      { bank: "b", items: [{ ...item, metadata: { a: 1 } }] },
      400,
      /metadata\.a: /,
    ],
    [
      "metadata over its limit",
      { bank: "b", items: [{ ...item, metadata: { a: "x".repeat(16_384) } }] },
      400,
      /metadata: must be at most 16384 bytes/,
    ],
    ["tags that are a text", { bank: "b", items: [{ ...item, tags: "a" }] }, 400, /\.tags: /],
    ["a blank tag", { bank: "b", items: [{ ...item, tags: [" "] }] }, 400, /\.tags\[0\]: /],
    ["an unknown mode", { bank: "b", items: [{ ...item, mode: "merge" }] }, 400, /\.mode: /],
    ["30 February", { bank: "b", items: [{ ...item, timestamp: "2026-02-30" }] }, 400, /timestamp/],
    [
      "an instant on 30 February",
      { bank: "b", items: [{ ...item, timestamp: "2026-02-30T10:00:00Z" }] },
      400,
      /timestamp/,
    ],
    [
      "an instant without an offset",
      { bank: "b", items: [{ ...item, timestamp: "2026-02-03T10:00:00" }] },
      400,
      /timestamp/,
    ],
    [
      "an offset Postgres cannot hold",
      { bank: "b", items: [{ ...item, timestamp: "2026-02-03T10:00:00+20:00" }] },
      400,
      /timestamp/,
    ],
    ["the year 0", { bank: "b", items: [{ ...item, timestamp: "0000-01-01" }] }, 400, /timestamp/],
    ["an unknown field", { bank: "b", items, banks: 1 }, 400, /unknown field banks/],
    [
      "an unknown field of an item",
      { bank: "b", items: [{ ...item, text: 1 }] },
      400,
      /^items\[0\]: unknown field text/,
    ],
    ["an unknown option", { bank: "b", items, options: { speed: 1 } }, 400, /^options: .*speed/],
    ["a budget of 0", { bank: "b", items, options: { budget: 0 } }, 400, /^options\.budget: /],
    ["half an attempt", { bank: "b", items, options: { maxAttempts: 1.5 } }, 400, /maxAttempts: /],
    [
      "a start on no day",
      { bank: "b", items, options: { startAfter: "tomorrow" } },
      400,
      /^options\.startAfter: must be an ISO instant/,
    ],
    [
      "a start at an offset Postgres cannot hold",
      { bank: "b", items, options: { startAfter: "2026-02-03T10:00:00-23:00" } },
      400,
      /^options\.startAfter: /,
    ],
    ["a tenant with a slash", { tenant: "a/b", bank: "b", items }, 400, /^tenant: /],
    ["a key with a line break", { bank: "b", key: "a\nb", items }, 400, /^key: /],
    ["a key of 256 characters", { bank: "b", key: "k".repeat(256), items }, 400, /^key: /],
    ["a key of other content", { bank: "b", key: "open", items }, 409, /use a new key/],
  ];
  test.each(cases)("%s", async (_, batch, status, message) => {
    const error = await refused(() => holdfast.retain.submit(batch as never));
    expect(error.status).toBe(status);
    expect(error.message).toMatch(message);
  });
});

describe("a call about an operation is refused with what is wrong, and nothing is changed:", () => {
  const cases: [string, () => Promise<unknown>, number, RegExp][] = [
    ["an unknown id", () => holdfast.operation.get(NOBODY), 404, /no operation .*: list them/],
    ["an id that is none", () => holdfast.operation.get("7"), 400, /^id: must be an operation id/],
    ["a cancel of nothing", () => holdfast.operation.cancel(NOBODY), 404, /list them/],
    ["a cancel of no id", () => holdfast.operation.cancel(""), 400, /^id: /],
    ["a retry of an open one", () => holdfast.operation.retry(open), 409, /is accepted; cancel it/],
    ["a pause of an ended one", () => holdfast.operation.pause(ended), 409, /nothing to pause/],
    ["a resume of an ended one", () => holdfast.operation.resume(ended), 409, /nothing to resume/],
    ["a NUL as a reason", () => holdfast.operation.pause(open, "\0"), 400, /^reason: .*NUL/],
    ["items past 1,000", () => holdfast.operation.items(open, { limit: 1_001 }), 400, /^limit: /],
    [
      "items by an unknown outcome",
      () => holdfast.operation.items(open, { outcome: "lucky" as never }),
      400,
      /^outcome: /,
    ],
    ["items of batch 1.5", () => holdfast.operation.items(open, { batch: 1.5 }), 400, /^batch: /],
    ["items after a word", () => holdfast.operation.items(open, { after: "x" }), 400, /^after: /],
    [
      "logs of an unknown level",
      () => holdfast.operation.logs(open, { level: "loud" as never }),
      400,
      /^level: /,
    ],
    ["logs after a word", () => holdfast.operation.logs(open, { after: "x" }), 400, /^after: /],
    [
      "logs after more than a bigint",
      () => holdfast.operation.logs(open, { after: "9".repeat(19) }),
      400,
      /^after: /,
    ],
    [
      "a list after what is no id",
      () => holdfast.operation.list({ after: "abc" }),
      400,
      /^after: /,
    ],
    ["a list of half", () => holdfast.operation.list({ limit: 0.5 }), 400, /^limit: /],
    ["a list of a NUL", () => holdfast.operation.list({ scope: "\0" }), 400, /^scope: .*NUL/],
    [
      "a list by an unknown state",
      () => holdfast.operation.list({ state: "stuck" as never }),
      400,
      /^state: /,
    ],
    [
      "a list since an odd offset",
      () => holdfast.operation.list({ since: "2026-01-01T00:00:00+17:00" }),
      400,
      /^since: /,
    ],
    [
      "a brake on nothing",
      () => holdfast.brake.set("bank" as never, "x", "y"),
      400,
      /^appliesTo: /,
    ],
    ["a brake without a name", () => holdfast.brake.set("kind", "", "y"), 400, /^name: /],
    ["a brake without a reason", () => holdfast.brake.set("kind", "retain", " "), 400, /^reason: /],
    ["a brake with a NUL", () => holdfast.brake.set("kind", "a\0", "y"), 400, /^name: .*NUL/],
    ["a reason with a NUL", () => holdfast.brake.set("all", "", "y\0"), 400, /^reason: .*NUL/],
    ["a brake that is not set", () => holdfast.brake.lift("kind", "job"), 404, /brake list/],
    [
      "a key of no role",
      () => holdfast.key.create({ name: "n", role: "x" as never }),
      400,
      /^role: /,
    ],
    [
      "a key name with a NUL",
      () => holdfast.key.create({ name: "\0", role: "viewer" }),
      400,
      /^name: /,
    ],
    ["an unknown key revoked", () => holdfast.key.revoke(NOBODY), 404, /key list/],
    ["a wrong key", () => holdfast.key.verify("hf_wrong"), 401, /ask an admin/],
    ["no key", () => holdfast.key.verify(undefined), 401, /key create/],
  ];
  test.each(cases)("%s", async (_, call, status, message) => {
    const error = await refused(call);
    expect(error.message).toMatch(message);
    expect(error.status).toBe(status);
  });
});

test("a retry with nothing left to do, and a second cancel, change nothing", async () => {
  const { db, holdfast } = await fresh();
  const { id } = await holdfast.retain.submit({ bank: "b", items: documents(2) });
  await holdfast.operation.cancel(id);
  const before = await snapshotOf(db);
  expect(await holdfast.operation.cancel(id)).toMatchObject({ state: "cancelled" });
  expect(await snapshotOf(db)).toEqual(before);
  await db.query("update holdfast.outcomes set outcome = 'succeeded'");
  await expect(holdfast.operation.retry(id)).rejects.toMatchObject({ code: "nothing-to-retry" });
});

test("without a database the answer is one sentence with what to look at", async () => {
  const nowhere = connect({ databaseUrl: "postgres://nobody@127.0.0.1:1/none" });
  await expect(nowhere.retain.submit({ bank: "b", items })).rejects.toMatchObject({
    code: "postgres-unavailable",
    status: 503,
    message: expect.stringMatching(/ECONNREFUSED.*check DATABASE_URL/) as string,
  });
  await nowhere.close();
  const { DATABASE_URL } = process.env;
  delete process.env.DATABASE_URL;
  expect(() => connect()).toThrow(/set DATABASE_URL/);
  if (DATABASE_URL !== undefined) process.env.DATABASE_URL = DATABASE_URL;
});
