import { expect, test } from "vitest";
import type { EntityInput } from "../../contracts/inbox.ts";
import type { Accepted } from "../../contracts/operation.ts";
import type { Decided, Deviation, DeviationDetail } from "../../contracts/review.ts";
import { planAndApply } from "../../db/plan-apply.ts";
import { SMALL_REGISTRY } from "../support/inventory-feeds.ts";
import { PLANNED } from "../support/planning.ts";
import { reviewWorker } from "../support/reviewing.ts";
import { problemOf, serving, type Serving } from "./serving.ts";

interface Listed {
  items: Deviation[];
  next?: string;
}

async function jsonOf<T>(answer: Response, status = 200): Promise<T> {
  expect(answer.status, await answer.clone().text()).toBe(status);
  return (await answer.json()) as T;
}

/** Entities of tenant a, taken in and planned; answers the ids, oldest first. */
async function taken(server: Serving, ...entities: EntityInput[]): Promise<string[]> {
  await server.holdfast.inbox.ingest(entities, { tenant: "a" });
  await planDue(server);
  const { items } = await server.holdfast.review.list({ tenant: "a", order: "oldest" });
  return items.map(({ id }) => id);
}

function planDue({ holdfast }: Serving) {
  const place = { tenant: "a", branch: "main" };
  return planAndApply(holdfast.db, SMALL_REGISTRY, place, { mode: "plan-only", rules: [] });
}

const owners = (...names: string[]) => names.map((name) => said("owner", { name }));
const said = (type: string, fields: object): EntityInput => ({ object_type: type, entity: fields });

test("deviations are listed page by page, narrowed, and shown with what would change", async () => {
  await using server = await serving({ config: PLANNED });
  const key = await server.key("viewer");
  const ids = await taken(server, ...owners("o1", "o2", "o3"), said("place", { name: "p1" }));
  const list = async (query: string) =>
    jsonOf<Listed>(await server.ask("GET", `/v1/deviations?tenant=a${query}`, { key }));
  expect((await list("")).items.map(({ id }) => id)).toEqual(ids.toReversed());
  const first = await list("&limit=3");
  expect(first.items).toHaveLength(3);
  expect((await list(`&limit=3&after=${first.next}`)).items.map(({ id }) => id)).toEqual([ids[0]]);
  expect((await list("&type=place&type=box")).items.map(({ title }) => title)).toEqual([
    "Place p1 created",
  ]);
  expect((await list("&state=applied&state=failed")).items).toEqual([]);
  expect((await list("&text=OWNER%20o2")).items.map(({ id }) => id)).toEqual([ids[1]]);
  const detail = await jsonOf<DeviationDetail>(
    await server.ask("GET", `/v1/deviations/${ids[0]}`, { key }),
  );
  expect(detail).toMatchObject({
    state: "open",
    fields: { name: "o1" },
    changeSets: [{ hash: detail.planHash, changes: [{ kind: "create", after: { name: "o1" } }] }],
  });
});

test("a decision by ids says of each that stays why, and binds to the plan that was seen", async () => {
  await using server = await serving({ config: PLANNED });
  const key = await server.key("operator");
  const [o1, o2, o3] = (await taken(server, ...owners("o1", "o2", "o3"))) as [
    string,
    string,
    string,
  ];
  const decide = async (json: object) =>
    jsonOf<Decided>(
      await server.ask("POST", "/v1/deviations/decide", { key, json: { tenant: "a", ...json } }),
    );
  const { planHash } = await server.holdfast.review.get(o1);
  const planHashes = [planHash, "0".repeat(64), planHash];
  expect(await decide({ act: "approve", ids: [o1, o2, "999999"], planHashes })).toEqual({
    decided: 1,
    refused: [
      { id: o2, why: "its plan is another now: look again" },
      { id: "999999", why: "there is no such entity in tenant a" },
    ],
  });
  expect(await decide({ act: "reject", ids: [o1, o3], reason: "not ours" })).toMatchObject({
    decided: 2,
  });
  const { items } = await server.holdfast.review.list({ tenant: "a" });
  expect(items.map(({ id, approved }) => [id, approved])).toEqual([[o2, false]]);
  const all = { act: "approve", filter: { tenant: "a", types: ["owner"] }, reason: "looked at" };
  const byFilter = () => server.ask("POST", "/v1/deviations/decide", { key, json: all });
  expect(await jsonOf(await byFilter())).toEqual({ decided: 1, refused: [] });
  expect(await jsonOf(await byFilter())).toEqual({ decided: 0, refused: [] });
});

