import fc from "fast-check";
import { expect, test } from "vitest";
import type { Entity, Fields } from "../../contracts/inventory.ts";
import { ingest, type Ingest } from "../../db/inbox.ts";
import type { Db } from "../../db/pool.ts";
import { entityIdentity } from "../../domain/inventory-identity.ts";
import { fresh } from "../support/fresh.ts";
import { SMALL_REGISTRY } from "../support/inventory-feeds.ts";

const NAMES = ["n0", "n1", "n2", "n3", "n4"];
const owner = (name: string, level = 1): Entity => ({
  type: "owner",
  fields: { name, level },
  warnings: [],
});
const identityOf = (name: string) => entityIdentity(SMALL_REGISTRY, owner(name));
const reject = { no: 1, code: "not-json", issues: [{ path: "line", message: "is none" }] };

const take = (db: Db, entities: Entity[], more: Partial<Ingest> = {}) =>
  db.transaction((tx) =>
    ingest(tx, SMALL_REGISTRY, { tenant: "a", branch: "main", source: "test", entities, ...more }),
  );
const snapshot = (db: Db, names: string[], more: Partial<Ingest> = {}) =>
  take(
    db,
    names.map((name) => owner(name)),
    { snapshot: { scope: "s" }, ...more },
  );

interface Member {
  identity: string;
  missing: boolean;
  removal: string | null;
}

async function membersOf(db: Db): Promise<Map<string, Member>> {
  const { rows } = await db.query<Member>(
    `select encode(identity, 'hex') as identity, missing_since is not null as missing, removal
       from holdfast.scope_members where scope = 's'`,
  );
  return new Map(rows.map((row) => [row.identity, row]));
}

const missingOf = async (db: Db) => {
  const members = await membersOf(db);
  return NAMES.filter((name) => members.get(identityOf(name))?.missing);
};

/** What upkeep does when the grace period is over, and what may have become of it by now. */
async function remove(db: Db, name: string, state: number): Promise<string> {
  const { rows } = await db.query<{ id: string }>(
    `with removal as (
       insert into holdfast.entities (id, tenant, branch, request, type, identity, hash, fields,
                                      removal, state, settled_at)
       select nextval('holdfast.entity_ids'), 'a', 'main', e.request, e.type, e.identity, e.hash, e.fields,
              true, $2::smallint, case when $2::int = 3 then now() end
         from holdfast.scope_members m join holdfast.entities e on e.id = m.entity
        where m.identity = decode($1, 'hex')
       returning id, identity)
     update holdfast.scope_members m set removal = r.id from removal r
      where m.identity = r.identity returning m.removal as id`,
    [identityOf(name), state],
  );
  return rows[0]!.id;
}

const stateOf = async (db: Db, id: string) =>
  (await db.query<{ state: number }>("select state from holdfast.entities where id = $1", [id]))
    .rows[0]!.state;

test("what a snapshot no longer names is missing since then, and is not when it is named again", async () => {
  const { db } = await fresh();
  expect(await snapshot(db, ["n0", "n1", "n2"])).toMatchObject({
    snapshot: { scope: "s", branch: "main", members: 3, missing: 0, graceSeconds: 86_400 },
  });
  expect((await snapshot(db, ["n0"])).snapshot).toMatchObject({ members: 1, missing: 2 });
  const since = () =>
    db.query("select identity, missing_since from holdfast.scope_members order by identity");
  const before = (await since()).rows;
  // Missing once more is not missing since later.
  expect((await snapshot(db, ["n0"])).snapshot).toMatchObject({ missing: 0 });
  expect((await since()).rows).toEqual(before);
  await snapshot(db, ["n0", "n1"]);
  expect(await missingOf(db)).toEqual(["n2"]);
});

test("a snapshot of which a part was rejected lets nothing be missing, and says so", async () => {
  const { db } = await fresh();
  await snapshot(db, ["n0", "n1"]);
  const broken = await snapshot(db, ["n0"], { rejects: [reject] });
  expect(broken).toMatchObject({ rejected: 1, snapshot: { members: 1, missing: null } });
  expect(await missingOf(db)).toEqual([]);
});

test("a snapshot of nothing is refused and changes nothing, unless that is meant", async () => {
  const { db } = await fresh();
  await snapshot(db, ["n0"]);
  await expect(snapshot(db, [])).rejects.toThrow(/names nothing.*allow it/);
  expect(await missingOf(db)).toEqual([]);
  const { rows } = await db.query("select from holdfast.ingest_requests");
  expect(rows).toHaveLength(1);
  const meant = await snapshot(db, [], { snapshot: { scope: "s", allowEmpty: true } });
  expect(meant.snapshot).toMatchObject({ members: 0, missing: 1 });
});

