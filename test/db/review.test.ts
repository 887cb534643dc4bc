import { expect, test } from "vitest";
import type { Entity, Fields } from "../../contracts/inventory.ts";
import { PlanRule } from "../../contracts/plan-rule.ts";
import { ingest } from "../../db/inbox.ts";
import { planAndApply, type PlanApplyOptions } from "../../db/plan-apply.ts";
import type { Db } from "../../db/pool.ts";
import { decide, judge, writeDecisions, type ReviewAct } from "../../db/review.ts";
import { fresh } from "../support/fresh.ts";
import { inventoryOf, statesOf } from "../support/inventory-database.ts";
import { SMALL_REGISTRY } from "../support/inventory-feeds.ts";

const place = { tenant: "a", branch: "main" };
const REVIEW: PlanApplyOptions = {
  mode: "plan-only",
  rules: [PlanRule.parse({ name: "all", decision: "apply" })],
};
const entity = (type: string, fields: Fields): Entity => ({ type, fields, warnings: [] });
const owner = (name: string, level = 1) => entity("owner", { name, level });

const take = (db: Db, ...entities: Entity[]) =>
  db.transaction((tx) => ingest(tx, SMALL_REGISTRY, { ...place, source: "test", entities }));
const plan = (db: Db, options = REVIEW) => planAndApply(db, SMALL_REGISTRY, place, options);
interface Target {
  branch?: string;
  types?: readonly string[];
  ids?: readonly string[];
  planHashes?: readonly string[];
}

const act = (db: Db, act: ReviewAct, { ids, planHashes, ...filter }: Target = {}) =>
  db.transaction(async (tx) => {
    const by = { act, by: "ada" };
    if (!ids) return decide(tx, { tenant: "a", ...filter }, by, { limit: 1_000 });
    const named = ids.map((id, no) => ({ id, seen: planHashes?.[no] }));
    const judged = await judge(tx, "a", act, named);
    const free = judged.flatMap(({ id, refused }) => (refused === undefined ? id : []));
    await writeDecisions(tx, free, by);
    return { decided: free.length };
  });
const ids = async (db: Db) =>
  (await db.query<{ id: string }>("select id from holdfast.entities order by id")).rows.map(
    ({ id }) => id,
  );
const hashes = async (db: Db) =>
  (
    await db.query<{ hash: string }>(
      "select encode(plan_hash, 'hex') as hash from holdfast.entities order by id",
    )
  ).rows.map(({ hash }) => hash);

test("without an approval nothing is applied; with one exactly what was approved", async () => {
  const { db } = await fresh();
  await take(db, owner("o1"), owner("o2"));
  expect(await plan(db)).toMatchObject({ open: 2, applied: 0 });
  const [first] = await ids(db);
  expect(await act(db, "approve", { ids: [first!] })).toEqual({ decided: 1 });
  expect(await plan(db)).toMatchObject({ claimed: 1, applied: 1 });
  expect(await statesOf(db, "a")).toEqual([3, 2]);
  const { rows } = await db.query(
    `select e.approved_hash = c.hash as same, e.decided_by
       from holdfast.entities e join holdfast.change_sets c on c.entity = e.id
      where c.applied_at is not null`,
  );
  expect(rows).toEqual([{ same: true, decided_by: "ada" }]);
});

test("an approval of a plan that is not the one that was seen is refused", async () => {
  const { db } = await fresh();
  await take(db, owner("o1"));
  await plan(db);
  const target = { ids: await ids(db), planHashes: ["00".repeat(32)] };
  expect(await act(db, "approve", target)).toEqual({ decided: 0 });
  expect(await act(db, "approve", { ...target, planHashes: await hashes(db) })).toEqual({
    decided: 1,
  });
});

test("what changed since approval is shown again and not applied", async () => {
  const { db } = await fresh();
  await take(db, owner("o1", 1));
  await plan(db);
  await act(db, "approve");
  await plan(db);
  await take(db, owner("o1", 2));
  await plan(db);
  await act(db, "approve");
  // Somebody edits the target between approval and apply.
  await db.query(
    `update holdfast.objects set data = data || '{"level": 7}', version = version + 1`,
  );
  expect(await plan(db)).toMatchObject({ claimed: 1, applied: 0, open: 1 });
  const { rows } = await db.query(
    "select state, approved_hash, error ->> 'fault' as fault from holdfast.entities where id = $1",
    [(await ids(db))[1]],
  );
  expect(rows).toEqual([{ state: 2, approved_hash: null, fault: "changed-since-approval" }]);
  const [object] = [...(await inventoryOf(db, place)).values()];
  expect(object!.data["level"]).toBe(7);
  await act(db, "approve");
  expect(await plan(db)).toMatchObject({ applied: 1 });
});

