import { expect, test } from "vitest";
import { Forbidden, InvalidInput } from "../../contracts/errors.ts";
import { holdObject } from "../../db/index-held.ts";
import { capturing, SITE, SITE_TABLE } from "../support/capturing.ts";
import { fresh } from "../support/fresh.ts";
import { searching } from "../support/searching.ts";

/** What callers say, and what they may be told. */

test("a viewer that Postgres cannot read is refused by name, however deep it is nested", async () => {
  await using made = await searching();
  await made.fill();
  const deep: unknown[] = [];
  for (let at = deep, depth = 0; depth < 100_000; depth++) at.push((at = []));
  const refused: Record<string, unknown> = {
    "a NUL": { a: "\0" },
    "half a character": { a: ["\ud800"] },
    "a name that is none": { "\0": 1 },
    "too deep": { deep },
    "a list": [],
    "a word": "me",
  };
  for (const [what, viewer] of Object.entries(refused)) {
    const asked = made.holdfast.search.query({ text: "x", viewer: viewer as object as never });
    const error = await asked.catch((cause: unknown) => cause);
    expect(error, what).toBeInstanceOf(InvalidInput);
    expect((error as InvalidInput).message).toContain("viewer");
  }
  const viewer = { me: { roles: ["a"], since: 1e308 }, ok: true, no: null };
  expect(await made.holdfast.search.query({ text: "x", viewer })).toMatchObject({ leftOut: [] });
});

test("who is held to some tenants is told nothing that is of all of them", async () => {
  await using made = await searching();
  await made.fill();
  const { db, holdfast } = made;
  await db.query("insert into public.sites (id, tenant, name) values (1, 'globex', 'Secret')");
  await db.query("update holdfast.search_indexes set schema_name = 'theirs' where type = 'port'");
  await db.query("update holdfast.search_indexes set schema_name = 'gone' where type <> 'port'");
  const acme = holdfast.as({ actor: "acme", tenants: ["acme"] }).search;
  await expect(acme.status()).rejects.toBeInstanceOf(Forbidden);
  const noSchema = await acme.query({ text: "x" }).catch((cause: unknown) => cause);
  expect(String(noSchema)).toContain("there are gone");
  expect(String(noSchema)).not.toContain("theirs");
  const noType = acme.markDirty({ type: "nothing", keys: ["1"], tenant: "acme" });
  await expect(noType).rejects.toThrow(/there are: device, site$/);
  await db.query("update holdfast.search_indexes set schema_name = 'public'");
  const held = { schema: "public", type: "site", key: "1" };
  await db.transaction((tx) => holdObject(tx, held, 'invalid input: "Secret"'));
  const wait = { type: "site", keys: ["1"] };
  await expect(holdfast.search.waitSearchable(wait)).rejects.toThrow("Secret");
  const waiting = acme.waitSearchable(wait);
  await expect(waiting).rejects.toThrow(/cannot be found yet: an operator sees why/);
});

test("a result is a line, whatever its table holds", async () => {
  await using made = await searching();
  await made.db.query(
    `insert into public.sites (id, name, status)
     values (1, 'long ' || repeat('n', 2000000), repeat('s', 2000000))`,
  );
  await made.fill();
  const page = await made.holdfast.search.query({ text: "long", lookup: "starts-with" });
  expect(page.items).toHaveLength(1);
  expect(JSON.stringify(page).length).toBeLessThan(10_000);
});

test("waiting for an object waits for it in any spelling of its key", async () => {
  const made = await capturing(SITE_TABLE("main"), [SITE]);
  await made.app.query("insert into main.site (id) values (7)");
  const waiting = (key: string) =>
    made.holdfast.search.waitSearchable({ type: "site", keys: [key], timeoutMs: 50 });
  await expect(waiting("007")).rejects.toThrow(/still waiting/);
  await expect(waiting("008")).resolves.toBeUndefined();
});

test("inline, a writer does not wait for another writer's transaction, nor does either fail for it", async () => {
  const made = await capturing(SITE_TABLE("main"), [SITE], { inline: true });
  const { holdfast, app, connected } = made;
  await app.query("insert into main.site (id, name) values (1, 'one'), (2, 'two')");
  await holdfast.search.drainOnce();
  const other = await connected();
  const mark = (tx: typeof app) => holdfast.search.markDirty({ type: "site", keys: ["1"] }, { tx });
  await app.query(
    "begin; set local lock_timeout = '7s'; update main.site set name = 'ONE' where id = 1",
  );
  await other.query("begin; update main.site set name = 'TWO' where id = 2");
  expect(await mark(app)).toEqual({ marked: 1, applied: true });
  const marked = mark(other);
  // It has the row this one waits for, and wants the lane this one has.
  const written = app.query("update main.site set status = 'new' where id = 2");
  expect(await marked).toEqual({ marked: 1, applied: false });
  await other.query("commit");
  await written;
  const { rows } = await app.query("show lock_timeout");
  expect(rows).toEqual([{ lock_timeout: "7s" }]);
  await app.query("commit");
  await holdfast.search.drainOnce();
  const found = await holdfast.search.query({ text: "new" });
  expect(found.items.map(({ key }) => key)).toEqual(["2"]);
});

test("an object with a long key that is held is known to an audit, and no finding", async () => {
  const made = await capturing(
    "create schema main; create table main.note (id text primary key, size int)",
    [{ name: "note", table: "note", fields: [{ name: "share", sql: "(100 / t.size)::text" }] }],
  );
  const { app, holdfast } = made;
  await app.query("insert into main.note values (repeat('é', 600), 0), ('short', 0), ('fine', 5)");
  expect((await holdfast.search.drainOnce()).held).toBe(2);
  for await (const page of holdfast.search.audit()) {
    expect([page.findings, page.notDone]).toEqual([[], undefined]);
  }
});

test("a database with another default isolation changes nothing", async () => {
  const { db } = await fresh();
  await db.query(
    `do $$ begin execute format('alter database %I set default_transaction_isolation = serializable',
                                current_database()); end $$`,
  );
  await db.query(
    "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
  );
  await db.query("select pg_terminate_backend(pg_backend_pid())").catch(() => undefined);
  const { rows } = await db.query("show transaction_isolation");
  expect(rows).toEqual([{ transaction_isolation: "serializable" }]);
  await db.transaction(async (tx) => {
    const { rows: inside } = await tx.query("show transaction_isolation");
    expect(inside).toEqual([{ transaction_isolation: "read committed" }]);
  });
});
