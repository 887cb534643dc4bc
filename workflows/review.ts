import { proxyActivities } from "@temporalio/workflow";
import type { reviewActivities } from "../activities/review.ts";
import { operation } from "./operation.ts";
import { pagedWork } from "./policies.ts";

const { reviewWhole, reviewPages } =
  proxyActivities<ReturnType<typeof reviewActivities>>(pagedWork);

/** One decision about many entities: small ones in one activity, others range by range. */
export const reviewMany = operation({
  smallest: { items: 500, run: (ref) => reviewWhole(ref) },
  range: (ref, range) => reviewPages(ref, range),
});
