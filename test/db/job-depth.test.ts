import { expect, test } from "vitest";
import { pipelineDepths } from "../../db/job-depth.ts";
import { fresh } from "../support/fresh.ts";
import { aJob } from "../support/jobs.ts";

test("of one job at most 10,000 ready batches are counted, and of others theirs as well", async () => {
  const { db } = await fresh();
  const id = await aJob(db, { items: 1, batchSize: 1 });
  await db.query(
    `insert into holdfast.job_batches
       (operation_id, generation, no, first_item, last_item, place, state)
     select operation_id, generation, n, n, n, n, 'ready'
       from holdfast.job_batches, generate_series(2, 10050) as n where operation_id = $1`,
    [id],
  );
  await aJob(db, { items: 20 });
  await aJob(db, { items: 10, tenant: "b" });
  expect(await pipelineDepths(db)).toMatchObject([
    { pipeline: "p", tenant: "b", jobs: 1, ready: 1 },
    { pipeline: "p", tenant: "default", jobs: 2, ready: 10_002 },
  ]);
  expect(await pipelineDepths(db, ["b"])).toHaveLength(1);
});
