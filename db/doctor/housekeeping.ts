import { makePartitions, partitionsBefore, startOf } from "../partitions.ts";
import type { Queryable } from "../pool.ts";
import { RETENTION } from "../retention.ts";
import { MOST_SUBJECTS, type Found, type RowCheck } from "./check.ts";
import { countStrayRows, MOST_MOVED, moveStrayRows, PARTITIONED } from "./stray-rows.ts";

/** Invariants of the database itself: what keeps it from filling up or slowing down. */

const tableWithoutRetention: RowCheck = {
  name: "table-without-retention",
  explanation: "every table has a retention line, and every line a table",
  async find({ db }) {
    const { rows } = await db.query<{ name: string }>(
      `select c.relname as name from pg_class c
        where c.relnamespace = (select relnamespace from pg_class
                where oid = 'holdfast.operations'::regclass)
          and c.relkind in ('r', 'p') and not c.relispartition`,
    );
    const tables = new Set(rows.map((row) => row.name));
    const lines = new Set(RETENTION.map((line) => line.table));
    return [
      ...[...tables]
        .filter((table) => !lines.has(table))
        .map((table) => ({
          subject: `table ${table}`,
          message: `nothing says how long ${table} keeps its rows: add a line to db/retention.ts`,
        })),
      ...[...lines]
        .filter((table) => !tables.has(table))
        .map((table) => ({
          subject: `table ${table}`,
          message: `db/retention.ts speaks of ${table}, and there is no such table`,
        })),
    ].slice(0, MOST_SUBJECTS);
  },
};

const DAY_MS = 86_400_000;

const partitionMissing: RowCheck = {
  name: "partition-missing",
  explanation: "partitions are made ahead of the rows that need them",
  async find({ db }) {
    const found: Found[] = [];
    for (const table of PARTITIONED) {
      const missing = await firstDayWithoutPartition(db, table);
      if (missing === undefined) continue;
      found.push({
        subject: `table ${table}`,
        message: `${table} has no partition for ${missing}; its rows go to the default partition`,
        repair: "make the partitions",
      });
    }
    return found;
  },
  async repair({ db }, { subject }) {
    const table = subject.slice("table ".length);
    if ((await firstDayWithoutPartition(db, table)) === undefined) return undefined;
    await makePartitions(db);
    return "made the partitions";
  },
};

/** From today on, two days of logs and eight of the others: upkeep makes more, every hour. */
async function firstDayWithoutPartition(db: Queryable, table: string): Promise<string | undefined> {
  const starts = (await partitionsBefore(db, table, Number.MAX_SAFE_INTEGER)).map(startOf);
  const [span, ahead] = table === "logs" ? [DAY_MS, 2] : [7 * DAY_MS, 8];
  for (let day = 0; day <= ahead; day++) {
    const at = Date.now() + day * DAY_MS;
    if (!starts.some((start) => start <= at && at < start + span)) {
      return new Date(at).toISOString().slice(0, 10);
    }
  }
  return undefined;
}

const defaultPartitionHoldsRows: RowCheck = {
  name: "default-partition-holds-rows",
  explanation: "rows are in the partition of their time",
  async find({ db }) {
    const stray = await countStrayRows(db);
    if (stray.length === 0) return [];
    const shown = stray.map(({ table, n }) => `${n} in ${table}`).join(", ");
    const tooMany = stray.some(({ n }) => n > MOST_MOVED);
    return [
      {
        subject: "default partitions",
        message:
          `there are rows in default partitions: ${shown}. Upkeep was late, or a clock is wrong` +
          (tooMany ? "; so many have to be moved by hand, in a quiet hour" : ""),
        ...(tooMany ? {} : { repair: "move them to partitions of their own" }),
      },
    ];
  },
  async repair({ db }) {
    const before = total(await countStrayRows(db));
    if (before === 0) return undefined;
    await moveStrayRows(db);
    const left = total(await countStrayRows(db));
    const moved = `moved ${before - left} rows`;
    return left === 0 ? moved : `${moved}; ${left} are of a time that no partition is made for`;
  },
};

const total = (stray: readonly { n: number }[]) => stray.reduce((sum, { n }) => sum + n, 0);

const transactionTooOld: RowCheck = {
  name: "transaction-too-old",
  explanation: "no transaction holds back the clean-up of dead rows",
  async find({ db }, { idleInTransactionMs, transactionMs }) {
    const { rows } = await db.query<{ who: string; what: string; seconds: number }>(
      `select 'connection ' || pid as who,
              concat_ws(' ', nullif(application_name, ''), 'of', usename, case
                when state like 'idle in transaction%' then 'idles inside a transaction'
                else 'runs one transaction' end) as what,
              extract(epoch from clock_timestamp() - xact_start)::int as seconds
         from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()
          and backend_type = 'client backend'
          and (xact_start < clock_timestamp() - $2 * interval '1 millisecond'
               or (state like 'idle in transaction%'
                   and state_change < clock_timestamp() - $1 * interval '1 millisecond'))
       union all
       select 'prepared transaction ' || gid, 'of ' || owner || ' is neither committed nor rolled back',
              extract(epoch from clock_timestamp() - prepared)::int
         from pg_prepared_xacts
        where database = current_database()
          and prepared < clock_timestamp() - $2 * interval '1 millisecond'
        order by seconds desc limit ${MOST_SUBJECTS}`,
      [idleInTransactionMs, transactionMs],
    );
    return rows.map(({ who, what, seconds }) => ({
      subject: who,
      message:
        `${who} (${what}) began ${seconds} s ago: nothing deleted since then can be cleaned up. ` +
        "End it, or bound it with idle_in_transaction_session_timeout",
    }));
  },
};

export const HOUSEKEEPING_CHECKS: readonly RowCheck[] = [
  tableWithoutRetention,
  partitionMissing,
  defaultPartitionHoldsRows,
  transactionTooOld,
];
