import { expect, test } from "vitest";
import { findingOf, foundSql } from "../../db/review-find.ts";
import { inventoryOf, statesOf } from "../support/inventory-database.ts";
import { place } from "../support/planning.ts";
import { owner, reviewing, said } from "../support/reviewing.ts";

test("a list shows what waits, newest first, page by page and by every filter", async () => {
  const { holdfast, take, plan, ids, db } = await reviewing();
  const first = await take(owner("o1"), owner("o2"), said("place", { name: "p1" }));
  await take(owner("o3"), said("port", { name: "e1", type: "copper" }));
  await plan();
  const [o1, o2, p1, o3, e1] = await ids();
  const { review } = holdfast;
  const found = async (filter?: Parameters<typeof review.list>[0]) =>
    (await review.list(filter)).items.map(({ id }) => id);

  expect(await found()).toEqual([e1, o3, p1, o2, o1]);
  expect(await found({ order: "oldest" })).toEqual([o1, o2, p1, o3, e1]);
  const page = await review.list({ limit: 2 });
  expect(page.items.map(({ id }) => id)).toEqual([e1, o3]);
  expect(await found({ limit: 2, after: page.next! })).toEqual([p1, o2]);
  expect(await found({ states: ["failed"] })).toEqual([e1]);
  expect(await found({ types: ["place"] })).toEqual([p1]);
  expect(await found({ request: first })).toEqual([p1, o2, o1]);
  expect(await found({ text: "OWNER O3" })).toEqual([o3]);
  expect(await found({ branch: "other" })).toEqual([]);
  expect(await found({ tenant: "other" })).toEqual([]);
  expect(await found({ rule: "none" })).toEqual([]);
  expect(await found({ states: ["applied"] })).toEqual([]);
  await review.decide({ act: "approve", ids: [o1!] });
  await plan();
  expect(await found({ states: ["applied"] })).toEqual([o1]);
  expect(await found({ states: ["applied", "open"], types: ["owner"] })).toEqual([o3, o2, o1]);
  await db.query("update holdfast.entities set rule = 'r' where id = $1", [o2]);
  expect(await found({ rule: "r" })).toEqual([o2]);
});

test("one entity is shown with what would change, its older plans and its other versions", async () => {
  const { holdfast, take, plan, ids } = await reviewing();
  await take(owner("o1", 1));
  await plan();
  await holdfast.review.decide({ act: "approve", ids: await ids() });
  await plan();
  await take(owner("o1", 9_007_199_254_740_993n as never));
  await plan();
  const [first, second] = await ids();
  const detail = await holdfast.review.get(second!);
  expect(detail).toMatchObject({
    title: "Owner o1 modified",
    state: "open",
    changes: { create: 0, update: 1, delete: 0 },
    fields: { level: 9_007_199_254_740_993n },
    changeSets: [{ changes: [{ before: { level: 1 }, after: { level: 9_007_199_254_740_993n } }] }],
    versions: [{ id: first, state: "applied" }],
  });
  await expect(holdfast.review.get("999999")).rejects.toMatchObject({ code: "not-found" });
  await expect(
    holdfast.as({ actor: "eve", tenants: ["other"] }).review.get(second!),
  ).rejects.toMatchObject({ code: "not-found" });
});

test("of many that are named, each that stays as it is says why", async () => {
  const { holdfast, take, plan, ids, db } = await reviewing();
  await take(...["o1", "o2", "o3", "o4", "o5"].map((name) => owner(name)));
  await plan();
  const [o1, o2, o3, o4, o5] = (await ids()) as [string, string, string, string, string];
  const { review } = holdfast;
  await review.decide({ act: "approve", ids: [o1] });
  await review.decide({ act: "reject", ids: [o2] });
  await review.decide({ act: "rediff", ids: [o3] });
  const { planHash } = await review.get(o4);
  const answer = await review.decide({
    act: "approve",
    ids: [o1, o2, o3, o4, o5, "999999"],
    planHashes: [planHash!, planHash!, planHash!, planHash!, "00".repeat(32), planHash!],
  });
  expect(answer.decided).toBe(1);
  expect(Object.fromEntries(answer.refused.map(({ id, why }) => [id, why]))).toEqual({
    [o1]: expect.stringMatching(/^approved already by test at \d{4}-/),
    [o2]: expect.stringMatching(/^rejected or ignored already by test at .*: reopen it first$/),
    [o3]: expect.stringContaining("to be planned"),
    [o5]: "its plan is another now: look again",
    "999999": expect.stringContaining("no such entity"),
  });
  const { rows } = await db.query(
    "select action, after ->> 'decided' as n from holdfast.audit order by id",
  );
  expect(rows).toEqual([
    { action: "review.approve", n: "1" },
    { action: "review.reject", n: "1" },
    { action: "review.rediff", n: "1" },
    { action: "review.approve", n: "1" },
  ]);
});

