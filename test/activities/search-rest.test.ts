import { expect, test } from "vitest";
import { markWholeType } from "../../db/index-marks.ts";
import { claimDrainsToWake } from "../../db/relay.ts";
import type { Db } from "../../db/pool.ts";
import { watched } from "../support/failing.ts";
import { drainLane, indexed, indexing, rebuilt, type Indexing } from "../support/indexing.ts";

/** How often a drain has to go to work, and what it leaves to the relay when it rests. */

test("thousands of marks of parents, and of whole types, are a few batches' work", async () => {
  const made = await indexing();
  await made.db.query(
    `insert into main.cities (id, name) select n, 'City ' || n from generate_series(1, 50) n;
     insert into main.people select 'c', n, 'P' || n, 1 + n % 50 from generate_series(1, 200) n`,
  );
  await made.db.query(
    `insert into holdfast.index_marks (lane, schema_name, type, keys, through)
     select n & 3, 'main', 'person', array[(1 + n % 50)::text], 'cities.0'
       from generate_series(1, 4000) n`,
  );
  await made.db.query(
    `insert into holdfast.index_marks (lane, schema_name, type)
     select n & 3, 'main', 'city' from generate_series(1, 2000) n`,
  );
  await made.db.query(
    `insert into holdfast.index_marks (lane, schema_name, type, keys, through)
       select lane, schema_name, type, keys, through from holdfast.index_marks order by random()`,
  );
  const { batches, left } = await made.holdfast.search.drainOnce();
  expect({ left, rows: await indexed(made.db) }).toEqual({
    left: false,
    rows: await rebuilt(made.db, made.config),
  });
  expect(batches).toBeLessThan(80);
});

test("what is marked after the last look of a drain wakes it at once", async () => {
  const made = await indexing();
  await made.db.transaction((tx) => markWholeType(tx, "main", "city"));
  let late = false;
  // The last statement about its lane is that nothing fails there: it has looked before.
  const afterLastLook = watched(made.db, async (_, text) => {
    if (late || !text.includes("set failing_since = null, last_error = null\n      where")) return;
    late = true;
    await made.db.transaction((tx) => markWholeType(tx, "main", "city"));
  });
  expect(await drainLane({ db: afterLastLook, config: made.config }, 2)).toMatchObject({
    more: false,
  });
  expect(late).toBe(true);
  expect(await woken(made)).toContain(2);
});

test("marks behind a brake wake nobody, and do not hold up those of other schemas", async () => {
  const made = await indexing();
  await made.holdfast.brake.set("scope", "main", "an incident");
  await made.db.transaction((tx) => markWholeType(tx, "main", "city"));
  expect(await woken(made)).toEqual([]);
  await rested(made, made.db);
  expect(await woken(made)).toEqual([]);
  await made.db.transaction((tx) => markWholeType(tx, "branch", "city"));
  expect(await woken(made)).toEqual([0, 1, 2, 3]);
  await rested(made, made.db);
  await made.holdfast.brake.lift("scope", "main");
  expect(await woken(made)).toEqual([0, 1, 2, 3]);
});

async function rested({ config }: Indexing, db: Db): Promise<void> {
  for (const lane of [0, 1, 2, 3]) {
    expect(await drainLane({ db, config }, lane)).toMatchObject({ more: false });
  }
}

async function woken({ db }: Indexing): Promise<number[]> {
  const drains = await claimDrainsToWake(db);
  return drains
    .filter(({ queue }) => queue === "index")
    .map(({ lane }) => lane)
    .toSorted();
}
