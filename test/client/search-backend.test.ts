import { expect, test } from "vitest";
import type { SearchBackend } from "../../contracts/search.ts";
import { searching, type Searching } from "../support/searching.ts";

type Item = Awaited<ReturnType<SearchBackend["search"]>>["items"][number];

/** A backend that finds what it is told to, and remembers what it was asked. */
function answering(items: Item[], total = items.length) {
  const asked: { text: string; schema: string; types: readonly string[] }[] = [];
  const backend: SearchBackend = {
    search: async ({ text }, { schema, types }) => {
      asked.push({ text, schema, types });
      return { items, total };
    },
    cache: async () => undefined,
    remove: async () => undefined,
    clear: async () => undefined,
  };
  return { backend, asked };
}

async function withSites(backend: SearchBackend): Promise<Searching> {
  const inventory = await searching({ backend });
  await inventory.db.query(
    `insert into sites (id, name, status, tenant) values (1, 'rack 1', 'active', 'acme'),
       (2, 'rack 2', 'planned', 'other'), (3, 'rack 3', null, 'acme')`,
  );
  await inventory.fill();
  return inventory;
}

const site = (key: string): Item => ({ type: "site", key, field: "name", value: `a rack ${key}` });

test("a backend says what matches and in which order; live rows say who sees it and how it looks", async () => {
  // One is gone, one is of another tenant, one is of a type nobody registers.
  const { backend, asked } = answering([
    site("3"),
    site("99"),
    site("2"),
    site("1"),
    { ...site("1"), type: "house" },
  ]);
  await using inventory = await withSites(backend);
  const page = await inventory.holdfast.search.query({ text: "RACK", types: ["site"] });
  expect(page.items.map(({ key, title, value }) => [key, title, value])).toEqual([
    ["3", "rack 3", "a rack 3"],
    ["2", "rack 2", "a rack 2"],
    ["1", "rack 1", "a rack 1"],
  ]);
  expect(page.items[0]).toMatchObject({ field: "name", weight: 100, highlights: [[2, 6]] });
  expect([page.total, page.totalIsExact, page.next]).toEqual([3, true, undefined]);
  expect(asked).toEqual([{ text: "RACK", schema: "public", types: ["site"] }]);

  const acme = inventory.holdfast.as({ actor: "acme", tenants: ["acme"] });
  const theirs = await acme.search.query({ text: "rack" });
  expect(theirs.items.map(({ key }) => key)).toEqual(["3", "1"]);
  expect(theirs.total).toBe(2);
});

test("pages of a backend's results are full, and go on where the last one ended", async () => {
  const { backend } = answering([site("2"), site("3"), site("1")], 5_000);
  await using inventory = await withSites(backend);
  const acme = inventory.holdfast.as({ actor: "acme", tenants: ["acme"] });
  const first = await acme.search.query({ text: "rack", limit: 1 });
  expect(first.items.map(({ key }) => key)).toEqual(["3"]);
  expect([first.total, first.totalIsExact]).toEqual([2, false]);
  const second = await acme.search.query({ text: "rack", limit: 1, after: first.next! });
  expect(second.items.map(({ key }) => key)).toEqual(["1"]);
  expect(second.next).toBeUndefined();
});

test("a key a backend makes up, or a backend that throws, is told and crashes nothing", async () => {
  const { backend } = answering([site("no number"), site("1")]);
  await using inventory = await withSites(backend);
  const page = await inventory.holdfast.search.query({ text: "rack" });
  expect(page.items.map(({ key }) => key)).toEqual(["1"]);

  await using broken = await withSites({
    ...backend,
    search: async () => {
      throw new Error("cluster is red");
    },
  });
  await expect(broken.holdfast.search.query({ text: "rack" })).rejects.toMatchObject({
    code: "search-backend-failed",
    status: 503,
    message: expect.stringContaining("cluster is red"),
  });
});
