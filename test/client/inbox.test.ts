import { onTestFinished, expect, test, vi } from "vitest";
import { holdfastOver, LimitExceeded, TimedOut, TooLarge } from "../../client/index.ts";
import { newContext } from "../../client/context.ts";
import type { EntityInput } from "../../contracts/inbox.ts";
import { INBOX_LIMITS } from "../../contracts/inbox.ts";
import { setSettings } from "../../db/inventory-settings.ts";
import { planAndApply } from "../../db/plan-apply.ts";
import { registryOf } from "../../db/inventory-settings.ts";
import { PlanRule } from "../../contracts/plan-rule.ts";
import type { Db } from "../../db/pool.ts";
import { fresh } from "../support/fresh.ts";

const AT = "2026-03-01T00:00:00.123456789Z";
const site = (name: string, more = {}) => ({ timestamp: AT, site: { name, ...more } });
const line = (value: unknown) => `${JSON.stringify(value)}\n`;

async function* upload(...chunks: (string | Uint8Array)[]) {
  yield* chunks;
}

const rowsIn = async (db: Db) =>
  (
    await db.query<{ requests: number; entities: number; rejects: number }>(
      `select (select count(*)::int from holdfast.ingest_requests) as requests,
              (select count(*)::int from holdfast.entities) as entities,
              (select count(*)::int from holdfast.inbox_rejects) as rejects`,
    )
  ).rows[0];

const AUTO = { mode: "auto", rules: [PlanRule.parse({ name: "all", decision: "apply" })] } as const;
const apply = (db: Db, branch = "main") =>
  planAndApply(db, registryOf({}, "network"), { tenant: "default", branch }, AUTO);

test("both shapes of a line are taken, with everything that is no part of them dropped", async () => {
  const { db, holdfast } = await fresh();
  const answer = await holdfast.inbox.ingestLines(
    upload(
      `\ufeff${JSON.stringify(site("a"))}\r\n\r\n   \n`,
      line({ object_type: "dcim.site", entity: { name: "b" }, branch: "next" }),
      line({ objectType: "site", entity: { site: { name: "c" } }, timestamp: AT }),
      JSON.stringify(site("d\u2028e")),
    ),
  );
  expect(answer).toMatchObject({ received: 4, accepted: 4, rejected: 0, repeated: false });
  const { rows } = await db.query(
    "select branch, fields ->> 'name' as name, source_time from holdfast.entities order by 2",
  );
  expect(rows).toEqual([
    { branch: "main", name: "a", source_time: AT },
    { branch: "next", name: "b", source_time: null },
    { branch: "main", name: "c", source_time: AT },
    { branch: "main", name: "d\u2028e", source_time: AT },
  ]);
});

test("each wrong line is told by number, code and field with its raw bytes, and its siblings land", async () => {
  const { holdfast } = await fresh();
  const bad: [string, string, string | Uint8Array][] = [
    ["not-json", "line", "{garbage"],
    ["not-utf-8", "line", Buffer.from([0x7b, 0xff, 0x7d])],
    ["unknown-type", "line", JSON.stringify({ timestamp: AT, spaceship: { name: "x" } })],
    ["two-types", "line", JSON.stringify({ ...site("x"), rack: { name: "r" } })],
    ["timestamp", "timestamp", JSON.stringify({ timestamp: "yesterday", site: { name: "x" } })],
    ["branch", "branch", JSON.stringify({ ...site("x"), branch: 7 })],
    ["fields", "site.name", JSON.stringify({ timestamp: AT, site: { name: 5 } })],
    ["fields", "site.name", JSON.stringify(site("nul \0"))],
    ["fields", "site.name", `{"timestamp":"${AT}","site":{"name":"half \\ud800"}}`],
    ["fields", "site.name", JSON.stringify(site("k".repeat(3_000)))],
    ["missing-identity", "site", JSON.stringify({ timestamp: AT, site: { slug: "x" } })],
    ["too-long", "line", JSON.stringify(site("x", { comments: "z".repeat(1024 * 1024) }))],
  ];
  const chunks = bad.flatMap(([, , raw], no) => [raw, "\n", line(site(`good ${no}`))]);
  const answer = await holdfast.inbox.ingestLines(upload(...chunks));
  expect(answer).toMatchObject({ accepted: bad.length, rejected: bad.length });
  const { items } = await holdfast.inbox.rejects(answer.request, { limit: 100 });
  expect(items.map(({ no, code, issues }) => [no, code, issues[0]!.path])).toEqual(
    bad.map(([code, path], no) => [2 * no + 1, code, path]),
  );
  for (const [no, [, , raw]] of bad.entries()) {
    const wanted = typeof raw === "string" ? raw : Buffer.from(raw).toString("utf8");
    expect(items[no]!.raw).toBe(wanted.slice(0, 1024 * 1024 + 1));
    expect(items[no]!.issues[0]!.message).not.toBe("");
  }
  expect(items[10]!.issues[0]!.message).toContain("give name");
  expect(items[11]!.issues[0]!.message).toContain("only its beginning is kept");
  const page = await holdfast.inbox.rejects(answer.request, { limit: 5, after: "9" });
  expect(page.items.map(({ no }) => no)).toEqual([11, 13, 15, 17, 19]);
});

