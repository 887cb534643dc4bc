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
  "job_batches",
  "job_leases",
  "job_results",
  "late_results",
] as const;

const DAY_MS = 86_400_000;
const WEEK_MS = 7 * DAY_MS;
const WEEKS_AHEAD = 4;
const DAYS_AHEAD = 7;
// Two processes that make the same partition at once would fail on the catalog's own unique keys.
const MAKING = "select pg_advisory_xact_lock(7260413002);\n";

/** The smallest uuid v7 of a moment: a bound between ids made before and after it. */
export function operationIdBound(epochMs: number): string {
  const hex = epochMs.toString(16).padStart(12, "0");
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
}

interface Partition {
  table: string;
  name: string;
  /** Absent: the default partition. */
  span?: { column: string; from: string; to: string };
}

/** Makes what is missing of this week and the weeks ahead. Safe to repeat, and from many processes. */
export async function makePartitions(db: Queryable, nowMs = Date.now()): Promise<void> {
  const there = await existingPartitions(db);
  for (const partition of wanted(nowMs)) {
    if (!there.has(partition.name)) await makePartition(db, partition);
  }
}

/** The statements of `makePartitions`, for a database that has none yet. */
export function partitionStatements(nowMs = Date.now()): string {
  return wanted(nowMs)
    .map((partition) => `${creation(partition)};`)
    .join("\n");
}

function wanted(nowMs: number): Partition[] {
  const partitions: Partition[] = [];
  const thisWeek = Math.floor(nowMs / WEEK_MS) * WEEK_MS;
  for (const table of BY_OPERATION) {
    partitions.push({ table, name: `${table}_default` });
    for (let week = 0; week <= WEEKS_AHEAD; week++) {
      const start = thisWeek + week * WEEK_MS;
      const [from, to] = [operationIdBound(start), operationIdBound(start + WEEK_MS)];
      const span = { column: "operation_id", from, to };
      partitions.push({ table, name: `${table}_${stamp(start)}`, span });
    }
  }
  partitions.push({ table: "logs", name: "logs_default" });
  const today = Math.floor(nowMs / DAY_MS) * DAY_MS;
  for (let day = 0; day <= DAYS_AHEAD; day++) {
    const start = today + day * DAY_MS;
    const [from, to] = [new Date(start).toISOString(), new Date(start + DAY_MS).toISOString()];
    partitions.push({
      table: "logs",
      name: `logs_${stamp(start)}`,
      span: { column: "at", from, to },
    });
  }
  return partitions;
}

async function existingPartitions(db: Queryable): Promise<Set<string>> {
  const { rows } = await db.query<{ name: string }>(
    `select relname as name from pg_class
      where relispartition and relnamespace = (
        select relnamespace from pg_class where oid = 'holdfast.operations'::regclass)`,
  );
  return new Set(rows.map((row) => row.name));
}

// Several statements without parameters are one transaction of their own.
async function makePartition(db: Queryable, partition: Partition): Promise<void> {
  try {
    await db.query(`${MAKING}${creation(partition)}`);
  } catch (error) {
    if (codeOf(error) !== ROWS_IN_THE_DEFAULT) throw error;
    await db.query(`${MAKING}${adoption(partition)}`).catch((cause: unknown) => {
      // Another process was first.
      if (codeOf(cause) !== ALREADY_THERE) throw cause;
    });
  }
}

const ROWS_IN_THE_DEFAULT = "23514";
const ALREADY_THERE = "42P07";
const codeOf = (error: unknown) => (error as { code?: string }).code;

function creation({ table, name, span }: Partition): string {
  return (
    `create table if not exists holdfast.${name} partition of holdfast.${table} ` +
    (span ? `for values from ('${span.from}') to ('${span.to}')` : "default")
  );
}

// Rows of this time stand in the default partition, where retention does not find them: a clock was
// ahead, or upkeep was late. They move; writers wait meanwhile.
function adoption({ table, name, span }: Partition): string {
  const { column, from, to } = span!;
  return `
    lock table holdfast.${table}_default in access exclusive mode;
    create table holdfast.${name}
      (like holdfast.${table} including defaults including constraints);
    with moved as (
      delete from holdfast.${table}_default
       where ${column} >= '${from}' and ${column} < '${to}' returning *
    ) insert into holdfast.${name} select * from moved;
    alter table holdfast.${table} attach partition holdfast.${name}
      for values from ('${from}') to ('${to}')`;
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
