import { expect, test } from "vitest";
import { examine } from "../../activities/doctor.ts";
import { operationClient } from "../../client/operation.ts";
import type { HoldfastConfig } from "../../contracts/config.ts";
import type { Db } from "../../db/pool.ts";
import { installCapture } from "../../db/search-capture.ts";
import { searchRegistry } from "../../domain/search.ts";
import { drained, RACKS, reindexing, SEARCHED, SITES } from "../support/reindexing.ts";

const CHECKS = [
  "index-differs",
  "index-definition-changed",
  "abandoned-build",
  "dead-index-rows",
] as const;

/** Every test begins with indexes that are built and true, and breaks one thing. */
async function setup(sites = 20) {
  const made = await reindexing({ sites });
  const registry = searchRegistry(SEARCHED, made.db.schema);
  for (const schema of ["crm", "branch"]) {
    for (const type of registry.types.values()) {
      await installCapture(made.db, schema, type, { registry });
    }
  }
  await made.finished(await made.submit());
  await made.db.query("delete from holdfast.index_marks");
  expect(await found(made.db)).toEqual([]);
  return made;
}

/** Writes that no trigger sees, as those of a replication are. */
function unseen(db: Db, ...statements: string[]): Promise<void> {
  return db.transaction(async (tx) => {
    await tx.query("set local session_replication_role = replica");
    for (const statement of statements) await tx.query(statement);
  });
}

/** What these checks find, as `check: subject` lines; what is left of it after a repair. */
async function found(db: Db, { repair = false, config = SEARCHED } = {}): Promise<string[]> {
  return (await looked(db, repair, config)).map(({ check, subject }) => `${check}: ${subject}`);
}

async function looked(db: Db, repair: boolean, config: HoldfastConfig = SEARCHED) {
  const { findings, checks } = await examine({ db, repair, config });
  const notDone = checks.filter(({ name, notDone }) => notDone && CHECKS.includes(name as never));
  expect(notDone).toEqual([]);
  return findings.filter(({ check }) => CHECKS.includes(check as never));
}

test("an index that is not what its table holds is found and marked, and gone when that is drained", async () => {
  const { db } = await setup();
  await unseen(
    db,
    "update crm.sites set name = 'unseen' where id in (3, 9)",
    "delete from crm.sites where id = 5",
  );
  const lines = await found(db);
  expect(lines[0]).toBe("index-differs: index crm.site");
  const [finding] = await looked(db, false);
  expect(finding!.message).toMatch(
    /3 differ from the index: 3 \(stale\), 9 \(stale\), 5 \(orphan\)/,
  );

  const [mended] = await looked(db, true);
  expect(mended).toMatchObject({ did: "marked 3 objects", left: false });
  const { rows } = await db.query(
    "select unnest(keys) as key from holdfast.index_marks order by 1",
  );
  expect(rows.map((row) => row["key"])).toEqual(["3", "5", "9"]);
  expect(await found(db)).toEqual([]); // it is known
  await drained(db, SEARCHED, "crm", "site", ["3", "5", "9"]);
  await db.query("delete from holdfast.index_marks");
  expect(await found(db)).toEqual([]);
});

test("what was found somewhere in a large table is looked at again wherever the next sample is", async () => {
  const { db } = await setup(5_000);
  await unseen(db, "update crm.sites set name = 'unseen' where id > 500");
  const place = (lines: string[]) => lines.filter((line) => line.startsWith("index-differs"));
  const first = place(await found(db));
  expect(first.length).toBeGreaterThan(0);
  for (let times = 0; times < 3; times++) {
    expect(place(await found(db))).toEqual(expect.arrayContaining(first));
  }
});

test("a table that cannot be read hinders the check of no other", async () => {
  const { db } = await setup();
  await db.query("alter table branch.sites drop column notes");
  await unseen(db, "update crm.sites set name = 'unseen' where id = 3");
  expect(await found(db)).toContain("index-differs: index crm.site");
});

test("an index built from another definition is named with the reindex that mends it", async () => {
  const { db, submit, finished, worker } = await setup();
  const [name] = SITES.fields;
  const changed = { search: { ...SEARCHED.search, types: [{ ...SITES, fields: [name!] }, RACKS] } };
  const findings = await looked(db, true, changed);
  expect(findings.filter(({ check }) => check === "index-definition-changed")).toMatchObject([
    {
      subject: "index branch.site",
      repair: null,
      left: true,
      message: expect.stringContaining('"holdfast search reindex --type site --schema branch"'),
    },
    { subject: "index crm.site" },
  ]);
  await db.query("delete from holdfast.index_marks");
  await finished(await submit(), worker(db, changed));
  expect(await found(db, { config: changed })).toEqual([]);
});

test("a build whose operation has ended is ended", async () => {
  const { db, context, submit } = await setup();
  const { id } = await submit({ types: ["site"], schemas: ["crm"] });
  const building = () =>
    db.query(
      `update holdfast.search_indexes
          set building = 7, building_operation = $1, building_since = now(), building_definition = 'x'
        where type = 'rack' and schema_name = 'crm'`,
      [id],
    );
  await building();
  const only = async (repair = false) =>
    (await looked(db, repair)).filter(({ check }) => check === "abandoned-build");
  expect(await only()).toEqual([]); // its operation is open
  await operationClient(context).cancel(id);
  expect(await only()).toMatchObject([{ subject: "index crm.rack", repair: "end the build" }]);
  expect(await only(true)).toMatchObject([{ did: "ended 1 build", left: false }]);
  expect(await only()).toEqual([]);
});

test("rows of generations that nobody reads are deleted when they pile up", async () => {
  const { db } = await setup();
  await db.query(
    `insert into holdfast.index_rows (index_id, generation, part, weight, kind, key, field, value)
     select 1, 99, 0, 1, 'number', n::text, 'name', n::text from generate_series(1, 50000) n`,
  );
  expect(await found(db)).toEqual(["dead-index-rows: generation 99 of index 1"]);
  expect(await looked(db, true)).toMatchObject([{ did: "deleted 50000 rows", left: false }]);
  expect(await found(db)).toEqual([]);
});