test("what no JSON could say is a reject of its own when a program sends it", async () => {
  const { db, holdfast } = await fresh();
  const self: Record<string, unknown> = { name: "self" };
  self["custom_fields"] = { self };
  const answer = await holdfast.inbox.ingest([
    { timestamp: AT, site: self },
    { timestamp: AT, site: { name: () => "x" } },
    { timestamp: AT, site: { name: "x", custom_fields: { n: Number.NaN } } },
    null as unknown as EntityInput,
    {
      timestamp: new Date(AT),
      site: { name: "dated", custom_fields: { big: 2n ** 70n, no: undefined } },
    },
    { timestamp: AT, tag: JSON.parse('{"name":"t","__proto__":{"polluted":1}}') },
  ]);
  expect(answer).toMatchObject({ accepted: 2, rejected: 4 });
  const { rows } = await db.query<{ big: string }>(
    `select fields -> 'custom_fields' ->> 'big' as big from holdfast.entities order by id limit 1`,
  );
  expect(rows).toEqual([{ big: String(2n ** 70n) }]);
  const { items } = await holdfast.inbox.list();
  expect((await holdfast.inbox.get(items.at(-1)!.id)).fields["custom_fields"]).toEqual({
    big: 2n ** 70n,
  });
});

test("an upload that breaks off leaves nothing, nor does one whose transaction fails", async () => {
  const { db, holdfast } = await fresh();
  async function* broken() {
    yield line(site("a"));
    throw new Error("gone");
  }
  await expect(holdfast.inbox.ingestLines(broken())).rejects.toThrow("gone");
  const rolledBack = db.transaction(async (tx) => {
    await holdfast.inbox.ingest([site("a")], { tx });
    throw new Error("not today");
  });
  await expect(rolledBack).rejects.toThrow("not today");
  expect(await rowsIn(db)).toEqual({ requests: 0, entities: 0, rejects: 0 });
});

test("in a caller's transaction a refused snapshot leaves the rest of it as it was", async () => {
  const { db, holdfast } = await fresh();
  await db.transaction(async (tx) => {
    await holdfast.inbox.ingest([site("a")], { tx });
    const empty = holdfast.inbox.ingest([], { tx, snapshot: { scope: "s" } });
    await expect(empty).rejects.toThrow("names nothing");
  });
  expect(await rowsIn(db)).toEqual({ requests: 1, entities: 1, rejects: 0 });
});

