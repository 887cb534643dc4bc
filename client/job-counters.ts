/** What went wrong beside requests of pull workers in this process, and was told to nobody: for metrics. */
export const jobCounters = {
  /** Statements that were to write log lines of posts. */
  logWritesFailed: 0,
  /** Statements that were to note when workers were seen. */
  seenWritesFailed: 0,
  /** Posts without a key that settled nothing. */
  postsOfNothing: 0,
};
