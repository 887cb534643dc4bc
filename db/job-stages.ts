/** Stages of a job's progress. */

/** Its ledger; and what became of its leases. */
export const JOB_STAGE = "job";
export const LEASES_STAGE = "leases";
/** What results counted, by name. */
export const SUMS_STAGE = "sums";