test("a message that comes again is answered as the first time, also when there is no room", async () => {
  const { db, holdfast } = await fresh({ inventory: { maxQueued: 3 } });
  const options = { source: "agent", messageId: "m1" };
  const first = await holdfast.inbox.ingest([site("a"), site("b"), site("c")], options);
  await expect(holdfast.inbox.ingest([site("d")])).rejects.toThrow(LimitExceeded);
  await expect(holdfast.inbox.ingestLines(upload(line(site("d"))))).rejects.toMatchObject({
    status: 429,
    retryAfterSeconds: expect.any(Number),
  });
  const same = upload(...["a", "b", "c"].map((name) => line(site(name))));
  const again = await holdfast.inbox.ingestLines(same, options);
  expect(again).toEqual({ ...first, repeated: true });
  const many = ["a", "b", "c", "d"].map((name) => site(name));
  await expect(holdfast.inbox.ingest(many)).rejects.toThrow(TooLarge);
  expect(await holdfast.inbox.ingest([site("d")], { tenant: "roomy" })).toMatchObject({
    accepted: 1,
  });
  expect((await rowsIn(db))!.entities).toBe(4);
});

test("a message whose id was used for something else is refused, whatever differs, and changes nothing", async () => {
  const { db, holdfast } = await fresh();
  const options = { source: "agent", messageId: "today.ndjson" };
  const first = await holdfast.inbox.ingest([site("a"), { nonsense: 1 }], options);
  const different = [
    [[site("a"), { nonsense: 2 }], options],
    [[site("b"), { nonsense: 1 }], options],
    [[site("a"), { nonsense: 1 }, site("c")], options],
    [[{ nonsense: 1 }, site("a")], options],
    [[], options],
    [[{ ...site("a"), branch: "next" }, { nonsense: 1 }], options],
    [[site("a"), { nonsense: 1 }], { ...options, branch: "next" }],
    [[site("a"), { nonsense: 1 }], { ...options, snapshot: { scope: "s" } }],
  ] as const;
  for (const [entities, of] of different) {
    await expect(holdfast.inbox.ingest(entities, of)).rejects.toMatchObject({
      status: 409,
      code: "key-reused",
      details: { request: first.request },
    });
  }
  expect(await holdfast.inbox.ingest([site("a"), { nonsense: 1 }], options)).toEqual({
    ...first,
    repeated: true,
  });
  expect(await rowsIn(db)).toEqual({ requests: 1, entities: 1, rejects: 1 });
});

test("an entity of a branch that cannot be is a reject of its own, and its siblings land", async () => {
  const { holdfast } = await fresh();
  const wrong = ["x\u0000", "\ud800", "x".repeat(201)].map((branch) => ({ ...site("a"), branch }));
  const entities = [site("b"), ...wrong, { ...site("c"), branch: "next" }];
  const counts = { accepted: 2, rejected: 3 };
  expect(await holdfast.inbox.ingest(entities)).toMatchObject(counts);
  const lines = upload(...entities.map(line));
  expect(await holdfast.inbox.ingestLines(lines, { tenant: "b" })).toMatchObject(counts);
});

test("a reject that was given as a program holds it keeps its integers", async () => {
  const { holdfast } = await fresh();
  const { request } = await holdfast.inbox.ingest([{ nonsense: 9_007_199_254_740_993n }]);
  const { items } = await holdfast.inbox.rejects(request);
  expect(items[0]!.raw).toBe('{"nonsense":9007199254740993}');
});

test("a cursor that is no instant is refused by name", async () => {
  const { holdfast } = await fresh();
  const id = "01990f3e-0000-7000-8000-000000000000";
  for (const at of [
    "2026-99-99T99:99:99.999999Z",
    "2026-02-31T00:00:00.000000Z",
    "0000-01-01T00:00:00.000000Z",
  ]) {
    await expect(holdfast.inbox.requests({ after: `${at}/${id}` })).rejects.toMatchObject({
      status: 400,
      issues: [{ path: "after" }],
    });
  }
});

