import { consolidateActivities, type ConsolidateDeps } from "./consolidate.ts";
import { deliverActivities, type DeliverDeps } from "./deliver.ts";
import { doctorActivities, type DoctorDeps } from "./doctor.ts";
import { jobActivities } from "./job.ts";
import { jobControlActivities, type JobControlDeps } from "./job-look.ts";
import { operationActivities, type OperationDeps } from "./operation.ts";
import { planActivities, planControlActivities, type PlanDeps } from "./plan.ts";
import { reconcileActivities, type ReconcileDeps } from "./reconcile.ts";
import { reindexActivities, type ReindexDeps } from "./reindex.ts";
import { retainActivities, type RetainDeps } from "./retain.ts";
import { reviewActivities, type ReviewDeps } from "./review.ts";
import { searchActivities, type SearchDeps } from "./search.ts";

/** Short transactions and deliveries: what must stay prompt while work is busy. */
export const controlActivities = (
  deps: OperationDeps & DeliverDeps & DoctorDeps & JobControlDeps,
) => ({
  ...operationActivities(deps),
  ...deliverActivities(deps),
  ...doctorActivities(deps),
  ...jobControlActivities(deps),
  ...planControlActivities(deps),
});

/** Pages of work. */
export const workActivities = (
  deps: RetainDeps &
    ConsolidateDeps &
    ReindexDeps &
    ReconcileDeps &
    SearchDeps &
    PlanDeps &
    ReviewDeps,
) => ({
  ...retainActivities(deps),
  ...consolidateActivities(deps),
  ...reconcileActivities(deps),
  ...reindexActivities(deps),
  ...planActivities(deps),
  ...reviewActivities(deps),
  ...searchActivities(deps),
});

/** Lanes of jobs. */
export { jobActivities };
