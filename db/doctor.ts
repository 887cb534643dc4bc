import { COMPLETENESS_CHECKS } from "./doctor/completeness.ts";
import { DERIVED_CHECKS } from "./doctor/derived.ts";
import { HOUSEKEEPING_CHECKS } from "./doctor/housekeeping.ts";
import { BUILD_CHECKS } from "./doctor/indexes.ts";
import { INVENTORY_CHECKS } from "./doctor/inventory.ts";
import { JOB_CHECKS } from "./doctor/jobs.ts";
import { LEDGER_CHECKS } from "./doctor/ledger.ts";
import { QUEUE_CHECKS } from "./doctor/queues.ts";
import type { RowCheck } from "./doctor/check.ts";

export {
  DEFAULT_LIMITS,
  type Check,
  type Found,
  type Limits,
  type RowCheck,
} from "./doctor/check.ts";

/** What the doctor can see in Postgres alone. Those that describe workflows are activities. */
export const ROW_CHECKS: readonly RowCheck[] = [
  ...QUEUE_CHECKS,
  ...COMPLETENESS_CHECKS,
  ...LEDGER_CHECKS,
  ...JOB_CHECKS,
  ...INVENTORY_CHECKS,
  ...DERIVED_CHECKS,
  ...BUILD_CHECKS,
  ...HOUSEKEEPING_CHECKS,
];