test("a tenant that was full is let in again when it is clearly below its bound", async () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  onTestFinished(() => void vi.useRealTimers());
  const { db, holdfast } = await fresh({ inventory: { maxQueued: 20 } });
  await holdfast.inbox.ingest(Array.from({ length: 20 }, (_, no) => site(`s${no}`)));
  const one = () => holdfast.inbox.ingest([site("one more")]);
  await expect(one()).rejects.toThrow(/20 entities queued of at most 20/);
  const end = (n: number) =>
    db.query(
      `update holdfast.entities set state = 3, settled_at = now()
        where id in (select id from holdfast.entities where state = 1 order by id limit $1)`,
      [n],
    );
  vi.advanceTimersByTime(60_000);
  await expect(one()).rejects.toThrow(LimitExceeded);
  await end(1);
  vi.advanceTimersByTime(60_000);
  await expect(one()).rejects.toThrow(LimitExceeded);
  await end(4);
  vi.advanceTimersByTime(60_000);
  expect(await one()).toMatchObject({ accepted: 1 });
});

test("limits of one call are told with what to do", async () => {
  const { db, holdfast } = await fresh();
  const many = Array.from({ length: INBOX_LIMITS.entities + 1 }, () => site("a"));
  await expect(holdfast.inbox.ingest(many)).rejects.toMatchObject({ status: 413 });
  await expect(holdfast.inbox.ingest("x" as never)).rejects.toThrow("must be a list");
  await expect(holdfast.inbox.ingest([site("a")], { snapshot: { scope: "" } })).rejects.toThrow(
    "snapshot.scope",
  );
  await expect(holdfast.inbox.ingest([site("a")], { nonsense: 1 } as never)).rejects.toThrow(
    "unknown field nonsense",
  );
  expect((await rowsIn(db))!.requests).toBe(0);
  const branches = Array.from({ length: INBOX_LIMITS.branches + 2 }, (_, no) => ({
    ...site("a"),
    branch: `b${no}`,
  }));
  expect(await holdfast.inbox.ingest(branches)).toMatchObject({ rejected: 2 });
});

test("the first hundred branches that count are taken, whatever rejects name and however they are written", async () => {
  const { db, holdfast } = await fresh();
  const most = INBOX_LIMITS.branches;
  const wrong = Array.from({ length: most }, (_, no) => line({ ...site(""), branch: `w${no}` }));
  const named = Array.from({ length: most + 2 }, (_, no) =>
    line({ ...site("a"), branch: `b${no}` }).replace("branch", no % 2 ? "br\\u0061nch" : "branch"),
  );
  const answer = await holdfast.inbox.ingestLines(upload(...wrong, "\n", ...named, ...named));
  expect(answer).toMatchObject({ accepted: most, copies: most, rejected: most + 4 });
  const { items } = await holdfast.inbox.rejects(answer.request, { limit: 200 });
  expect(items.filter(({ code }) => code === "branch").map(({ no }) => no)).toEqual(
    [most + 1, most + 2, 2 * most + 3, 2 * most + 4].map((no) => most + no + 1),
  );
  const { rows } = await db.query("select distinct branch from holdfast.entities");
  expect(rows).toHaveLength(most);
  const alone = line({ ...site("b"), branch: "x" }).replace("branch", "\\u0062ranch");
  expect(await holdfast.inbox.ingestLines(upload(alone))).toMatchObject({ accepted: 1 });
});

test("a request tells what became of what it brought, and can be waited for", async () => {
  const { db, holdfast } = await fresh();
  const { request } = await holdfast.inbox.ingest([site("a"), site("a"), site("b")]);
  expect(await holdfast.inbox.request(request)).toMatchObject({
    received: 3,
    accepted: 2,
    copies: 1,
    states: { queued: 3 },
    settled: false,
    source: "sdk",
    by: "test",
  });
  const short = holdfast.inbox.wait(request, { timeoutMs: 50 });
  await expect(short).rejects.toThrow(TimedOut);
  const stop = new AbortController();
  const aborted = holdfast.inbox.wait(request, { signal: stop.signal });
  stop.abort();
  await expect(aborted).rejects.toMatchObject({ name: "AbortError" });
  const waiting = holdfast.inbox.wait(request);
  await apply(db);
  expect(await waiting).toMatchObject({ states: { applied: 3 }, settled: true });
  const open = await holdfast.inbox.ingest([site("c")]);
  await planAndApply(
    db,
    registryOf({}, "network"),
    { tenant: "default", branch: "main" },
    {
      mode: "plan-only",
      rules: [],
    },
  );
  expect(await holdfast.inbox.wait(open.request)).toMatchObject({ states: { open: 1 } });
});

