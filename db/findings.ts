import type { Queryable } from "./pool.ts";

/** What the doctor found: one row per check and subject, open until `resolved_at`. */

export interface FindingRow {
  check_name: string;
  subject: string;
  message: string;
  /** What the doctor would do about it; null: a person has to. */
  repair: string | null;
  first_seen_at: Date;
  last_seen_at: Date;
}

/** Open findings, the longest standing first. */
export async function listFindings(db: Queryable, limit = 50): Promise<FindingRow[]> {
  const { rows } = await db.query<FindingRow>(
    `select check_name, subject, message, repair, first_seen_at, last_seen_at
       from holdfast.findings
      where resolved_at is null
      order by first_seen_at, check_name, subject
      limit $1`,
    [limit],
  );
  return rows;
}
