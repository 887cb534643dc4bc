import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest";
import { connect, type Holdfast } from "../../client/index.ts";
import { sweepBuilds } from "../../db/index-sweep.ts";
import type { Obstacle } from "../support/gate.ts";
import { rounds } from "../support/rounds.ts";
import {
  builtRows,
  differences,
  drained,
  install,
  makeTables,
  SEARCHED,
} from "../support/searched-sites.ts";
import { startSystem, type System } from "../support/system.ts";

const CONFIG = fileURLToPath(new URL("fixtures/searched.config.ts", import.meta.url));
const SITES = 4_000;

let system: System;
let holdfast: Holdfast;
beforeAll(async () => {
  system = await startSystem();
  holdfast = connect({ databaseUrl: system.stack.databaseUrl, config: SEARCHED });
});
beforeEach(async () => {
  await system.db.query(`drop schema if exists crm cascade;
    delete from holdfast.search_indexes; truncate holdfast.index_rows, holdfast.index_marks`);
  await makeTables(system.db, "crm", SITES);
  await install(system.db, "crm", SEARCHED);
});
afterEach(() => system.tidy());
afterAll(async () => {
  await holdfast.close();
  await system.stop();
});

/** Statements of a reindex of sites, in order. */
const places = (nth: number): readonly Obstacle[] => [
  { table: "search_indexes", on: "update", when: "new.building is not null", nth },
  { table: "search_indexes", on: "update", when: "new.building is not null", at: "commit", nth },
  { table: "index_rows", nth: 1 + nth * 2_000 },
  { table: "progress_deltas", when: "new.stage = 'objects'", nth },
  { table: "outcomes" },
  { table: "search_indexes", on: "update", when: "new.building is null" },
  { table: "search_indexes", on: "update", when: "new.building is null", at: "commit" },
  { table: "events" },
];

rounds(
  "a worker killed anywhere in a reindex: another goes on, and no reader misses an object meanwhile",
  async (random) => {
    const before = await system.worker({ config: CONFIG });
    await end(await holdfast.search.reindex());
    const all = await builtRows(system.db);
    let over = false;
    const reading = neverBare(() => over);

    const gate = await system.gate(random.pick(places(random.between(1, 2))));
    const { id } = await holdfast.search.reindex({ types: ["site"] });
    await gate.reached();
    await before.send("SIGKILL");
    await gate.open();
    await system.db.query("update crm.sites set name = 'written in between' where id in (1, 3999)");
    await drained(system.db, SEARCHED, "crm", "site", ["1", "3999"]);
    await system.worker({ config: CONFIG });
    await end({ id });
    over = true;
    expect(await reading).toBeGreaterThan(0);

    expect(await differences(system.db, SEARCHED)).toEqual([]);
    expect(await builtRows(system.db)).toEqual(all);
    expect((await holdfast.operation.get(id)).stages).toMatchObject([
      { stage: "reindex", done: 1 },
      { stage: "objects", done: SITES, counts: { indexed: SITES } },
    ]);
    await sweepBuilds(system.db);
    const { rows } = await system.db.query(
      "select distinct index_id, generation from holdfast.index_rows",
    );
    expect(rows).toHaveLength(2);
    await system.sound();
  },
);

async function end({ id }: { id: string }): Promise<void> {
  expect(await system.ended(id)).toMatchObject({ state: "completed" });
}

/** Looks at some objects until told otherwise. Answers how often. */
async function neverBare(isOver: () => boolean): Promise<number> {
  let looks = 0;
  for (; !isOver(); looks++) {
    const { rows } = await system.db.query<{ bare: string[] | null }>(
      `select array_agg(k.key) as bare from (values ('1'), ('2000'), ('3999')) as k(key)
        where not exists (select from holdfast.search_indexes i
                join holdfast.index_rows r
                  on r.index_id = i.id and r.generation = i.generation and r.key = k.key
               where i.type = 'site')`,
    );
    expect(rows[0]!.bare).toBeNull();
  }
  return looks;
}