test("what named no branch while none was known waits, and belongs to it once it is known", async () => {
  const { db, context } = await fresh();
  const config = {
    inventory: { targets: { lab: { url: "http://127.0.0.1:9" } } },
  } as unknown as (typeof context)["config"];
  const holdfast = holdfastOver(newContext({ db, config, actor: "test" }));
  await db.transaction((tx) => setSettings(tx, config, "default", { target: "lab" }, "test"));
  await holdfast.inbox.ingest([
    site("a"),
    { timestamp: AT, tag: { name: "t" }, branch: "known" },
    site("a"),
  ]);
  const branches = async () =>
    (await db.query("select branch from holdfast.entities order by type, id")).rows.map(
      ({ branch }) => branch,
    );
  expect(await branches()).toEqual([null, null, "known"]);
  await expect(holdfast.inbox.ingest([site("a")], { snapshot: { scope: "s" } })).rejects.toThrow(
    "branch: is not known yet",
  );
  expect((await holdfast.inbox.status())[0]).toMatchObject({
    branch: null,
    states: { queued: 2 },
  });
  expect(await holdfast.inbox.resolveBranch("default", "prod")).toBe(2);
  expect(await branches()).toEqual(["prod", "prod", "known"]);
});

test("the status counts what is to come, by branch, with its age, and shows who is held", async () => {
  const { db, holdfast } = await fresh();
  await holdfast.inbox.ingest([site("a"), site("b"), { ...site("c"), branch: "next" }]);
  await holdfast.inbox.ingest([site("d")], { tenant: "other" });
  await apply(db, "next");
  await db.query("update holdfast.entities set accepted_at = now() - interval '100 seconds'");
  await db.query(
    `insert into holdfast.inventory_guards (tenant, branch, objects, held_at, held_because)
     values ('default', 'next', 1, now(), 'too much changes')`,
  );
  const seen = await holdfast.inbox.status();
  expect(seen).toMatchObject([
    { tenant: "default", branch: "main", states: { queued: 2 }, held: null, mode: "plan-only" },
    { tenant: "default", branch: "next", states: {}, held: { because: "too much changes" } },
    { tenant: "other", branch: "main", states: { queued: 1 }, target: "inventory" },
  ]);
  expect(seen[0]!.lagSeconds).toBeGreaterThanOrEqual(100);
  expect(await holdfast.inbox.status({ tenant: "other" })).toHaveLength(1);
  const theirs = holdfast.as({ actor: "b", tenants: ["other"] });
  expect((await theirs.inbox.status()).map(({ tenant }) => tenant)).toEqual(["other"]);
});

test("other tenants' requests, entities and rejects are not there", async () => {
  const { holdfast } = await fresh();
  const { request } = await holdfast.inbox.ingest([site("a"), {}], { tenant: "a" });
  const { items } = await holdfast.inbox.list();
  const theirs = holdfast.as({ actor: "b", tenants: ["b"] }).inbox;
  await expect(theirs.request(request)).rejects.toMatchObject({ status: 404 });
  await expect(theirs.wait(request)).rejects.toMatchObject({ status: 404 });
  await expect(theirs.rejects(request)).rejects.toMatchObject({ status: 404 });
  await expect(theirs.get(items[0]!.id)).rejects.toMatchObject({ status: 404 });
  await expect(theirs.ingest([site("a")], { tenant: "a" })).rejects.toMatchObject({ status: 404 });
  await expect(theirs.requeue({ tenant: "a", state: "failed" })).rejects.toMatchObject({
    status: 404,
  });
  expect((await theirs.list()).items).toEqual([]);
  expect((await theirs.requests()).items).toEqual([]);
});

