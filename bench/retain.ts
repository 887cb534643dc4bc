import type { Benchmark } from "./frame.ts";
import { measureMemoryAndHistory } from "./retain-memory.ts";
import { measureRecovery } from "./retain-recovery.ts";
import { measureThroughput } from "./retain-throughput.ts";

export const benchmark: Benchmark = {
  name: "retain",
  question:
    "How fast are documents taken in from submit to the last row, and what does a worker need for it?",
  async run(frame) {
    await measureThroughput(frame);
    await measureMemoryAndHistory(frame);
    await measureRecovery(frame);
  },
};
