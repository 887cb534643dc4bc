import { expect, test } from "vitest";
import { searchMarkClient } from "../../client/search-mark.ts";
import { newContext } from "../../client/context.ts";
import { Conflict, Forbidden, InvalidInput, TimedOut } from "../../contracts/errors.ts";
import type { HoldfastConfig } from "../../contracts/config.ts";
import { appendIndexMarks, markWholeType } from "../../db/index-marks.ts";
import { setBrake } from "../../db/brakes.ts";
import { searchRegistry } from "../../domain/search.ts";
import {
  drainLane,
  indexed,
  indexing,
  marksLeft,
  rebuilt,
  type Indexing,
} from "../support/indexing.ts";

async function marking(search: HoldfastConfig["search"] = {}) {
  const made = await indexing(search);
  const context = newContext({ db: made.db, config: made.config });
  const registry = searchRegistry(made.config, made.db.schema);
  await made.db.query("insert into main.cities (id, name) values (1, 'One'), (2, 'Two')");
  return { ...made, search: searchMarkClient(context, registry) };
}
const names = async (made: Indexing) =>
  (await indexed(made.db)).filter((row) => row.includes(" name.0 = "));

test("marks made by hand belong to the caller's transaction", async () => {
  const made = await marking();
  const rolledBack = made.db.transaction(async (tx) => {
    await made.search.markDirty({ type: "city", keys: ["1"] }, { tx });
    throw new Error("rolled back");
  });
  await expect(rolledBack).rejects.toThrow("rolled back");
  expect(await marksLeft(made.db)).toBe(0);
  await made.db.transaction((tx) =>
    made.search.markDirty({ type: "city", keys: ["1", "1", "2"] }, { tx }),
  );
  expect(await made.search.drainOnce()).toMatchObject({ objects: 2, held: 0, left: false });
  expect(await names(made)).toEqual(["main.city 1 name.0 = One", "main.city 2 name.0 = Two"]);
});

test("a key in another spelling means the object all the same", async () => {
  const made = await marking();
  expect(await made.search.markDirty({ type: "city", keys: ["007", "+2", "7"] })).toEqual({
    marked: 2,
    applied: false,
  });
  await made.db.query("insert into main.people values ('c', 1, 'Ada', null)");
  await made.search.markDirty({ type: "person", keys: ['["c","01"]'] });
  await made.search.drainOnce();
  expect(await names(made)).toEqual([
    "main.city 2 name.0 = Two",
    'main.person ["c", "1"] name.0 = Ada',
  ]);
});

test.each([
  [{ type: "town", keys: ["1"] }, 'type: no type "town" is registered; there are: city, person'],
  [{ type: "city", keys: ["1", "x"] }, 'keys[1]: "x" is no key of "main"."cities" (id bigint)'],
  [{ type: "city", keys: [] }, "keys: Too small"],
  [{ type: "person", keys: ['["c"]'] }, 'keys[0]: "[\\"c\\"]" is no key of "main"."people"'],
  [{ type: "person", keys: ["c"] }, 'keys[0]: "c" is no key'],
])("%j is refused with what is wrong", async (input, message) => {
  const made = await marking();
  const refused = await made.search.markDirty(input).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(InvalidInput);
  expect((refused as Error).message).toContain(message);
  expect(await marksLeft(made.db)).toBe(0);
});

test("a type that is not installed there is a conflict that names the next step", async () => {
  const made = await marking();
  await made.db.query("create schema third");
  const refused = made.search.markDirty({ type: "city", schema: "third", keys: ["1"] });
  await expect(refused).rejects.toThrow(Conflict);
  await expect(refused).rejects.toThrow("holdfast search install --type city --schema third");
});

test("who is held to some tenants marks nothing that concerns all", async () => {
  const made = await marking();
  const context = newContext({ db: made.db, config: made.config, tenants: ["acme"] });
  const search = searchMarkClient(context, searchRegistry(made.config, "holdfast"));
  await expect(search.markDirty({ type: "city", keys: ["1"] })).rejects.toThrow(Forbidden);
  await expect(search.drainOnce()).rejects.toThrow(Forbidden);
});

test("inline, what is marked can be found when the call answers, and goes with the caller's transaction", async () => {
  const made = await marking({ inline: true });
  expect(await made.search.markDirty({ type: "city", keys: ["1"] })).toEqual({
    marked: 1,
    applied: true,
  });
  expect(await names(made)).toEqual(["main.city 1 name.0 = One"]);
  const rolledBack = made.db.transaction(async (tx) => {
    await tx.query("update main.cities set name = 'Never'");
    await made.search.markDirty({ type: "city", keys: ["1", "2"] }, { tx });
    throw new Error("rolled back");
  });
  await expect(rolledBack).rejects.toThrow("rolled back");
  expect(await names(made)).toEqual(["main.city 1 name.0 = One"]);
  await made.db.transaction(async (tx) => {
    await tx.query("update main.cities set name = name || '!'");
    await made.search.markDirty({ type: "city", keys: ["1", "2"] }, { tx });
  });
  expect(await names(made)).toEqual(["main.city 1 name.0 = One!", "main.city 2 name.0 = Two!"]);
  expect(await marksLeft(made.db)).toBe(0);
});

