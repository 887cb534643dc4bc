import { sweepSources } from "../../db/index-drain.ts";
import { appendIndexMarks, markWholeType } from "../../db/index-marks.ts";
import { readIndexLanes } from "../../db/index-lanes.ts";
import type { Db } from "../../db/pool.ts";
import {
  everyActivityRepeats,
  everyStepMayFail,
  type ActivityCase,
} from "../support/every-activity.ts";
import { drainLane, indexed, indexing, marksLeft, type Indexing } from "../support/indexing.ts";

/** Everything a batch may meet, in the one lane that all of it lies in. */
async function arranged(): Promise<Indexing & { lane: number }> {
  const made = await indexing();
  const { db } = made;
  await db.query(
    "insert into main.cities (id, name) select i, 'City ' || i from generate_series(1, 40) i",
  );
  await db.query("insert into branch.cities (id, name) values (1, 'Branch')");
  await db.query("insert into main.people select 'c', i, 'P' || i, i from generate_series(1, 9) i");
  const { rows } = await db.query<{ keys: string[] }>(
    "select array_agg(id::text order by id) as keys from main.cities where hashtext(id::text) & 3 = 1",
  );
  const { keys } = rows[0]!;
  await appendIndexMarks(db, "main", "city", keys);
  await drainLane({ db, config: made.config }, 1);
  // One changed, one gone, one that cannot be indexed, one of another schema.
  await db.query("update main.cities set name = 'Changed' where id = $1", [keys[0]]);
  await db.query("delete from main.cities where id = $1", [keys[1]]);
  await db.query("update main.cities set size = 0 where id = $1", [keys[2]]);
  await appendIndexMarks(db, "main", "city", keys);
  await appendIndexMarks(db, "branch", "city", keys);
  await appendIndexMarks(db, "main", "unheard", keys);
  await db.transaction((tx) => markWholeType(tx, "main", "person"));
  await db.query(
    `insert into holdfast.index_marks (lane, schema_name, type, keys, through)
     values (1, 'main', 'person', $1, 'cities.0')`,
    [keys],
  );
  // Drifted, and due to be looked at.
  await db.query("alter table branch.people rename to folk");
  await appendIndexMarks(db, "branch", "person", ['["c", "1"]']);
  return { ...made, lane: 1 };
}

async function essence(db: Db): Promise<unknown> {
  const { rows: held } = await db.query(
    "select queue, scope, key, reason, held from holdfast.quarantine order by key",
  );
  const { rows: drifted } = await db.query(
    "select schema_name, type, drift_reason from holdfast.search_indexes order by 1, 2",
  );
  const { rows: left } = await db.query(
    "select lane, type, schema_name, keys, through from holdfast.index_marks order by 1, 2, 3, 4",
  );
  const lanes = await readIndexLanes(db);
  return {
    rows: await indexed(db),
    held,
    drifted,
    left,
    applied: lanes.map(({ applied }) => applied),
    failing: lanes.map(({ failingSince }) => failingSince),
  };
}

const cases: ActivityCase[] = [
  {
    name: "drainIndex",
    async arrange() {
      const { db, config, lane } = await arranged();
      return { db, run: (using) => drainLane({ db: using, config }, lane) };
    },
    essence,
  },
  {
    name: "the sweep of sources",
    async arrange() {
      const { db, config } = await indexing();
      await db.query("insert into main.cities (id, name) values (1, 'One')");
      await db.query(
        `update holdfast.search_indexes set drifted_at = now(), drift_reason = 'was', retry_at = now()
          where schema_name = 'main'`,
      );
      await db.query("drop schema branch cascade");
      return { db, run: (using) => sweepSources(using, config) };
    },
    essence: async (db) => ({ ...((await essence(db)) as object), marks: await marksLeft(db) }),
  },
];

everyActivityRepeats(cases);
everyStepMayFail(cases);
