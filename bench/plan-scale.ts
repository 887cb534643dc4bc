import type { Benchmark } from "./frame.ts";
import { measureAgain } from "./plan-again.ts";
import { measureBacklog } from "./plan-backlog.ts";

export const benchmark: Benchmark = {
  name: "plan-scale",
  question:
    "Does a plan cost the same, however much waits and is done, and little where nothing changed?",
  async run(frame) {
    await measureAgain(frame);
    await measureBacklog(frame);
  },
};