test("inline, what cannot be indexed does not fail the caller's write", async () => {
  const made = await marking({ inline: true });
  await made.db.transaction(async (tx) => {
    await tx.query("update main.cities set size = 0 where id = 1");
    await made.search.markDirty({ type: "city", keys: ["1", "2"] }, { tx });
  });
  expect(await names(made)).toEqual(["main.city 2 name.0 = Two"]);
  await made.db.query("alter table main.cities rename name to title");
  await made.db.transaction(async (tx) => {
    await tx.query("update main.cities set title = 'Written'");
    expect(await made.search.markDirty({ type: "city", keys: ["2"] }, { tx })).toMatchObject({
      applied: false,
    });
  });
  const { rows } = await made.db.query("select distinct title from main.cities");
  expect(rows).toEqual([{ title: "Written" }]);
  expect(await marksLeft(made.db)).toBe(1);
});

test("inline in a transaction with one snapshot leaves a mark, for it may see what is no more", async () => {
  const made = await marking({ inline: true });
  await made.db.transaction(
    async (tx) => {
      await tx.query("select 1 from main.cities");
      await made.db.query("update main.cities set name = 'Newer'");
      const marked = await made.search.markDirty({ type: "city", keys: ["1"] }, { tx });
      expect(marked.applied).toBe(false);
    },
    { repeatableRead: true },
  );
  await made.search.drainOnce();
  expect(await names(made)).toEqual(["main.city 1 name.0 = Newer"]);
});

test("waiting ends when no mark of one's own is left, whatever others write meanwhile", async () => {
  const made = await marking();
  await made.search.markDirty({ type: "city", keys: ["1"] });
  const position = await made.search.position();
  await made.search.markDirty({ type: "city", keys: ["2"] });
  const waiting = made.search.waitSearchable({ type: "city", position, timeoutMs: 20_000 });
  await made.db.query("delete from holdfast.index_marks where '1' = any (keys)");
  await waiting;
  expect(await marksLeft(made.db)).toBe(1);
  // By key, with what others mark left out of account.
  await made.search.waitSearchable({ type: "city", keys: ["1"], timeoutMs: 20_000 });
  await expect(
    made.search.waitSearchable({ type: "city", keys: ["2"], timeoutMs: 50 }),
  ).rejects.toThrow(TimedOut);
});

test("waiting for a parent waits for its objects too, although their marks are younger", async () => {
  const made = await marking();
  await made.db.query("insert into main.people values ('c', 1, 'Ada', 1)");
  // In another lane than the object's.
  const { rows } = await made.db.query<{ lane: number }>(
    `insert into holdfast.index_marks (lane, schema_name, type, keys, through)
     values (((hashtext('["c", "1"]') & 3) + 1) & 3, 'main', 'person', '{1}', 'cities.0')
     returning lane`,
  );
  const position = await made.search.position();
  await drainLane({ db: made.db, config: made.config }, rows[0]!.lane);
  expect(await marksLeft(made.db)).toBe(1);
  await expect(
    made.search.waitSearchable({ type: "person", position, timeoutMs: 50 }),
  ).rejects.toThrow(TimedOut);
  await made.search.drainOnce();
  await made.search.waitSearchable({ type: "person", position });
  expect(await indexed(made.db)).toContain('main.person ["c", "1"] city.0 = One');
});

test("waiting in vain says what it waits for and what to do", async () => {
  const made = await marking();
  await made.search.markDirty({ type: "city", keys: ["1"] });
  const waiting = made.search.waitSearchable({ timeoutMs: 30 });
  await expect(waiting).rejects.toThrow(TimedOut);
  await expect(waiting).rejects.toThrow(
    'marks of main were still waiting after 30 ms: no worker is alive: start "holdfast worker", or run "holdfast search drain --once"',
  );
});

test("waiting for what cannot be found although nothing waits says so", async () => {
  const made = await marking();
  await made.db.query("update main.cities set size = 0 where id = 1");
  await made.search.markDirty({ type: "city", keys: ["1"] });
  await made.search.drainOnce();
  await expect(made.search.waitSearchable({ type: "city", keys: ["1"] })).rejects.toThrow(
    "main.city/1 is held: division by zero",
  );
  await made.db.query("alter table main.cities rename name to title");
  await made.search.markDirty({ type: "city", keys: ["2"] });
  await made.search.drainOnce();
  await expect(made.search.waitSearchable({ type: "city", keys: ["2"] })).rejects.toThrow(
    "main.city cannot be read",
  );
});

test("a drain at hand works all marks there are, of one schema or all, and says what brakes hold back", async () => {
  const made = await marking();
  await made.db.query("insert into branch.cities (id, name) values (1, 'Branch')");
  for (const schema of ["main", "branch"]) {
    await made.db.transaction((tx) => markWholeType(tx, schema, "city"));
  }
  expect(await made.search.drainOnce({ schema: "branch" })).toMatchObject({ objects: 1 });
  expect(await names(made)).toEqual(["branch.city 1 name.0 = Branch"]);
  await made.db.transaction((tx) =>
    setBrake(tx, { appliesTo: "queue", name: "index", reason: "an incident", by: "test" }),
  );
  expect(await made.search.drainOnce()).toMatchObject({ objects: 0, left: true });
  await made.holdfast.brake.lift("queue", "index");
  expect(await made.search.drainOnce()).toMatchObject({ left: false });
  expect(await indexed(made.db)).toEqual(await rebuilt(made.db, made.config));
});

test("what is marked while there is no worker waits, and is worked when there is one", async () => {
  const made = await marking();
  await appendIndexMarks(made.db, "main", "city", ["1", "2"]);
  await made.db.query("delete from main.cities where id = 2");
  await made.drained();
  expect(await indexed(made.db)).toEqual(await rebuilt(made.db, made.config));
});
