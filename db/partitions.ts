import type { Queryable } from "./pool.ts";

/**
 * Partitions by time. Tables that grow with items are cut by week of their operation's id (uuid v7
 * begins with milliseconds), logs by day. Each has a default partition, so that an insert never
 * fails because a clock is wrong or upkeep is late.
 */

export const BY_OPERATION = [
  "sub_batches",
  "items",
  "outcomes",
  "payloads",
  "progress_deltas",
] as const;

const DAY_MS = 86_400_000;
const WEEK_MS = 7 * DAY_MS;
const WEEKS_AHEAD = 4;
const DAYS_AHEAD = 7;

/** The smallest uuid v7 of a moment: a bound between ids made before and after it. */
export function operationIdBound(epochMs: number): string {
  const hex = epochMs.toString(16).padStart(12, "0");
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
}

/** Makes what is missing of this week and the weeks ahead. Repeatable; one round trip. */
export async function makePartitions(db: Queryable, nowMs = Date.now()): Promise<void> {
  const statements: string[] = [];
  const thisWeek = Math.floor(nowMs / WEEK_MS) * WEEK_MS;
  for (const table of BY_OPERATION) {
    statements.push(
      `create table if not exists holdfast.${table}_default partition of holdfast.${table} default`,
    );
    for (let week = 0; week <= WEEKS_AHEAD; week++) {
      const from = thisWeek + week * WEEK_MS;
      statements.push(
        `create table if not exists holdfast.${table}_${stamp(from)} partition of holdfast.${table} ` +
          `for values from ('${operationIdBound(from)}') to ('${operationIdBound(from + WEEK_MS)}')`,
      );
    }
  }
  statements.push(
    "create table if not exists holdfast.logs_default partition of holdfast.logs default",
  );
  const today = Math.floor(nowMs / DAY_MS) * DAY_MS;
  for (let day = 0; day <= DAYS_AHEAD; day++) {
    const from = today + day * DAY_MS;
    statements.push(
      `create table if not exists holdfast.logs_${stamp(from)} partition of holdfast.logs ` +
        `for values from ('${new Date(from).toISOString()}') to ('${new Date(from + DAY_MS).toISOString()}')`,
    );
  }
  await db.query(statements.join(";\n"));
}

/** Partitions of one table that end at or before a moment, oldest first. */
export async function partitionsBefore(
  db: Queryable,
  table: string,
  epochMs: number,
): Promise<string[]> {
  const { rows } = await db.query<{ name: string }>(
    `select child.relname as name
       from pg_inherits
       join pg_class child on child.oid = inhrelid
       join pg_class parent on parent.oid = inhparent
      where parent.oid = ('holdfast.' || $1)::regclass
        and child.relname ~ '_[0-9]{8}$'
      order by child.relname`,
    [table],
  );
  const span = table === "logs" ? DAY_MS : WEEK_MS;
  return rows.map((row) => row.name).filter((name) => startOf(name) + span <= epochMs);
}

function stamp(epochMs: number): string {
  return new Date(epochMs).toISOString().slice(0, 10).replaceAll("-", "");
}

/** The moment a partition begins, from its name. */
export function startOf(partition: string): number {
  const digits = partition.slice(-8);
  return Date.parse(`${digits.slice(0, 4)}-${digits.slice(4, 6)}-${digits.slice(6)}T00:00:00Z`);
}
