import { Frame } from "./frame.ts";
import { measureThroughput } from "./plan-throughput.ts";
const frame = new Frame({ name: "x", question: "", run: async () => {} }, { quick: true });
try { await measureThroughput(frame); } finally { await frame.close(); }
process.exit(0);
