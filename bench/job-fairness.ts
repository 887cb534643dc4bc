import { setTimeout as sleep } from "node:timers/promises";
import { connect, type Holdfast } from "../client/index.ts";
import type { Db } from "../db/pool.ts";
import { fairnessOf } from "../domain/job.ts";
import type { Frame } from "./frame.ts";
import { resultsOf, runningJob } from "./job-scene.ts";

const POLLERS = 4;
const SIZES = [10, 10, 100, 100, 500, 500];

/** Four workers, six jobs of three sizes, one item a batch: who is served, and when. */
export async function measureFairness(frame: Frame): Promise<void> {
  const databaseUrl = await frame.database(await frame.postgres());
  const holdfast = connect({ databaseUrl, poolSize: POLLERS });
  frame.atEnd(() => holdfast.close());
  const { db } = holdfast;
  const indexes: number[] = [];
  let latestFirst = 0;
  for (let round = 0; round < (frame.quick ? 1 : 2); round++) {
    const pipeline = `round-${round}`;
    // The large ones first, and all before anybody asks.
    const jobs: string[] = [];
    for (const items of SIZES.toReversed()) {
      jobs.push(await runningJob(db, { pipeline, items, batchSize: 1 }));
    }
    await Promise.all(Array.from({ length: POLLERS }, (_, no) => poll(holdfast, pipeline, no)));
    const served = await servedInOrder(db, jobs);
    indexes.push(...fairnessWhileBacklogged(served));
    const firsts = jobs.map((job) => served.indexOf(job) + 1);
    latestFirst = Math.max(latestFirst, ...firsts);
  }
  const what = `${POLLERS} pollers, ${SIZES.length} jobs of ${[...new Set(SIZES)].join(", ")} items`;
  frame.measure(`fairness while backlogged (Jain), ${what}`, Math.min(...indexes), "of 1", {
    atLeast: 0.95,
  });
  frame.measure("first batch of each job, at the latest", latestFirst, "claims", {
    atMost: SIZES.length,
  });
  await frame.close();
}

/** Claims and posts until nothing is left, with work of a few milliseconds between. */
async function poll({ job }: Holdfast, pipeline: string, no: number): Promise<void> {
  for (;;) {
    const { batches } = await job.claim({ pipelines: [pipeline], worker: `poller-${no}` });
    const [batch] = batches;
    if (!batch) return;
    await sleep((batch.batch + no) % 5);
    await job.post(batch.job, resultsOf(batch));
  }
}

/** Jobs, one for each lease, in the order of the leases. */
async function servedInOrder(db: Db, jobs: readonly string[]): Promise<string[]> {
  const { rows } = await db.query<{ job: string }>(
    `select operation_id as job from holdfast.job_leases
      where operation_id = any($1) order by at, operation_id, batch`,
    [jobs],
  );
  return rows.map(({ job }) => job);
}

/**
 * Jain's index of every stretch in which the same jobs still had something: over the shares of those
 * jobs, up to the lease with which the first of them had nothing left.
 */
function fairnessWhileBacklogged(served: readonly string[]): number[] {
  const left = new Map<string, number>();
  for (const job of served) left.set(job, (left.get(job) ?? 0) + 1);
  const indexes: number[] = [];
  let shares = new Map([...left.keys()].map((job) => [job, 0]));
  for (const job of served) {
    shares.set(job, (shares.get(job) ?? 0) + 1);
    left.set(job, left.get(job)! - 1);
    if (left.get(job) !== 0) continue;
    left.delete(job);
    // Two jobs of one size end one after the other: a stretch of a lease or two says nothing.
    const leases = [...shares.values()].reduce((sum, share) => sum + share, 0);
    if (leases >= shares.size * 2) indexes.push(fairnessOf([...shares.values()]));
    shares = new Map([...left.keys()].map((open) => [open, 0]));
  }
  return indexes;
}
