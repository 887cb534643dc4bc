import { fileURLToPath } from "node:url";
import { beforeAll, expect, test } from "vitest";
import type { Accepted } from "../../contracts/operation.ts";
import type { SearchAuditPage } from "../../contracts/reindex.ts";
import { openDb, type Db } from "../../db/pool.ts";
import { differences, install, makeTables, SEARCHED } from "../support/searched-sites.ts";
import { fillIndexes } from "../support/searching.ts";
import { setupCli } from "./support.ts";

const HOLDFAST_CONFIG = fileURLToPath(
  new URL("../system/fixtures/searched.config.ts", import.meta.url),
);

const cli = setupCli();
const run = (...args: string[]) => cli.runHere(["search", ...args], { env: { HOLDFAST_CONFIG } });

beforeAll(() =>
  inDatabase(async (db) => {
    await makeTables(db, "crm", 20);
    await install(db, "crm", SEARCHED);
    await fillIndexes(db, SEARCHED, "crm");
    expect(await differences(db, SEARCHED)).toEqual([]);
  }),
);

async function inDatabase<T>(work: (db: Db) => Promise<T>): Promise<T> {
  const db = openDb({ url: cli.databaseUrl, size: 2 });
  try {
    return await work(db);
  } finally {
    await db.close();
  }
}

test("an audit ends with 0 when all is true, with 1 when something differs, and says what", async () => {
  const well = await run("audit");
  expect(well).toMatchObject({ code: 0, err: "" });
  expect(well.out).toMatch(/^crm\.rack +36 +0 +0 +0 +0$/m);

  await inDatabase((db) => db.query("update crm.sites set name = 'other' where id = 3"));
  const ill = await run("audit", "--type", "site");
  expect(ill).toMatchObject({ code: 1, err: "add --repair to mark what differs" });
  expect(ill.out).toContain("stale  crm.site 3");
  expect(ill.out).not.toContain("crm.rack");
  const json = await run("audit", "--type", "site", "--json");
  expect(json.code).toBe(1);
  const pages = json.out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as SearchAuditPage);
  expect(pages[0]).toMatchObject({ stale: 1, findings: [{ key: "3", kind: "stale" }] });

  expect(await run("audit", "--repair")).toMatchObject({
    code: 1,
    err: "1 marked: a worker puts them right",
  });
  expect(await run("audit")).toMatchObject({ code: 0 });
});

test("a reindex is accepted and followed elsewhere; asked for again it is refused, or joined", async () => {
  const text = await run("reindex", "--schema", "crm");
  expect(text.code).toBe(0);
  expect(text.out).toMatch(
    /^accepted [0-9a-f-]{36}: 2 indexes\nfollow it with "holdfast operation/,
  );
  expect(await run("reindex", "--schema", "crm")).toMatchObject({ code: 3 });
  const joined = await run("reindex", "--schema", "crm", "--lazy", "--json");
  expect(joined.json<Accepted>()).toMatchObject({ total: 2, existing: true });
});

test("names that mean nothing are refused with what there is", async () => {
  const cases: [string[], string][] = [
    [["reindex", "--type", "sit"], 'no type "sit" is registered; there are rack, site'],
    [["reindex", "--schema", "other"], '"holdfast search install --schema other" makes it'],
    [["audit", "--type", "sit"], 'no type "sit" is registered; there are rack, site'],
  ];
  for (const [args, says] of cases) {
    const ran = await run(...args);
    expect(ran.code, args.join(" ")).toBe(2);
    expect(ran.err).toContain(says);
  }
});
