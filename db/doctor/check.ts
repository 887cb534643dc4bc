import type { Db, Queryable } from "../pool.ts";

/** What a check of the doctor is. Each belongs to one invariant and knows how to break and mend it. */

/** Subjects one check reports at once; the rest shows when these are mended. */
export const MOST_SUBJECTS = 100;

/** One disagreement. The same disagreement has the same subject every time it is looked for. */
export interface Found {
  subject: string;
  /** What is the case, in words. */
  message: string;
  /** Whose it is; absent: nobody's in particular. */
  tenant?: string;
  operationId?: string;
  /** What the doctor would do about it. Absent: a person has to, and the message says what. */
  repair?: string;
}

export interface Check<Deps> {
  /** Kebab-case; a key of the `findings` table. */
  name: string;
  /** The invariant as a sentence. */
  explanation: string;
  /** Looked at again after this many ms, and only what was there both times is found. */
  confirmAfterMs?: number;
  find(deps: Deps, limits: Limits): Promise<Found[]>;
  /**
   * Mends one subject. Guarded by the same condition as the find, in its own statement, so that it may
   * be repeated, come late, or meet another doctor. Answers what it did; undefined: nothing was left
   * to do.
   */
  repair?(deps: Deps & { db: Db }, found: Found): Promise<string | undefined>;
}

/** A check that needs Postgres only; `db` is one read-only snapshot while it looks. */
export type RowCheck = Check<{ db: Queryable }>;

/** What is still in order in this installation. */
export interface Limits {
  /** What the relay may run at once, in all and in one scope. */
  maxRunning: number;
  maxRunningPerScope: number;
  /** A connection that idles inside a transaction. */
  idleInTransactionMs: number;
  /** A transaction of any kind. */
  transactionMs: number;
  /** Tries of one workflow task: one that fails is a deploy or a lost worker, so many are the code. */
  workflowTaskAttempts: number;
}

export const DEFAULT_LIMITS: Limits = {
  maxRunning: 200,
  maxRunningPerScope: 4,
  idleInTransactionMs: 300_000,
  transactionMs: 1_800_000,
  workflowTaskAttempts: 5,
};
