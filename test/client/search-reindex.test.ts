import { expect, test } from "vitest";
import { newContext } from "../../client/context.ts";
import { operationClient } from "../../client/operation.ts";
import { searchReindexClient } from "../../client/search-reindex.ts";
import { searchRegistry } from "../../domain/search.ts";
import { RACKS, reindexing, SEARCHED, SITES } from "../support/reindexing.ts";

async function setup() {
  const made = await reindexing();
  const client = searchReindexClient(made.context, searchRegistry(SEARCHED, made.db.schema));
  return { ...made, client };
}

test("a reindex is one item per index, with the objects there may be", async () => {
  const { db, context, client } = await setup();
  await db.query("analyze");
  const accepted = await client.reindex({ schemas: ["crm"] });
  expect(accepted).toMatchObject({ kind: "reindex", state: "accepted", total: 2, batches: 1 });
  const view = await operationClient(context).get(accepted.id);
  expect(view).toMatchObject({
    scope: "crm",
    input: { schemas: ["crm"], lazy: false, expected: { objects: 40 } },
    stages: [
      { stage: "reindex", done: 0, total: 2 },
      { stage: "objects", done: 0, total: 40 },
    ],
  });
  const { items } = await operationClient(context).items(accepted.id);
  expect(items.map(({ key, size }) => [key, size])).toEqual([
    ["crm.rack", 20],
    ["crm.site", 20],
  ]);
});

test("what is unknown or not installed is named with what there is and the next step", async () => {
  const { db, client, context } = await setup();
  await expect(client.reindex({ types: ["site", "sit"] })).rejects.toMatchObject({
    code: "invalid-input",
    message: 'types[1]: no type "sit" is registered; there are rack, site',
  });
  await expect(client.reindex({ schemas: ["crm", "other"] })).rejects.toThrow(
    /no search index of any type in schema other: .*branch, crm.*"holdfast search install --schema other"/,
  );
  await expect(client.reindex({ sites: true } as never)).rejects.toThrow(/unknown field sites/);
  await expect(client.reindex({ types: [] })).rejects.toMatchObject({ code: "invalid-input" });

  await db.query("delete from holdfast.search_indexes where type = 'site'");
  await expect(client.reindex({ types: ["site"] })).rejects.toThrow(
    'no search index of type site: "holdfast search install --type site" makes it',
  );
  await db.query("delete from holdfast.search_indexes");
  await expect(client.reindex()).rejects.toThrow('"holdfast search install" makes them');
  const limited = newContext({ db, config: SEARCHED, tenants: ["acme"] });
  const registry = searchRegistry(SEARCHED, db.schema);
  await expect(searchReindexClient(limited, registry).reindex()).rejects.toMatchObject({
    code: "forbidden",
  });
  expect((await operationClient(context).list()).items).toEqual([]);
});

test("the same indexes are built by one operation at a time; a lazy caller joins it", async () => {
  const { client } = await setup();
  const first = await client.reindex({ types: ["site"], schemas: ["crm"] });
  const again = client.reindex({ types: ["site"], schemas: ["crm"] });
  await expect(again).rejects.toMatchObject({
    code: "exclusive",
    message: expect.stringContaining(`operation ${first.id} is at work on crm.site`),
  });
  expect(await client.reindex({ types: ["site"], schemas: ["crm"], lazy: true })).toEqual({
    ...first,
    existing: true,
  });
  expect(await client.reindex({ types: ["site"], schemas: ["branch"] })).toMatchObject({
    total: 1,
  });
  expect(await client.reindex()).toMatchObject({ total: 4, existing: false });
});

test("a key answers the same operation, and another request is a conflict", async () => {
  const { client } = await setup();
  const first = await client.reindex({ types: ["site"], key: "release-7" });
  expect(await client.reindex({ types: ["site"], key: "release-7" })).toEqual({
    ...first,
    existing: true,
  });
  await expect(client.reindex({ types: ["rack"], key: "release-7" })).rejects.toMatchObject({
    code: "key-reused",
  });
});

test("a reindex in a caller's transaction exists with its commit, and sees what it installed", async () => {
  const { db, client, context } = await setup();
  const { id } = await db.transaction((tx) => client.reindex({ types: ["site"] }, { tx }));
  expect(await operationClient(context).get(id)).toMatchObject({ state: "accepted" });
  await db
    .transaction(async (tx) => {
      await client.reindex({ types: ["rack"] }, { tx });
      throw new Error("changed my mind");
    })
    .catch(() => undefined);
  expect((await operationClient(context).list()).items).toHaveLength(1);
});

test("an index of a type that is registered no more is left out", async () => {
  const { db, context } = await setup();
  const config = { search: { ...SEARCHED.search, types: [SITES] } };
  const client = searchReindexClient(context, searchRegistry(config, db.schema));
  expect(await client.reindex()).toMatchObject({ total: 2 });
  await expect(client.reindex({ types: [RACKS.name] })).rejects.toThrow(/no type "rack"/);
});
