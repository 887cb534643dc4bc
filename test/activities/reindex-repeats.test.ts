import type { OperationRef } from "../../contracts/messages.ts";
import type { Db } from "../../db/pool.ts";
import {
  everyActivityRepeats,
  everyStepMayFail,
  type ActivityCase,
} from "../support/every-activity.ts";
import { reindexing, type Reindexing } from "../support/reindexing.ts";

async function arranged(): Promise<Reindexing & { ref: OperationRef }> {
  const made = await reindexing({ sites: 6 });
  const ref = await made.submit({ types: ["site"], schemas: ["crm"] });
  return { ...made, ref };
}

/** With an object that cannot be made. */
async function arrangedWithOneHeld(): Promise<Reindexing & { ref: OperationRef }> {
  const made = await arranged();
  await made.db.query("update crm.sites set divisor = 0 where id = 2");
  return made;
}

async function essence(db: Db): Promise<unknown> {
  const { rows: operations } = await db.query(
    `select op.state, op.reason, op.result,
            (select jsonb_agg(jsonb_build_array(o.item_no, o.outcome, o.reason) order by o.item_no)
               from holdfast.outcomes o where o.operation_id = op.id) as outcomes,
            (select jsonb_object_agg(d.name, d.n) from (
               select stage || ' ' || outcome as name, sum(n) as n from holdfast.progress_deltas
                where operation_id = op.id group by 1) d) as progress,
            (select count(*) from holdfast.events e where e.operation_id = op.id) as events
       from holdfast.operations op order by op.id`,
  );
  const { rows: indexes } = await db.query(
    `select schema_name, type, generation, building, building_after, building_objects, objects,
            built_at is not null as built
       from holdfast.search_indexes order by 1, 2`,
  );
  const { rows: searched } = await db.query(
    `select index_id, generation, key, field, part, value from holdfast.index_rows
      order by 1, 2, 3, 4, 5`,
  );
  const { rows: held } = await db.query("select scope, key, reason, held from holdfast.quarantine");
  return { operations, indexes, searched, held };
}

const pages: ActivityCase[] = [
  {
    name: "reindexPages",
    async arrange() {
      const { db, ref, worker } = await arrangedWithOneHeld();
      await worker().begin(ref);
      return { db, run: (using) => worker(using).pages(ref) };
    },
    essence,
  },
];

const whole: ActivityCase[] = [
  {
    name: "reindexWhole",
    async arrange() {
      const { db, ref, worker } = await arranged();
      return { db, run: (using) => worker(using).whole(ref) };
    },
    essence,
  },
];

everyActivityRepeats([...pages, ...whole]);
// Beginning, working and finishing: the pages are in it.
everyStepMayFail(whole);
