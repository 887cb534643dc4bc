import { proxyActivities } from "@temporalio/workflow";
import type { searchActivities } from "../activities/search.ts";
import { drain } from "./drain.ts";
import { pagedWork } from "./policies.ts";

const activities = proxyActivities<ReturnType<typeof searchActivities>>(pagedWork);

/** Brings search up to date with what was committed, lane by lane. */
export const index = drain((ref) => activities.drainIndex(ref));