test("a review about all that a filter finds is an operation", async () => {
  await using server = await serving({ config: PLANNED });
  const key = await server.key("operator");
  await taken(server, ...owners("o1", "o2"));
  const json = { act: "approve", filter: { tenant: "a", types: ["owner"] } };
  const headers = { "Idempotency-Key": "k" };
  const post = () => server.ask("POST", "/v1/reviews", { key, headers, json });
  const posted = await post();
  expect(posted.headers.get("location")).toMatch(/^\/v1\/operations\//);
  const { id, total } = await jsonOf<Accepted>(posted, 202);
  expect(total).toBe(2);
  expect(await jsonOf(await post())).toMatchObject({ id, existing: true });
  const ref = {
    kind: "review",
    id,
    tenant: "a",
    scope: "",
    generation: 1,
    total,
    priority: 3,
  } as const;
  await reviewWorker(server.holdfast.db).whole(ref);
  expect(await planDue(server)).toMatchObject({ applied: 2 });
  const none = await server.ask("POST", "/v1/reviews", {
    key,
    json: { act: "approve", filter: { tenant: "a", all: true } },
  });
  expect(await problemOf(none)).toMatchObject({ status: 409, code: "nothing-to-decide" });
});

test("what is asked wrongly is one problem that names the field", async () => {
  await using server = await serving({ config: PLANNED });
  const key = await server.key("operator");
  const [o1] = await taken(server, ...owners("o1"));
  const cases: [string, object][] = [
    ["act", { ids: [o1] }],
    ["act", { act: "bless", ids: [o1] }],
    ["ids", { act: "approve" }],
    ["ids", { act: "approve", ids: [] }],
    ["names one id twice", { act: "approve", ids: [o1, o1] }],
    ["one hash for each", { act: "approve", ids: [o1], planHashes: [] }],
    ["narrows nothing", { act: "approve", filter: { tenant: "a" } }],
    ["filter", { act: "approve", filter: "all" }],
    ["ids", { act: "approve", filter: { all: true }, ids: [o1] }],
    ["tenant", { act: "approve", tenant: "a", filter: { all: true } }],
  ];
  for (const [says, json] of cases) {
    const answer = await server.ask("POST", "/v1/deviations/decide", { key, json });
    const problem = await problemOf(answer);
    expect(problem, JSON.stringify(json)).toMatchObject({ status: 400 });
    expect(problem.detail).toContain(says);
  }
  const narrow = await server.ask("POST", "/v1/reviews", {
    key,
    json: { act: "approve", filter: {} },
  });
  expect((await problemOf(narrow)).detail).toContain("say that all is meant");
  for (const query of ["state=odd", "limit=0", "limit=201", "after=x", "order=up", "nonsense=1"]) {
    const answer = await server.ask("GET", `/v1/deviations?${query}`, { key });
    expect((await problemOf(answer)).status, query).toBe(400);
  }
  expect((await server.ask("GET", "/v1/deviations/nonsense", { key })).status).toBe(400);
  const { items } = await server.holdfast.review.list({ tenant: "a" });
  expect(items).toMatchObject([{ id: o1, approved: false, decidedBy: null }]);
});

test("roles and tenants are asked for everything", async () => {
  await using server = await serving({ config: PLANNED });
  const [viewer, service] = await Promise.all(
    (["viewer", "service"] as const).map((role) => server.key(role)),
  );
  const theirs = await server.key("operator", ["b"]);
  const [o1] = await taken(server, ...owners("o1"));
  const decide = (key: string | undefined, json: object) =>
    server.ask("POST", "/v1/deviations/decide", { key, json });
  const approve = { act: "approve", tenant: "a", ids: [o1] };
  expect((await decide(undefined, approve)).status).toBe(401);
  expect((await decide(viewer, approve)).status).toBe(403);
  expect((await decide(service, approve)).status).toBe(403);
  expect((await decide(theirs, approve)).status).toBe(404);
  expect(await jsonOf(await decide(theirs, { act: "approve", ids: [o1] }))).toMatchObject({
    decided: 0,
  });
  const all = { act: "approve", filter: { tenant: "a", all: true } };
  expect((await decide(theirs, all)).status).toBe(404);
  for (const at of [`/v1/deviations/${o1}`, "/v1/deviations?tenant=a"]) {
    expect((await server.ask("GET", at)).status).toBe(401);
    expect((await server.ask("GET", at, { key: theirs })).status).toBe(404);
    expect((await server.ask("GET", at, { key: viewer! })).status).toBe(200);
  }
  const review = (key: string) => server.ask("POST", "/v1/reviews", { key, json: all });
  expect((await review(service!)).status).toBe(403);
  expect((await review(theirs)).status).toBe(404);
  const { items } = await server.holdfast.review.list({ tenant: "a" });
  expect(items).toMatchObject([{ approved: false }]);
});
