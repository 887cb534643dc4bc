import { connect } from "../client/index.ts";
import { median, ratio } from "./figures.ts";
import type { Frame } from "./frame.ts";
import { inTurn, timed } from "./in-turn.ts";
import { jobRival, RESULTS_OF_A_POST, type JobRival, type RowWritten } from "./job-rival.ts";
import { POSTERS, preparedPosts, tenCallers, type Call } from "./job-scene.ts";
import config from "./job.config.ts";
import { longestChain } from "./lock-chain.ts";

const JOBS = 20;
/** The rival needs so much longer that it is given less. */
const SHARE = { log: 0.05, progress: 0.1, counter: 1 };

/** Ten posters on one job, on twenty, and on a job whose row everybody writes. */
export async function measureThroughput(frame: Frame): Promise<void> {
  const databaseUrl = await frame.database(await frame.postgres());
  const holdfast = connect({ databaseUrl, poolSize: POSTERS, config });
  frame.atEnd(() => holdfast.close());
  const rival = await jobRival(databaseUrl, POSTERS);
  frame.atEnd(() => rival.close());
  const posts = frame.quick ? 40 : 400;

  const ours = (jobs: number) => async () => perSecond(await preparedPosts(holdfast, jobs, posts));
  const theirs = (how: RowWritten) => async () =>
    perSecond(await rivalPosts(rival, posts * SHARE[how], how));
  const seen = await inTurn(frame.quick ? 1 : 3, {
    oneJob: ours(1),
    twentyJobs: ours(JOBS),
    log: theirs("log"),
    progress: theirs("progress"),
    counter: theirs("counter"),
  });
  const what = `${RESULTS_OF_A_POST} results a post, ${POSTERS} posters`;
  frame.measure(`one job, ${what}`, median(seen.oneJob), "results/s", { atLeast: 3_000 });
  frame.measure(`${JOBS} jobs, ${what}`, median(seen.twentyJobs), "results/s");
  frame.measure("a row that every result rewrites, with its log", median(seen.log), "results/s");
  frame.measure("the same without the log", median(seen.progress), "results/s");
  frame.measure("a row that every post updates once", median(seen.counter), "results/s");
  frame.measure("of the row with its log", ratio(seen.oneJob, seen.log), "x", { atLeast: 8 });
  frame.measure("of the row without the log", ratio(seen.oneJob, seen.progress), "x");
  frame.measure("of the row updated once a post", ratio(seen.oneJob, seen.counter), "x");
  frame.measure("one job, of twenty", 100 * ratio(seen.oneJob, seen.twentyJobs), "%", {
    atLeast: 80,
  });

  const chainOf = async (calls: readonly Call[]) =>
    longestChain(databaseUrl, () => tenCallers(calls));
  const chain = await chainOf(await preparedPosts(holdfast, 1, posts * 3));
  frame.measure(`lock chain, ${what} on one job`, chain, "waiting", { atMost: 1 });
  const rivalChain = await chainOf(await rivalPosts(rival, posts * SHARE.log, "log"));
  frame.measure("lock chain of the row with its log", rivalChain, "waiting");
  await frame.close();
}

async function perSecond(calls: readonly Call[]): Promise<number> {
  const ms = await timed(() => tenCallers(calls));
  return (calls.length * RESULTS_OF_A_POST * 1_000) / ms;
}

async function rivalPosts(rival: JobRival, posts: number, how: RowWritten): Promise<Call[]> {
  await rival.begin();
  return Array.from(
    { length: posts },
    (_, post) => () =>
      rival.post(
        Array.from({ length: RESULTS_OF_A_POST }, (_, n) => post * RESULTS_OF_A_POST + n + 1),
        how,
      ),
  );
}
