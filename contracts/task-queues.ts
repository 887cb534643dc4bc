/** Begin, finish and everything else that must stay prompt while work is busy. */
export const CONTROL_QUEUE = "holdfast-control";
/** The work itself: ranges of items, drains. */
export const WORK_QUEUE = "holdfast-work";