test("two plans that both make the same parent are applied on one approval of each", async () => {
  const { db } = await fresh();
  const port = (name: string) =>
    entity("port", { name, type: "copper", box: { asset: "a1", kind: "big" } });
  await take(db, port("e0"), port("e1"));
  await plan(db);
  expect(await act(db, "approve")).toEqual({ decided: 2 });
  expect(await plan(db)).toMatchObject({ applied: 2, open: 0 });
  expect((await inventoryOf(db, place)).size).toBe(3);
});

test("rejected and ignored stay so, and come back when reopened", async () => {
  const { db } = await fresh();
  await take(db, owner("o1"), owner("o2"));
  await plan(db);
  const [first, second] = await ids(db);
  await act(db, "reject", { ids: [first!] });
  await act(db, "ignore", { ids: [second!] });
  expect(await statesOf(db, "a")).toEqual([6, 6]);
  expect(await act(db, "approve")).toEqual({ decided: 0 });
  expect(await plan(db)).toMatchObject({ claimed: 0 });
  expect(await act(db, "reopen", { types: ["owner"] })).toEqual({ decided: 2 });
  expect(await plan(db)).toMatchObject({ open: 2 });
  expect(await act(db, "rediff")).toEqual({ decided: 2 });
  expect(await statesOf(db, "a")).toEqual([1, 1]);
});

test("of an approval and a rejection at once exactly one counts", async () => {
  const { db } = await fresh();
  await take(db, ...Array.from({ length: 40 }, (_, no) => owner(`o${no}`)));
  await plan(db);
  const answers = await Promise.all([
    act(db, "approve"),
    plan(db),
    act(db, "reject"),
    plan(db),
    act(db, "rediff"),
  ]);
  for (const left of [1, 2, 3]) expect((await plan(db)).claimed, `${left}`).toBeLessThanOrEqual(40);
  const { rows } = await db.query<{ wrong: number }>(
    `select count(*)::int as wrong from holdfast.entities e
      where (state in (3, 5)) <> exists (select from holdfast.change_sets c
                                    where c.entity = e.id and c.applied_at is not null)`,
  );
  expect(rows[0]!.wrong).toBe(0);
  expect(answers).toHaveLength(5);
  // Applied, and perhaps looked at once more.
  const applied = (await statesOf(db, "a")).filter((state) => [3, 5].includes(state)).length;
  expect((await inventoryOf(db, place)).size).toBe(applied);
});

test("a filter is decided page by page, and no row twice", async () => {
  const { db } = await fresh();
  await take(db, ...Array.from({ length: 25 }, (_, no) => owner(`o${no}`)));
  await plan(db);
  let decided = 0;
  for (let after: string | undefined = "0"; after !== undefined;) {
    const page = await decide(
      db,
      { tenant: "a", branch: "main" },
      { act: "approve", by: "ada" },
      { after, limit: 10 },
    );
    decided += page.decided;
    after = page.next;
  }
  expect(decided).toBe(25);
  expect(await plan(db)).toMatchObject({ applied: 25 });
});

test("a branch other than the one named is not decided about", async () => {
  const { db } = await fresh();
  await take(db, owner("o1"), { ...owner("o1"), branch: "next" });
  await plan(db);
  await planAndApply(db, SMALL_REGISTRY, { tenant: "a", branch: "next" }, REVIEW);
  expect(await act(db, "approve", { branch: "next" })).toEqual({ decided: 1 });
  expect(await plan(db)).toMatchObject({ claimed: 0 });
});

test("only the newest five change sets of an entity are kept", async () => {
  const { db } = await fresh();
  await take(db, owner("o1"));
  for (let round = 0; round < 8; round++) {
    await plan(db);
    await act(db, "rediff");
  }
  const { rows } = await db.query("select count(*)::int as n from holdfast.change_sets");
  expect(rows).toEqual([{ n: 5 }]);
});
