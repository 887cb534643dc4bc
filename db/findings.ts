import { DEFAULT_TENANT } from "../contracts/operation.ts";
import { insertEvents } from "./events.ts";
import type { Queryable, Tx } from "./pool.ts";

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

/** How many findings are open; counting stops at 10,000. */
export async function countFindings(db: Queryable): Promise<number> {
  const { rows } = await db.query<{ n: number }>(
    `select count(*)::int as n
       from (select from holdfast.findings where resolved_at is null limit 10000) as open`,
  );
  return rows[0]!.n;
}

export interface NewFinding {
  check: string;
  subject: string;
  message: string;
  repair: string | null;
  tenant?: string | undefined;
  operationId?: string | undefined;
}

/**
 * Writes what is found. What was not open before is news: each becomes one `doctor.finding` event of
 * its tenant. Answers since when each stands, in the same order.
 */
export async function upsertFindings(tx: Tx, findings: readonly NewFinding[]): Promise<Date[]> {
  if (findings.length === 0) return [];
  const { rows } = await tx.query<{ place: number; first_seen_at: Date; is_new: boolean }>(
    `with seen as (
       select * from unnest($1::text[], $2::text[], $3::text[], $4::text[])
                with ordinality as s(check_name, subject, message, repair, place)
     ), before as (
       select f.check_name, f.subject from holdfast.findings f join seen using (check_name, subject)
        where f.resolved_at is null
     ), written as (
       insert into holdfast.findings as f (check_name, subject, message, repair)
       select check_name, subject, message, repair from seen order by check_name, subject
       on conflict (check_name, subject) do update
          set message = excluded.message, repair = excluded.repair,
              last_seen_at = clock_timestamp(), resolved_at = null,
              first_seen_at = case when f.resolved_at is null then f.first_seen_at
                                   else clock_timestamp() end
       returning check_name, subject, first_seen_at
     )
     select s.place::int, w.first_seen_at, b.subject is null as is_new
       from seen s
       join written w using (check_name, subject)
       left join before b using (check_name, subject)
      order by s.place`,
    [
      findings.map((finding) => finding.check),
      findings.map((finding) => finding.subject),
      findings.map((finding) => finding.message),
      findings.map((finding) => finding.repair),
    ],
  );
  await insertEvents(
    tx,
    rows
      .filter((row) => row.is_new)
      .map((row) => findings[row.place - 1]!)
      .map(({ tenant = DEFAULT_TENANT, operationId, ...body }) => ({
        type: "doctor.finding",
        tenant,
        ...(operationId === undefined ? {} : { operationId }),
        body,
      })),
  );
  return rows.map((row) => row.first_seen_at);
}

/** Resolves open findings of checks that were done, except those that were found again. */
export async function resolveFindings(
  tx: Tx,
  checks: readonly string[],
  stillThere: readonly { check: string; subject: string }[],
): Promise<number> {
  const { rowCount } = await tx.query(
    `update holdfast.findings f set resolved_at = clock_timestamp()
      where f.resolved_at is null and f.check_name = any($1)
        and not exists (select from unnest($2::text[], $3::text[]) as s(check_name, subject)
              where s.check_name = f.check_name and s.subject = f.subject)`,
    [
      checks,
      stillThere.map((finding) => finding.check),
      stillThere.map((finding) => finding.subject),
    ],
  );
  return rowCount ?? 0;
}
