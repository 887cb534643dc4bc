import type { Benchmark } from "./frame.ts";
import { measureDirect } from "./inbox-direct.ts";
import { measureStream } from "./inbox-stream.ts";
import { measureTargetDown } from "./inbox-target-down.ts";

export const benchmark: Benchmark = {
  name: "inbox",
  question:
    "How near to a bare COPY do entities come in that are checked, hashed and counted once?",
  async run(frame) {
    await measureDirect(frame);
    await measureStream(frame);
    await measureTargetDown(frame);
  },
};
