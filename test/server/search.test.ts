import { expect, test } from "vitest";
import type { SearchPage } from "../../client/index.ts";
import { createInventory, fillIndexes, INVENTORY_TYPES } from "../support/searching.ts";
import { problemOf, serving, type Serving } from "./serving.ts";

const config = { search: { types: INVENTORY_TYPES, builtIn: false } };

async function withInventory(): Promise<Serving> {
  const server = await serving({ config });
  const { db } = server.holdfast;
  await createInventory(db, "public");
  await db.query(
    `insert into sites (id, name, tenant)
     select i, 'hall ' || i, case when i % 2 = 0 then 'acme' else 'other' end
       from generate_series(1, 30) i`,
  );
  await db.query(
    "insert into devices (id, name, comments) values (1, 'hall switch', 'in the hall')",
  );
  await fillIndexes(db, config, "public");
  return server;
}

test("search answers page by page, within the types and fields that are named", async () => {
  await using server = await withInventory();
  const key = await server.key("viewer");
  const ask = async (query: string) => {
    const answer = await server.ask("GET", `/v1/search?${query}`, { key });
    expect(answer.status).toBe(200);
    return (await answer.json()) as SearchPage;
  };
  const keys = new Set<string>();
  let next: string | undefined = "";
  while (next !== undefined) {
    const page = await ask(`text=hall&limit=7${next && `&after=${next}`}`);
    for (const { type, key } of page.items) keys.add(`${type} ${key}`);
    expect(page.total).toBe(31);
    next = page.next;
  }
  expect(keys.size).toBe(31);
  expect((await ask("text=hall&type=device&type=port")).total).toBe(1);
  expect((await ask("text=hall&field=comments&lookup=words")).items).toMatchObject([
    { type: "device", field: "comments" },
  ]);
  const viewer = encodeURIComponent(JSON.stringify({ tenants: ["acme"] }));
  expect((await ask(`text=hall&type=site&viewer=${viewer}`)).total).toBe(15);
});

test("a key of some tenants finds and counts what is theirs, whatever viewer it names", async () => {
  await using server = await withInventory();
  const key = await server.key("viewer", ["other"]);
  for (const viewer of ["", `&viewer=${encodeURIComponent('{"tenants":["acme"]}')}`]) {
    const answer = await server.ask("GET", `/v1/search?text=hall${viewer}`, { key });
    expect(((await answer.json()) as SearchPage).total).toBe(15);
  }
  const types = await server.ask("GET", "/v1/search/types", { key });
  expect(
    ((await types.json()) as { items: { name: string }[] }).items.map(({ name }) => name),
  ).toEqual(["site", "device"]);
});

test("what cannot be searched is refused by name", async () => {
  await using server = await withInventory();
  const key = await server.key("viewer");
  for (const [query, status, detail] of [
    ["", 400, "query: text"],
    ["text=(&lookup=regex", 400, "text: is no regular expression"],
    ["text=x&type=house", 400, 'types[0]: "house" is no type: there are site, device, port'],
    ["text=x&lookup=fuzzy", 400, "query: lookup"],
    ["text=x&viewer=[1]", 400, "query: viewer: must be a JSON object"],
    ["text=x&schema=nowhere", 400, 'schema: no index is in "nowhere"'],
    ["text=x&colour=red", 400, "unknown field colour"],
  ] as const) {
    const answer = await server.ask("GET", `/v1/search?${query}`, { key });
    expect(answer.status, query).toBe(status);
    expect((await problemOf(answer)).detail).toContain(detail);
  }
  await using empty = await serving({ auth: "off" });
  const none = await empty.ask("GET", "/v1/search?text=x");
  expect([none.status, (await problemOf(none)).code]).toEqual([409, "search-not-installed"]);
});

test("the status names every index, and what is wrong with each with the next step", async () => {
  await using server = await withInventory();
  const { db } = server.holdfast;
  await db.query("update holdfast.search_indexes set definition = '' where type = 'site'");
  await db.query("delete from holdfast.search_indexes where type = 'port'");
  const answer = await server.ask("GET", "/v1/search/status", { key: await server.key("viewer") });
  const { indexes, lanes } = (await answer.json()) as {
    indexes: { type: string; objects: number; installed: boolean; problems: string[] }[];
    lanes: unknown[];
  };
  expect(indexes.map(({ type, objects, installed }) => [type, objects, installed])).toEqual([
    ["device", 1, true],
    ["site", 30, true],
    ["port", 0, false],
  ]);
  expect(indexes[0]!.problems).toEqual([]);
  expect(indexes[1]!.problems[0]).toContain("holdfast search reindex --type site --schema public");
  expect(indexes[2]!.problems[0]).toContain("holdfast search install --type port --schema public");
  expect(lanes).toHaveLength(4);
});

test("an audit answers a line for each page of each index, and only to an admin", async () => {
  await using server = await withInventory();
  await server.holdfast.db.query("delete from holdfast.index_rows where key = '7'");
  const refused = await server.ask("POST", "/v1/search/audit", {
    key: await server.key("operator"),
  });
  expect(refused.status).toBe(403);
  const answer = await server.ask("POST", "/v1/search/audit", {
    key: await server.key("admin"),
    json: { types: ["site"] },
  });
  const lines = (await answer.text())
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as object);
  expect(lines[0]).toMatchObject({
    type: "site",
    missing: 1,
    findings: [{ key: "7", kind: "missing" }],
  });
});
