import type { OperationRef } from "../../contracts/messages.ts";
import type { Db } from "../../db/pool.ts";
import {
  everyActivityRepeats,
  everyStepMayFail,
  type ActivityCase,
} from "../support/every-activity.ts";
import { obedientJobs } from "../system/fixtures/job-plug-ins.ts";
import { jobbing, jobWorker, numbered, type Jobbing } from "../support/jobbing.ts";

const CONFIG = { jobs: obedientJobs };

async function arranged(
  job: Partial<Parameters<Jobbing["submit"]>[0]> = { items: numbered(6) },
): Promise<Jobbing & { ref: OperationRef }> {
  const made = await jobbing(CONFIG);
  const options = { batchSize: 3 };
  const ref = await made.submit({ pipeline: "obey", options, ...job });
  return { ...made, ref };
}

/** For a pipeline that this worker has no processor of. */
const collected = {
  pipeline: "pull",
  collector: "numbers",
  collect: { items: 4, page: 3 },
};

/** Releases and expiries differ with what failed; what became of the items must not. */
async function essence(db: Db): Promise<unknown> {
  const { rows } = await db.query(
    `select op.state, op.total, op.batches, op.result,
            (select jsonb_agg(jsonb_build_array(i.no, i.key, i.batch) order by i.no)
               from holdfast.items i where i.operation_id = op.id) as items,
            (select jsonb_agg(jsonb_build_array(o.item_no, o.outcome, o.reason) order by o.item_no)
               from holdfast.outcomes o where o.operation_id = op.id) as outcomes,
            (select jsonb_agg(jsonb_build_array(r.item_no, r.body) order by r.item_no)
               from holdfast.job_results r where r.operation_id = op.id) as results,
            (select jsonb_agg(jsonb_build_array(b.first_item, b.last_item) order by b.first_item)
               from holdfast.job_batches b where b.operation_id = op.id and b.no > 0) as batches,
            (select jsonb_object_agg(d.name, d.n) from (
               select stage || ' ' || outcome as name, sum(n) as n from holdfast.progress_deltas
                where operation_id = op.id and stage <> 'leases' group by 1) d) as progress,
            (select count(*) from holdfast.events e where e.operation_id = op.id) as events
       from holdfast.operations op`,
  );
  return rows;
}

const begin: ActivityCase = {
  name: "beginJob",
  async arrange() {
    const { db, ref } = await arranged();
    return { db, run: (using) => jobWorker(using, CONFIG).begin(ref) };
  },
  essence,
};

const collect: ActivityCase = {
  name: "workJob, collecting,",
  async arrange() {
    const { db, ref, working } = await arranged(collected);
    await working.begin(ref);
    return { db, run: (using) => jobWorker(using, CONFIG).work(ref) };
  },
  essence,
};

const process: ActivityCase = {
  name: "workJob, processing,",
  async arrange() {
    const made = await arranged({ items: numbered(3), options: { batchSize: 3, deliveries: 9 } });
    await made.working.begin(made.ref);
    return { db: made.db, run: (using) => jobWorker(using, CONFIG).work(made.ref) };
  },
  essence,
};

const look: ActivityCase = {
  name: "lookAtJob, mending,",
  async arrange() {
    const { db, ref, working } = await arranged();
    await working.begin(ref);
    await db.query("delete from holdfast.job_batches");
    return { db, run: (using) => jobWorker(using).look(ref) };
  },
  essence,
};

everyActivityRepeats([begin, collect, process, look]);
everyStepMayFail([begin, collect, process, look]);
