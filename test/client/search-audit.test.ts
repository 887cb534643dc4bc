import { expect, test } from "vitest";
import type { SearchAuditPage } from "../../contracts/reindex.ts";
import { appendIndexMarks, markWholeType } from "../../db/index-marks.ts";
import { differences, drained, reindexing, SEARCHED } from "../support/reindexing.ts";

async function setup(sites = 20) {
  const made = await reindexing({ sites });
  await made.finished(await made.submit());
  return made;
}

/** Findings as `index key kind` lines. */
function told(pages: readonly SearchAuditPage[]): string[] {
  return pages.flatMap(({ schema, type, findings }) =>
    findings.map(({ key, kind }) => `${schema}.${type} ${key} ${kind}`),
  );
}

test("true indexes are told to be true, and every object and key has been compared", async () => {
  const { audit } = await setup(3_000);
  const pages = await audit();
  expect(told(pages)).toEqual([]);
  expect(pages.filter(({ last }) => last).map(({ schema, type }) => `${schema}.${type}`)).toEqual([
    "branch.rack",
    "branch.site",
    "crm.rack",
    "crm.site",
  ]);
  const compared = pages.reduce((sum, page) => sum + page.compared, 0);
  // Objects, and the keys of those that are indexed.
  expect(compared).toBe(2 * (3_000 + 2_400) + 2 * (3_000 + 3_000));
});

test("what was written past the marks is missing, stale or an orphan, and repaired by its marks", async () => {
  const { db, audit } = await setup(2_500);
  await db.query("insert into crm.sites (id, name) values (7001, 'new'), (7002, null)");
  await db.query("update crm.sites set name = 'other' where id = 2321");
  await db.query("update crm.sites set notes = null where id = 12");
  await db.query("delete from crm.sites where id in (17, 2499)");
  await db.query("update crm.racks set hidden = true where code = 'r \"4'");
  const expected = [
    'crm.rack ["1", "r \\"4"] orphan',
    "crm.site 12 stale",
    "crm.site 2321 stale",
    "crm.site 7001 missing",
    "crm.site 7002 missing",
    "crm.site 17 orphan",
    "crm.site 2499 orphan",
  ];
  expect(told(await audit({ schemas: ["crm"] })).toSorted()).toEqual(expected.toSorted());
  expect((await db.query("select from holdfast.index_marks")).rows).toEqual([]);
  expect(told(await audit({ types: ["rack"] }))).toEqual([expected[0]]);
  expect(told(await audit({ schemas: ["branch"] }))).toEqual([]);

  const repaired = await audit({ repair: true });
  expect(repaired.reduce((sum, { marked }) => sum + marked, 0)).toBe(expected.length);
  expect(told(await audit())).toEqual([]); // what is marked is known to be dirty
  const { rows } = await db.query<{ type: string; keys: string[] }>(
    "delete from holdfast.index_marks returning type, keys",
  );
  for (const { type, keys } of rows) await drained(db, SEARCHED, "crm", type, keys);
  expect(told(await audit())).toEqual([]);
  expect(await differences(db, SEARCHED)).toEqual([]);
}, 60_000);

test("an object that waits for the drain is no finding, by whatever mark", async () => {
  const { db, audit } = await setup();
  await db.query("update crm.sites set name = 'other' where id in (1, 2, 3, 4, 5, 6, 7, 8)");
  await db.transaction((tx) => appendIndexMarks(tx, "crm", "site", ["1", "2", "3", "4"]));
  expect(told(await audit())).toEqual([5, 6, 7, 8].map((key) => `crm.site ${key} stale`));
  await db.transaction((tx) => markWholeType(tx, "branch", "site"));
  expect(told(await audit())).toHaveLength(4);
  await db.query("delete from holdfast.index_marks");
  await db.query(
    `insert into holdfast.index_marks (lane, schema_name, type, keys, through)
     values (0, 'crm', 'site', '{1}', 'owners.0')`,
  );
  expect(told(await audit())).toEqual([]);
  await db.query("delete from holdfast.index_marks");
  await db.transaction((tx) => markWholeType(tx, "crm", "site"));
  expect(told(await audit())).toEqual([]);
});

test("an object that cannot be read is told with the reason, and those around it are compared", async () => {
  const { db, audit } = await setup(300);
  await db.query("update crm.sites set divisor = 0 where id = 200");
  await db.query("update crm.sites set name = 'other' where id in (199, 201)");
  const pages = await audit({ types: ["site"], schemas: ["crm"] });
  expect(told(pages).toSorted()).toEqual([
    "crm.site 199 stale",
    "crm.site 200 unreadable",
    "crm.site 201 stale",
  ]);
  expect(pages.flatMap(({ findings }) => findings)).toContainEqual({
    key: "200",
    kind: "unreadable",
    reason: "division by zero",
  });
  // Held in quarantine it is known, and nobody's news.
  await db.query(
    `insert into holdfast.quarantine (queue, scope, key, reason, held)
     values ('index', 'crm', 'site/200', 'division by zero', true)`,
  );
  expect(told(await audit({ types: ["site"] })).toSorted()).toEqual([
    "crm.site 199 stale",
    "crm.site 201 stale",
  ]);
});

test("what cannot be compared is said, and hinders no other index", async () => {
  const { db, audit } = await setup();
  await db.query("alter table crm.sites drop column notes");
  await db.query("drop table branch.racks");
  await db.query(
    "update holdfast.search_indexes set drifted_at = now(), drift_reason = 'no more' where schema_name = 'branch' and type = 'site'",
  );
  const pages = await audit();
  expect(
    pages
      .filter(({ notDone }) => notDone)
      .map(({ schema, type, notDone }) => `${schema}.${type}: ${notDone}`),
  ).toEqual([
    'branch.rack: no table branch.racks: check "table" of type rack',
    "branch.site: it has drifted, and waits for its table: no more",
    "crm.site: column t.notes does not exist",
  ]);
  expect(pages.filter(({ last }) => last)).toHaveLength(4);
});

test("a repair of everything forgets that writes were unmarked, a look does not", async () => {
  const { db, audit } = await setup();
  await db.query("insert into holdfast.index_gaps (schema_name, type) values ('crm', 'site')");
  const gaps = async () => (await db.query("select from holdfast.index_gaps")).rows.length;
  await audit();
  await audit({ types: ["rack"], repair: true });
  expect(await gaps()).toBe(1);
  await audit({ types: ["site"], repair: true });
  expect(await gaps()).toBe(0);
});

test("an audit beside a reindex sees one generation as a whole", async () => {
  const { db, audit, submit, finished } = await setup(3_000);
  let over = false;
  const looking = (async () => {
    while (!over) expect(told(await audit({ schemas: ["crm"], types: ["site"] }))).toEqual([]);
  })();
  for (let times = 0; times < 3; times++) {
    await finished(await submit({ schemas: ["crm"], types: ["site"] }));
  }
  over = true;
  await looking;
  expect((await db.query("select from holdfast.index_marks")).rows).toEqual([]);
}, 60_000);
