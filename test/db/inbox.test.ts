import fc from "fast-check";
import { expect, test } from "vitest";
import type { Entity, Fields } from "../../contracts/inventory.ts";
import { PlanRule } from "../../contracts/plan-rule.ts";
import { ingest, type Ingest } from "../../db/inbox.ts";
import { resolveBranch } from "../../db/inbox-entities.ts";
import { findIngestRequest } from "../../db/inbox-requests.ts";
import { planAndApply } from "../../db/plan-apply.ts";
import type { Db } from "../../db/pool.ts";
import { fresh } from "../support/fresh.ts";
import { statesOf } from "../support/inventory-database.ts";
import { SMALL_REGISTRY } from "../support/inventory-feeds.ts";

const entity = (type: string, fields: Fields): Entity => ({ type, fields, warnings: [] });
const a = entity("owner", { name: "o1", level: 1 });
const b = entity("owner", { name: "o1", level: 2 });
const other = entity("owner", { name: "o2" });
const AUTO = { mode: "auto", rules: [PlanRule.parse({ name: "all", decision: "apply" })] } as const;

const take = (db: Db, entities: Entity[], more: Partial<Ingest> = {}) =>
  db.transaction((tx) =>
    ingest(tx, SMALL_REGISTRY, { tenant: "a", branch: "main", source: "test", entities, ...more }),
  );
const apply = (db: Db) => planAndApply(db, SMALL_REGISTRY, { tenant: "a", branch: "main" }, AUTO);

test("a message that comes eight times at once is taken once, and all hear the same", async () => {
  const { db } = await fresh();
  const answers = await Promise.all(
    Array.from({ length: 8 }, () => take(db, [a, b, other], { messageId: "m" })),
  );
  expect(new Set(answers.map(({ request }) => request)).size).toBe(1);
  expect(answers.filter(({ repeated }) => !repeated)).toHaveLength(1);
  for (const answer of answers) expect(answer).toMatchObject({ received: 3, accepted: 3 });
  expect(await statesOf(db, "a")).toEqual([1, 1, 1]);
});

test("what a caller rolls back was never taken: the message is taken when it comes again", async () => {
  const { db } = await fresh();
  const given = { tenant: "a", branch: "main", source: "test", messageId: "m", entities: [a] };
  const broken = db.transaction(async (tx) => {
    await ingest(tx, SMALL_REGISTRY, given);
    throw new Error("not today");
  });
  await expect(broken).rejects.toThrow("not today");
  expect(await take(db, [a], { messageId: "m" })).toMatchObject({ repeated: false, accepted: 1 });
});

test("the same again is counted while it is to come, and queued again as new once it has ended", async () => {
  const { db } = await fresh();
  expect(await take(db, [a, a, a])).toMatchObject({ accepted: 1, copies: 2 });
  const copy = await take(db, [a]);
  expect(copy).toMatchObject({ accepted: 0, copies: 1 });
  await apply(db);
  expect(await findIngestRequest(db, copy.request)).toMatchObject({ states: { applied: 1 } });
  expect(await take(db, [a])).toMatchObject({ accepted: 1, copies: 0 });
  await apply(db);
  expect(await statesOf(db, "a")).toEqual([3, 5]);
  const { rows } = await db.query("select origin from holdfast.entities order by id");
  expect(rows).toEqual([{ origin: null }, { origin: 3 }]);
});

test("one version, another, and the first again are three versions, and the first stands in the end", async () => {
  const { db } = await fresh();
  expect(await take(db, [a, b, a, a])).toMatchObject({ accepted: 3, copies: 1 });
  await apply(db);
  const { rows } = await db.query("select data ->> 'level' as level from holdfast.objects");
  expect(rows).toEqual([{ level: "1" }]);
});

test("a failed entity that is sent again gets another chance; an ignored one does not", async () => {
  const { db } = await fresh();
  await take(db, [a]);
  for (const [state, accepted] of [
    [4, 1],
    [7, 1],
    [6, 0],
    [5, 1],
  ] as const) {
    await db.query(
      `update holdfast.entities set state = $1, settled_at = now()
        where id = (select max(id) from holdfast.entities)`,
      [state],
    );
    expect(await take(db, [a])).toMatchObject({ accepted, copies: 1 - accepted });
  }
});

test("nothing is compared across branches or tenants", async () => {
  const { db } = await fresh();
  await take(db, [a]);
  expect(await take(db, [{ ...a, branch: "next" }])).toMatchObject({ accepted: 1 });
  expect(await take(db, [a], { tenant: "b" })).toMatchObject({ accepted: 1 });
  expect(await take(db, [a, a], { branch: null })).toMatchObject({ accepted: 2 });
  expect(await resolveBranch(db, "a", "main")).toBe(2);
  await apply(db);
  // Versions of `main` now, all three, of which the newest says it all; the one of `next` is to come.
  expect(await statesOf(db, "a")).toEqual([11, 1, 11, 3]);
});

test("rejects are kept raw beside what was taken, and the request adds up", async () => {
  const { db } = await fresh();
  const raw = Buffer.from([0, 255, 10]);
  const issues = [{ path: "line", message: "is not UTF-8" }];
  const answer = await take(db, [a], {
    rejects: [{ no: 2, code: "not-utf-8", issues, raw }],
  });
  expect(answer).toMatchObject({ received: 2, accepted: 1, rejected: 1 });
  const { rows } = await db.query("select no, code, issues, raw from holdfast.inbox_rejects");
  expect(rows).toEqual([{ no: 2, code: "not-utf-8", issues, raw }]);
});

test("producers at once leave one version of each in a row, by whichever way it is named", async () => {
  const { db } = await fresh();
  const feed = fc.sample(fc.constantFrom(a, b, other), 400);
  const messages = Array.from({ length: 40 }, (_, no) => feed.slice(no * 10, no * 10 + 10));
  const answers = await Promise.all(messages.map((message) => take(db, message)));
  const accepted = answers.reduce((sum, answer) => sum + answer.accepted, 0);
  const { rows } = await db.query<{ repeated: number; n: number }>(
    `select count(*)::int as n,
            count(*) filter (where hash = before)::int as repeated
       from (select hash, lag(hash) over (partition by identity order by id) as before
               from holdfast.entities) versions`,
  );
  expect(rows).toEqual([{ n: accepted, repeated: 0 }]);
});
