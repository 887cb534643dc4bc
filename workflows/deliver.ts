import { proxyActivities } from "@temporalio/workflow";
import type { deliverActivities } from "../activities/deliver.ts";
import { drain } from "./drain.ts";
import { pagedControl } from "./policies.ts";

const activities = proxyActivities<ReturnType<typeof deliverActivities>>(pagedControl);

/** Sends events to the webhooks that asked for them. */
export const deliver = drain((ref) => activities.deliver(ref));
