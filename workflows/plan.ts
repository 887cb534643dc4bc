import { proxyActivities } from "@temporalio/workflow";
import type { planActivities, planControlActivities } from "../activities/plan.ts";
import { operation } from "./operation.ts";
import { pagedWork, repeatableLongWrites } from "./policies.ts";

const { beginPlan } =
  proxyActivities<ReturnType<typeof planControlActivities>>(repeatableLongWrites);
const { planWhole, workPlan } = proxyActivities<ReturnType<typeof planActivities>>(pagedWork);

/**
 * A change request: planned, shown, decided, applied. Each call does what can be done now; while people
 * have to decide there is nothing, and the relay wakes it when they have. What changed since it was
 * approved is planned again, and waits again. When nobody decides in time it ends, and nothing is applied.
 */
export const planApply = operation({
  begin: beginPlan,
  smallest: { items: 500, run: (ref) => planWhole(ref) },
  range: (ref) => workPlan(ref),
});
