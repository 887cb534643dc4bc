import type { Claim, PostAnswer } from "../contracts/job.ts";
import { openDb } from "../db/pool.ts";
import { percentile } from "./figures.ts";
import type { Frame } from "./frame.ts";
import { RESULTS_OF_A_POST } from "./job-rival.ts";
import { POSTERS, resultsOf, runningJob, tenCallers } from "./job-scene.ts";
import { startJobServer } from "./job-server.ts";
import { longestChain } from "./lock-chain.ts";

/** Ten posters of one job, over HTTP, through the product's own server. */
export async function measureHttp(frame: Frame): Promise<void> {
  const databaseUrl = await frame.database(await frame.postgres());
  const db = openDb({ url: databaseUrl, size: 1 });
  frame.atEnd(() => db.close());
  const server = await startJobServer(frame, databaseUrl);
  const posts = frame.quick ? 100 : 1_000;
  const warm = posts / 5;
  const job = await runningJob(db, { items: (posts + warm) * RESULTS_OF_A_POST });
  await db.query("analyze holdfast.items, holdfast.job_batches");

  let accepted = 0;
  const calls: (() => Promise<unknown>)[] = [];
  while (calls.length < posts + warm) {
    const { batches } = await server.call<Claim>("/v1/jobs/claim", {
      pipelines: ["p"],
      limit: 100,
      worker: "bench",
    });
    for (const batch of batches) {
      const request = resultsOf(batch);
      calls.push(async () => {
        const answer = await server.call<PostAnswer>(`/v1/jobs/${job}/results`, request);
        accepted += answer.accepted;
      });
    }
  }
  await tenCallers(calls.splice(0, warm));
  accepted = 0;
  let took: number[] = [];
  const chain = await longestChain(databaseUrl, async () => {
    took = await tenCallers(calls);
  });
  const what = `${RESULTS_OF_A_POST} results, ${POSTERS} at once`;
  frame.measure(`a post over HTTP, p95, ${what}`, percentile(took, 95), "ms", { atMost: 250 });
  frame.measure("a post over HTTP, p50", percentile(took, 50), "ms");
  frame.measure("of these results, accepted", (100 * accepted) / (posts * RESULTS_OF_A_POST), "%", {
    exactly: 100,
  });
  frame.measure("lock chain meanwhile", chain, "waiting", { atMost: 1 });
  await frame.close();
}
