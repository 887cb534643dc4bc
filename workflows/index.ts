/** Every workflow of this version. Names are workflow types. */
export { consolidate } from "./consolidate.ts";
export { deliver } from "./deliver.ts";
export { examineNow } from "./doctor.ts";
export { runJob } from "./job.ts";
export { reindex } from "./reindex.ts";
export { retainBatch, retainRange } from "./retain.ts";
export { index } from "./search.ts";
