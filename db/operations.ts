import type { OperationFilter, Page, State } from "../contracts/operation.ts";
import { arrayText, payloadValues, type PayloadSlice } from "./payloads.ts";
import type { Queryable, Tx } from "./pool.ts";

/** Operations as rows: accepting them, reading them, and the few guarded changes of state. */

export interface OperationRow {
  id: string;
  kind: string;
  tenant: string;
  scope: string;
  key: string | null;
  digest: Buffer;
  exclusive_on: string | null;
  state: State;
  generation: number;
  restarts: number;
  priority: number;
  total: number;
  batches: number;
  bytes: string;
  input: Record<string, unknown>;
  result: Record<string, unknown> | null;
  reason: string | null;
  trace: string | null;
  submitted_by: string;
  accepted_at: Date;
  start_after: Date | null;
  due_at: Date;
  start_attempts: number;
  started_at: Date | null;
  finished_at: Date | null;
  wake_at: Date | null;
  cancel_requested_at: Date | null;
  cancel_requested_by: string | null;
  paused_at: Date | null;
  paused_by: string | null;
  pause_reason: string | null;
}

const COLUMNS = `id, kind, tenant, scope, key, digest, exclusive_on, state, generation, restarts,
  priority, total, batches, bytes, input, result, reason, trace, submitted_by, accepted_at,
  start_after, due_at, start_attempts, started_at, finished_at, wake_at, cancel_requested_at,
  cancel_requested_by, paused_at, paused_by, pause_reason`;

export interface NewOperation {
  id: string;
  kind: string;
  tenant: string;
  scope: string;
  /** The bank it works in, which must be live; its id becomes `bankId` of the input. */
  bank?: string | undefined;
  key?: string | undefined;
  digest: Buffer;
  exclusiveOn?: string | undefined;
  priority: number;
  bytes: number;
  input: Record<string, unknown>;
  trace?: string | undefined;
  submittedBy: string;
  startAfter?: string | undefined;
  /** Sub-batches in order: first and last item (1-based, inclusive) and size. */
  batches: readonly { from: number; to: number; size: number }[];
  /** In order of their numbers. `key`: what an item is about, the document id of a retain. */
  items: readonly { key: string; size: number; batch: number }[];
}

/** What a tenant has open, or may have. */
export interface OpenWork {
  operations: number;
  items: number;
  bytes: number;
}

/**
 * Writes an operation with its sub-batches, items and first payloads in one statement: who reads
 * sees nothing or all of it, in a transaction or without one. Not inserted: its key or exclusive
 * thing is taken, its bank is not there, or `open`, what the tenant has open, leaves no room.
 * `lockTimeoutMs` bounds how long it waits for somebody else's transaction (then error 55P03), and
 * holds to the end of the transaction.
 */
