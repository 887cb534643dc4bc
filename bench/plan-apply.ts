import type { Benchmark } from "./frame.ts";
import { measureLife } from "./plan-life.ts";
import { measurePoisonOverHttp } from "./plan-poison-http.ts";
import { measurePoison } from "./plan-poison.ts";
import { measureReview } from "./plan-review.ts";
import { measureThroughput } from "./plan-throughput.ts";

export const benchmark: Benchmark = {
  name: "plan-apply",
  question: "What does it cost to plan every entity, keep its change set, and apply it once?",
  async run(frame) {
    await measureThroughput(frame);
    await measurePoison(frame);
    await measurePoisonOverHttp(frame);
    await measureReview(frame);
    await measureLife(frame);
  },
};
