import type { Benchmark } from "./frame.ts";
import { measureClaim } from "./job-claim.ts";
import { measureFairness } from "./job-fairness.ts";
import { measureHttp } from "./job-http.ts";
import { measureIdle } from "./job-idle.ts";
import { measureLife } from "./job-life.ts";
import { measurePage } from "./job-page.ts";
import { measureThroughput } from "./job-throughput.ts";

export const benchmark: Benchmark = {
  name: "job",
  question:
    "Can many workers post results of one job without waiting, lose none, and share fairly?",
  async run(frame) {
    await measureThroughput(frame);
    await measureHttp(frame);
    await measureLife(frame);
    await measureClaim(frame);
    await measureFairness(frame);
    await measureIdle(frame);
    await measurePage(frame);
  },
};