export async function insertOperation(
  db: Queryable,
  operation: NewOperation,
  payloads: PayloadSlice,
  limits: OpenWork,
  lockTimeoutMs?: number,
): Promise<{ inserted: boolean; open: OpenWork }> {
  const { batches, items } = operation;
  const { rows } = await db.query<OpenWork & { id: string | null }>(
    `select id, operations, items, bytes
       from holdfast.accept_operation($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
    [
      JSON.stringify(askedOf(operation, limits, lockTimeoutMs)),
      arrayText(batches.map((batch) => batch.from)),
      arrayText(batches.map((batch) => batch.to)),
      arrayText(batches.map((batch) => batch.size)),
      arrayText(items.map((item) => item.batch)),
      arrayText(items.map((item) => item.size)),
      textArrayText(items.map((item) => item.key)),
      ...payloadValues(payloads),
    ],
  );
  // A caller's own driver may read numbers its own way.
  const { id, ...open } = rows[0]!;
  return {
    inserted: id !== null,
    open: {
      operations: Number(open.operations),
      items: Number(open.items),
      bytes: Number(open.bytes),
    },
  };
}

// What is undefined is left out, and null there; so is a limit of Infinity.
function askedOf(operation: NewOperation, limits: OpenWork, lockTimeoutMs: number | undefined) {
  return {
    id: operation.id,
    kind: operation.kind,
    tenant: operation.tenant,
    scope: operation.scope,
    bank: operation.bank,
    key: operation.key,
    digest: operation.digest.toString("hex"),
    exclusive_on: operation.exclusiveOn,
    priority: operation.priority,
    total: operation.items.length,
    batches: operation.batches.length,
    bytes: operation.bytes,
    input: operation.input,
    trace: operation.trace,
    submitted_by: operation.submittedBy,
    start_after: operation.startAfter,
    lock_timeout: lockTimeoutMs?.toString(),
    max_operations: limits.operations,
    max_items: limits.items,
    max_bytes: limits.bytes,
  };
}

function textArrayText(list: readonly string[]): string {
  if (list.length === 0) return "{}";
  const special = list.some((text) => /["\\]/.test(text));
  const texts = special ? list.map((text) => text.replaceAll(/["\\]/g, "\\$&")) : list;
  return `{"${texts.join('","')}"}`;
}

/** One page of operations, newest first. The cursor is the id of the last one. */
export async function listOperations(
  db: Queryable,
  filter: OperationFilter & { limit: number; tenants?: readonly string[] | undefined },
): Promise<Page<OperationRow>> {
  const { rows } = await db.query<OperationRow>(
    `select ${COLUMNS}
       from holdfast.operations
      where ($1::text is null or kind = $1)
        and ($2::text[] is null or state = any($2))
        and ($3::text is null or tenant = $3)
        and ($4::text is null or scope = $4)
        and ($5::timestamptz is null or accepted_at >= $5)
        and ($6::uuid is null or id < $6)
        and ($7::text[] is null or tenant = any($7))
      order by id desc
      limit $8`,
    [
      filter.kind ?? null,
      filter.state === undefined
        ? null
        : filter.state === "open"
          ? ["accepted", "running"]
          : [filter.state],
      filter.tenant ?? null,
      filter.scope ?? null,
      filter.since ?? null,
      filter.after ?? null,
      filter.tenants ?? null,
      filter.limit + 1,
    ],
  );
  const items = rows.slice(0, filter.limit);
  return rows.length > filter.limit ? { items, next: items.at(-1)!.id } : { items };
}

/** How many operations of each kind stand in each state, and the oldest of each. Counts stop at 10,000. */
export async function countOperations(
  db: Queryable,
  tenants?: readonly string[],
): Promise<{ kind: string; state: State; n: number; oldest: Date }[]> {
  const { rows } = await db.query<{ kind: string; state: State; n: number; oldest: Date }>(
    `select kind, state, count(*)::int as n, min(accepted_at) as oldest
       from (select kind, state, accepted_at from holdfast.operations
              where state in ('accepted', 'running')
                and ($1::text[] is null or tenant = any($1)) limit 10000) as open
      group by kind, state
      union all
     select kind, state, count(*)::int, min(accepted_at)
       from (select kind, state, accepted_at from holdfast.operations
              where finished_at > clock_timestamp() - interval '24 hours'
                and ($1::text[] is null or tenant = any($1)) limit 10000) as recent
      group by kind, state
      order by 1, 2`,
    [tenants ?? null],
  );
  return rows;
}

export async function findOperation(db: Queryable, id: string): Promise<OperationRow | undefined> {
  const { rows } = await db.query<OperationRow>(
    `select ${COLUMNS} from holdfast.operations where id = $1`,
    [id],
  );
  return rows[0];
}

export async function findOperationByKey(
  db: Queryable,
  tenant: string,
  kind: string,
  key: string,
): Promise<OperationRow | undefined> {
  const { rows } = await db.query<OperationRow>(
    `select ${COLUMNS} from holdfast.operations where tenant = $1 and kind = $2 and key = $3`,
    [tenant, kind, key],
  );
  return rows[0];
}

/** The open operation that holds an exclusive thing. */
export async function findHolder(
  db: Queryable,
  tenant: string,
  kind: string,
  exclusiveOn: string,
): Promise<OperationRow | undefined> {
  const { rows } = await db.query<OperationRow>(
    `select ${COLUMNS} from holdfast.operations
      where tenant = $1 and kind = $2 and exclusive_on = $3 and state in ('accepted', 'running')`,
    [tenant, kind, exclusiveOn],
  );
  return rows[0];
}

/** Accepted or running (again) becomes running. Undefined: terminal, gone or of another generation. */
export async function markRunning(
  tx: Tx,
  id: string,
  generation: number,
): Promise<OperationRow | undefined> {
  const { rows } = await tx.query<OperationRow>(
    `update holdfast.operations
        set state = 'running', started_at = coalesce(started_at, clock_timestamp())
      where id = $1 and generation = $2 and state in ('accepted', 'running')
      returning ${COLUMNS}`,
    [id, generation],
  );
  return rows[0];
}

/** Locks the row for a change of state. */
export async function lockOperation(tx: Tx, id: string): Promise<OperationRow | undefined> {
  const { rows } = await tx.query<OperationRow>(
    `select ${COLUMNS} from holdfast.operations where id = $1 for update`,
    [id],
  );
  return rows[0];
}

/** An open operation of this generation becomes terminal. */
export async function markFinished(
  tx: Tx,
  finish: {
    id: string;
    generation: number;
    state: "completed" | "failed" | "cancelled";
    reason: string | undefined;
    result: Record<string, unknown>;
  },
): Promise<boolean> {
  const { rowCount } = await tx.query(
    `update holdfast.operations
        set state = $3, reason = $4, result = $5, finished_at = clock_timestamp(),
            wake_at = null, cancel_due_at = null, paused_at = null, paused_by = null,
            pause_reason = null
      where id = $1 and generation = $2 and state in ('accepted', 'running')`,
    [
      finish.id,
      finish.generation,
      finish.state,
      finish.reason ?? null,
      JSON.stringify(finish.result),
    ],
  );
  return rowCount === 1;
}

/** A running operation is asked to stop; the relay carries it to the workflow until it has. */
export async function markCancelRequested(tx: Tx, id: string, by: string): Promise<void> {
  await tx.query(
    `update holdfast.operations
        set cancel_requested_at = clock_timestamp(), cancel_requested_by = $2,
            cancel_due_at = clock_timestamp()
      where id = $1 and state = 'running' and cancel_requested_at is null`,
    [id, by],
  );
}

/** The next generation over unfinished items. */
export async function markAcceptedAgain(tx: Tx, id: string): Promise<boolean> {
  const { rowCount } = await tx.query(
    `update holdfast.operations
        set state = 'accepted', generation = generation + 1, restarts = 0, start_attempts = 0,
            due_at = clock_timestamp(), start_after = null, started_at = null, finished_at = null,
            result = null, reason = null, wake_at = null, cancel_requested_at = null,
            cancel_requested_by = null, cancel_due_at = null
      where id = $1 and state in ('completed', 'failed', 'cancelled')`,
    [id],
  );
  return rowCount === 1;
}

export async function markPaused(tx: Tx, id: string, by: string, reason: string): Promise<boolean> {
  const { rowCount } = await tx.query(
    `update holdfast.operations
        set paused_at = clock_timestamp(), paused_by = $2, pause_reason = $3
      where id = $1 and state in ('accepted', 'running') and paused_at is null`,
    [id, by, reason],
  );
  return rowCount === 1;
}

export async function markResumed(tx: Tx, id: string): Promise<boolean> {
  const { rowCount } = await tx.query(
    `update holdfast.operations
        set paused_at = null, paused_by = null, pause_reason = null,
            wake_at = case when state = 'running' then clock_timestamp() end
      where id = $1 and state in ('accepted', 'running') and paused_at is not null`,
    [id],
  );
  return rowCount === 1;
}
