import { proxyActivities } from "@temporalio/workflow";
import type { reconcileActivities } from "../activities/reconcile.ts";
import { drain } from "./drain.ts";
import { pagedWork } from "./policies.ts";

const activities = proxyActivities<ReturnType<typeof reconcileActivities>>(pagedWork);

/** Plans and applies what was taken into the inbox, tenant by tenant. */
export const reconcile = drain((ref) => activities.reconcile(ref));