test("a filter decides about what is there now, and not about what comes or is planned meanwhile", async () => {
  const { holdfast, take, plan, db } = await reviewing();
  await take(...Array.from({ length: 30 }, (_, no) => owner(`o${no}`)));
  await take(said("place", { name: "p1" }));
  await plan();
  const { review } = holdfast;
  await expect(review.decideAll("approve", {})).rejects.toMatchObject({ code: "invalid-input" });
  expect(await review.decideAll("approve", { types: ["owner"] })).toEqual({ decided: 30 });
  expect(await review.decideAll("approve", { types: ["owner"] })).toEqual({ decided: 0 });
  expect(await review.decideAll("reject", { all: true }, { reason: "no" })).toEqual({
    decided: 31,
  });
  expect(new Set(await statesOf(db, "default"))).toEqual(new Set([6]));
  expect(await review.decideAll("reopen", { types: ["place"] })).toEqual({ decided: 1 });
  const { rows } = await db.query<{ n: number }>("select count(*)::int as n from holdfast.audit");
  expect(rows[0]!.n).toBe(3);
});

test("a decision about another tenant's entity finds nothing", async () => {
  const { holdfast, take, plan, ids } = await reviewing();
  await take(owner("o1"));
  await plan();
  const eve = holdfast.as({ actor: "eve", tenants: ["other"] });
  const [o1] = await ids();
  expect(await eve.review.decide({ act: "approve", ids: [o1!] })).toMatchObject({ decided: 0 });
  expect(await eve.review.decideAll("approve", { all: true })).toEqual({ decided: 0 });
  await expect(
    eve.review.decide({ act: "approve", tenant: "default", ids: [o1!] }),
  ).rejects.toMatchObject({ code: "not-found" });
});

test("of an approval and a rediff at once, only what was approved is applied, and only then", async () => {
  const { holdfast, take, plan, ids, db } = await reviewing();
  const { review } = holdfast;
  let applied = 0;
  for (let round = 0; round < 12; round++) {
    await take(owner(`o${round}`, 1));
    await plan();
    const id = (await ids()).at(-1)!;
    const [approved, rediffed] = await Promise.all([
      review.decide({ act: "approve", ids: [id] }),
      review.decide({ act: "rediff", ids: [id] }),
    ]);
    // Which of them was first decides; what is queued by then cannot be approved.
    expect(rediffed.decided).toBe(1);
    expect(approved.decided + approved.refused.length).toBe(1);
    expect(await plan()).toMatchObject({ claimed: 1, applied: approved.decided });
    applied += approved.decided;
  }
  expect((await inventoryOf(db, place)).size).toBe(applied);
});

test("pages of open entities are read from their small index, whatever has ended", async () => {
  const { holdfast, take, plan, db } = await reviewing();
  await take(...Array.from({ length: 60 }, (_, no) => owner(`o${no}`)));
  await plan();
  await db.query(
    `insert into holdfast.entities (id, tenant, branch, request, type, identity, hash, fields, state, settled_at)
     select nextval('holdfast.entity_ids'), 'default', 'main', gen_random_uuid(), 'owner', '\\x00', '\\x00', '{}', 3,
            clock_timestamp() from generate_series(1, 50000)`,
  );
  await db.query("analyze holdfast.entities");
  const reads = async () => {
    const page = { limit: 50, newest: true };
    const finding = findingOf(
      { tenant: "default", states: ["open", "failed"], types: ["owner"] },
      page,
    );
    const { rows } = await db.query<{ "QUERY PLAN": string }>(
      `explain (analyze, buffers, costs off, timing off) with ${foundSql(finding, page).sql} select * from found`,
      finding.values,
    );
    return rows.map((row) => row["QUERY PLAN"]).join("\n");
  };
  const text = await reads();
  expect(text).toContain("entities_open");
  expect(text).not.toContain("Seq Scan on entities");
  expect((await holdfast.review.list()).items).toHaveLength(50);
});
