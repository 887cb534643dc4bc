import { proxyActivities } from "@temporalio/workflow";
import type { consolidateActivities } from "../activities/consolidate.ts";
import { drain } from "./drain.ts";
import { pagedWork } from "./policies.ts";

const activities = proxyActivities<ReturnType<typeof consolidateActivities>>(pagedWork);

/** Rewrites observations whose facts changed, bank by bank. */
export const consolidate = drain((ref) => activities.consolidate(ref));
