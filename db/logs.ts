import type { LogLine, Page } from "../contracts/operation.ts";
import { kept } from "../contracts/text.ts";
import type { Queryable } from "./pool.ts";

/** Log lines of operations: append-only, a partition per day, gone with it. */

export interface NewLogLine {
  operationId: string;
  level: LogLine["level"];
  message: string;
  fields?: Record<string, unknown> | undefined;
}

const MAX_MESSAGE = 4_000;

/** Appends lines in one statement. */
export async function appendLogs(db: Queryable, lines: readonly NewLogLine[]): Promise<void> {
  const [first, ...others] = lines;
  if (!first) return;
  if (others.length === 0) return appendLog(db, first);
  const values = lines.map(loggedValues);
  await db.query(
    `insert into holdfast.logs (operation_id, level, message, fields)
     select * from unnest($1::uuid[], $2::text[], $3::text[], $4::jsonb[])`,
    [
      lines.map((line) => line.operationId),
      values.map(([level]) => level),
      values.map(([, message]) => message),
      values.map(([, , fields]) => fields),
    ],
  );
}

// Beside a count comes one line as a rule, and planning an unnest costs as much as writing it.
async function appendLog(db: Queryable, line: NewLogLine): Promise<void> {
  await db.query(
    "insert into holdfast.logs (operation_id, level, message, fields) values ($1, $2, $3, $4)",
    [line.operationId, ...loggedValues(line)],
  );
}

/** Level, message and fields as they are stored. */
export function loggedValues(
  line: Omit<NewLogLine, "operationId">,
): [level: string, message: string, fields: string | null] {
  const { level, message, fields } = line;
  return [level, kept(message, MAX_MESSAGE), fields ? JSON.stringify(fields) : null];
}

/** Lines in order of writing. `after`: seq of the last line seen. `newest`: the last page instead. */
export async function listLogs(
  db: Queryable,
  operationId: string,
  filter: {
    level?: LogLine["level"] | undefined;
    after?: string | undefined;
    before?: string | undefined;
    newest?: boolean;
    limit: number;
  },
): Promise<Page<LogLine>> {
  const levels = ["debug", "info", "warn", "error"];
  const { rows } = await db.query<{
    seq: string;
    at: Date;
    level: LogLine["level"];
    message: string;
    fields: Record<string, unknown> | null;
  }>(
    `select seq, at, level, message, fields
       from holdfast.operation_logs($1, $2, $3, $4, $5, $6)`,
    [
      operationId,
      levels.slice(levels.indexOf(filter.level ?? "debug")),
      filter.after ?? null,
      filter.before ?? null,
      filter.newest ?? false,
      filter.limit + 1,
    ],
  );
  const items = rows
    .slice(0, filter.limit)
    .map((row): LogLine => ({ ...row, at: row.at.toISOString() }));
  const next = rows.length > filter.limit ? { next: items.at(-1)!.seq } : {};
  if (filter.newest) items.reverse();
  return { items, ...next };
}
