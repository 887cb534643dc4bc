import { proxyActivities } from "@temporalio/workflow";
import type { reindexActivities } from "../activities/reindex.ts";
import { operation } from "./operation.ts";
import { pagedWork } from "./policies.ts";

const { reindexWhole, reindexPages } =
  proxyActivities<ReturnType<typeof reindexActivities>>(pagedWork);

/**
 * Indexes built anew, each beside the one that is searched: one after the other, because those of a
 * schema share its lanes, and the more at once the longer its drain would wait.
 */
export const reindex = operation({
  smallest: { items: 500, run: (ref) => reindexWhole(ref) },
  range: (ref, range) => reindexPages(ref, range),
});
