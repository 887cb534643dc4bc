import { connect } from "../client/index.ts";
import { percentile } from "./figures.ts";
import type { Frame } from "./frame.ts";
import { timed } from "./in-turn.ts";
import { runningJob } from "./job-scene.ts";
import config from "./job.config.ts";

const JOBS = 100;
const BATCH = 24;
const CLAIMERS = 4;
const WORKERS = 100;

/** How long a claim takes when there is much to choose from: alone, and beside others. */
export async function measureClaim(frame: Frame): Promise<void> {
  const databaseUrl = await frame.database(await frame.postgres());
  const { db, job, close } = connect({ databaseUrl, poolSize: CLAIMERS, config });
  frame.atEnd(close);
  const items = frame.quick ? 100 : 10_000;
  frame.note(`${JOBS} jobs of ${items.toLocaleString("en")} items`);
  const seed = async (no: number) => {
    for (; no < JOBS; no += CLAIMERS) await runningJob(db, { items, batchSize: BATCH });
  };
  await Promise.all(Array.from({ length: CLAIMERS }, (_, no) => seed(no)));
  await db.query("vacuum analyze");

  let worker = 0;
  const claim = async () => {
    const name = `worker-${++worker % WORKERS}`;
    const { batches } = await job.claim({ pipelines: ["p"], worker: name });
    if (batches[0]?.items.length === undefined) throw new Error("a claim came back empty");
  };
  const claims = async (claimers: number) => {
    const took: number[] = [];
    const each = (frame.quick ? 60 : 1_000) / claimers;
    const claimer = async () => {
      for (let n = 0; n < each; n++) took.push(await timed(claim));
    };
    await Promise.all(Array.from({ length: claimers }, claimer));
    return took;
  };
  await claims(CLAIMERS);
  const what = `${JOBS} jobs of ${(JOBS * items).toLocaleString("en")} items in all`;
  frame.measure(`claim, p95, ${what}`, percentile(await claims(1), 95), "ms", { below: 20 });
  const beside = percentile(await claims(CLAIMERS), 95);
  frame.measure(`claim, p95, ${CLAIMERS} at once`, beside, "ms");
  await frame.close();
}
