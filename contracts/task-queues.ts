/** Begin, finish and everything else that must stay prompt while work is busy. */
export const CONTROL_QUEUE = "holdfast-control";
/** The work itself: ranges of items, drains. */
export const WORK_QUEUE = "holdfast-work";
/** Lanes of jobs, a step of which may take hours: what else there is to do does not wait for them. */
export const JOB_QUEUE = "holdfast-jobs";
/** One for each target outside, by the name of its drain's queue: `holdfast-target-netbox`. */
export function targetTaskQueue(queue: string): string {
  return `holdfast-${queue}`;
}