test("what is nested in a snapshot is seen, but is no member by that", async () => {
  const { db } = await fresh();
  const box = (inner: Fields): Entity => ({
    type: "box",
    fields: { asset: "a1", kind: "big", ...inner },
    warnings: [],
  });
  const scope = { snapshot: { scope: "s" } };
  await take(db, [owner("n0"), owner("n1"), box({})], scope);
  await take(db, [box({ owner: { name: "n1" } })], scope);
  expect(await missingOf(db)).toEqual(["n0"]);
  await take(db, [box({ owner: { name: "n4" } })], scope);
  expect(await missingOf(db)).toEqual(["n0", "n1"]);
  expect((await membersOf(db)).size).toBe(3);
});

test("scopes, branches and tenants know nothing of one another", async () => {
  const { db } = await fresh();
  await snapshot(db, ["n0"]);
  for (const more of [{ branch: "next" }, { tenant: "b" }, { snapshot: { scope: "other" } }]) {
    expect((await snapshot(db, ["n1"], more)).snapshot).toMatchObject({ missing: 0 });
  }
  expect(await missingOf(db)).toEqual([]);
});

test("two snapshots of a scope at once leave exactly what the later one says", async () => {
  const { db } = await fresh();
  await snapshot(db, NAMES);
  await Promise.all(
    Array.from({ length: 8 }, (_, no) => snapshot(db, no % 2 === 0 ? ["n0", "n1"] : ["n2", "n3"])),
  );
  const { rows } = await db.query<{ last: string }>(
    `select m.request as last from holdfast.inventory_scopes m where scope = 's'`,
  );
  const { rows: named } = await db.query<{ identity: string }>(
    `select encode(identity, 'hex') as identity from holdfast.scope_members where request = $1`,
    [rows[0]!.last],
  );
  const present = new Set(named.map(({ identity }) => identity));
  expect(present.size).toBe(2);
  const absent = NAMES.filter((name) => !present.has(identityOf(name)));
  expect(await missingOf(db)).toEqual(absent);
});

type Step =
  | { do: "snapshot"; names: string[]; broken: boolean }
  | { do: "feed"; names: string[] }
  | { do: "remove"; name: string; state: 1 | 2 | 3 };

const names = fc.uniqueArray(fc.constantFrom(...NAMES), { minLength: 1 });
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    fc.record({ do: fc.constant("snapshot" as const), names, broken: fc.boolean() }),
    fc.record({ do: fc.constant("feed" as const), names }),
    fc.record({
      do: fc.constant("remove" as const),
      name: fc.constantFrom(...NAMES),
      state: fc.constantFrom(1 as const, 2 as const, 3 as const),
    }),
  ),
  { minLength: 1, maxLength: 12 },
);

test("whatever comes in whatever order, members are as a model says", async () => {
  const { db } = await fresh();
  await fc.assert(
    fc.asyncProperty(steps, async (program) => {
      await db.query(`truncate holdfast.entities, holdfast.entity_copies, holdfast.ingest_requests,
        holdfast.inventory_scopes, holdfast.scope_members, holdfast.inbox_rejects`);
      const model = new Map<string, { missing: boolean; removal?: string; state?: number }>();
      const removals = new Map<string, number>();
      const seen = (name: string) => {
        const { removal, state } = model.get(name) ?? {};
        if (removal !== undefined && state !== 3) removals.set(removal, 11);
      };
      for (const step of program) {
        if (step.do === "snapshot") {
          await take(
            db,
            step.names.map((name) => owner(name, step.names.length % 2)),
            { snapshot: { scope: "s" }, ...(step.broken && { rejects: [reject] }) },
          );
          for (const name of step.names) {
            seen(name);
            model.set(name, { missing: false });
          }
          if (step.broken) continue;
          for (const [name, member] of model) {
            if (!step.names.includes(name)) member.missing = true;
          }
        } else if (step.do === "feed") {
          await take(
            db,
            step.names.map((name) => owner(name, step.names.length % 2)),
          );
          for (const name of step.names) {
            seen(name);
            if (model.get(name)?.removal !== undefined) model.set(name, { missing: false });
          }
        } else {
          const member = model.get(step.name);
          if (!member?.missing || member.removal !== undefined) continue;
          const removal = await remove(db, step.name, step.state);
          Object.assign(member, { removal, state: step.state });
          removals.set(removal, step.state);
        }
      }
      const members = await membersOf(db);
      const found = [...members.values()].map((one) => [one.identity, one.missing, one.removal]);
      const wanted = [...model].map(([name, { missing, removal }]) => [
        identityOf(name),
        missing,
        removal ?? null,
      ]);
      expect(found.toSorted()).toEqual(wanted.toSorted());
      for (const [id, state] of removals) expect(await stateOf(db, id)).toBe(state);
    }),
    { numRuns: 30 },
  );
});