test("lists come page by page, newest first, and nothing is shown twice or left out", async () => {
  const { holdfast } = await fresh();
  const sent: string[] = [];
  for (let no = 0; no < 7; no++) {
    sent.push((await holdfast.inbox.ingest([site(`s${no}`)])).request);
  }
  const seen: string[] = [];
  for (let after: string | undefined, more = true; more;) {
    const page = await holdfast.inbox.requests({ limit: 3, ...(after && { after }) });
    seen.push(...page.items.map(({ request }) => request));
    after = page.next;
    more = after !== undefined;
  }
  expect(seen).toEqual(sent.toReversed());
  const first = await holdfast.inbox.list({ limit: 5 });
  const second = await holdfast.inbox.list({ limit: 5, after: first.next! });
  const ids = [...first.items, ...second.items].map(({ id }) => Number(id));
  expect(ids).toHaveLength(7);
  expect(ids).toEqual(ids.toSorted((a, b) => b - a));
  expect((await holdfast.inbox.list({ request: sent[3]! })).items).toHaveLength(1);
  expect((await holdfast.inbox.list({ state: "failed" })).items).toEqual([]);
  await expect(holdfast.inbox.requests({ after: "nonsense" })).rejects.toThrow("`next`");
});

test("what failed is planned again, unless a newer version stands for it; who did it is in the audit", async () => {
  const { db, holdfast } = await fresh();
  await holdfast.inbox.ingest([site("a", { slug: "1" }), site("b"), site("c")]);
  await db.query(
    `update holdfast.entities set state = 4, settled_at = now(), error = '{"message":"no"}'`,
  );
  await holdfast.inbox.ingest([site("a", { slug: "2" })]);
  const { items } = await holdfast.inbox.list({ state: "failed" });
  expect(items).toHaveLength(3);
  const [, b, a] = items.map(({ id }) => id);
  await expect(holdfast.inbox.requeue({})).rejects.toThrow("name ids, or a filter");
  expect(await holdfast.inbox.requeue({ ids: [a!, b!, "999999"] })).toEqual({
    requeued: 1,
    passedOver: 2,
  });
  expect(await holdfast.inbox.get(b!)).toMatchObject({ state: "queued", error: null });
  expect(await holdfast.inbox.requeue({ state: "failed", type: "site" })).toEqual({
    requeued: 1,
    passedOver: 1,
  });
  expect(await holdfast.inbox.requeue({ state: "failed" })).toEqual({ requeued: 0, passedOver: 1 });
  const { rows } = await db.query(
    `select actor, action, after -> 'requeued' as n from holdfast.audit
      where action = 'inbox.requeue' order by id`,
  );
  expect(rows).toEqual([
    { actor: "test", action: "inbox.requeue", n: 1 },
    { actor: "test", action: "inbox.requeue", n: 1 },
  ]);
});

test(
  "a hundred thousand lines are one message, and little of it is in memory at a time",
  { timeout: 180_000 },
  async () => {
    const { db, holdfast } = await fresh();
    const lines = 100_000;
    let most = 0;
    async function* large() {
      for (let no = 0; no < lines; no += 500) {
        most = Math.max(most, process.memoryUsage().arrayBuffers);
        yield Array.from({ length: 500 }, (_, at) =>
          line(site(`s${(no + at) % 60_000}`, { comments: "z".repeat(300) })),
        ).join("");
      }
    }
    const before = process.memoryUsage().arrayBuffers;
    const answer = await holdfast.inbox.ingestLines(large());
    expect(answer).toMatchObject({ received: lines, accepted: 60_000, copies: 40_000 });
    expect(most - before).toBeLessThan(64 * 1024 * 1024);
    expect(await rowsIn(db)).toEqual({ requests: 1, entities: 60_000, rejects: 0 });
    expect((await holdfast.inbox.request(answer.request)).states).toEqual({ queued: lines });
  },
);
