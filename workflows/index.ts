/** Every workflow of this version. Names are workflow types. */
export { consolidate } from "./consolidate.ts";
export { deliver } from "./deliver.ts";
export { examineNow } from "./doctor.ts";
export { runJob } from "./job.ts";
export { planApply } from "./plan.ts";
export { reconcile } from "./reconcile.ts";
export { reindex } from "./reindex.ts";
export { retainBatch, retainRange } from "./retain.ts";
export { reviewMany } from "./review.ts";
export { index } from "./search.ts";
export { target } from "./target.ts";
