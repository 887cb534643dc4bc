import { context as otelContext, propagation } from "@opentelemetry/api";
import { Conflict, LimitExceeded } from "../contracts/errors.ts";
import type { Accepted } from "../contracts/operation.ts";
import {
  findHolder,
  findOperationByKey,
  insertOperation,
  openUsage,
  type NewOperation,
  type OperationRow,
} from "../db/operations.ts";
import { insertPayloads, type PayloadSlice } from "../db/payloads.ts";
import { inSavepoint, type Queryable, type Tx } from "../db/pool.ts";
import type { Context } from "./context.ts";

export interface SubmitOptions {
  /**
   * The caller's own open transaction (anything with `query(text, values)`): nothing exists unless
   * it commits, and a submit that throws leaves nothing in it. 40001 and 40P01 thrown from it mean:
   * run yours again.
   */
  tx?: Queryable;
}

/** Runs accept in the caller's transaction, or in one of its own. */
export function inAcceptTransaction<T>(
  context: Context,
  options: SubmitOptions,
  work: (tx: Tx) => Promise<T>,
): Promise<T> {
  if (!options.tx) return context.db.transaction(work);
  const tx = context.db.within(options.tx);
  return inSavepoint(tx, () => work(tx));
}

/**
 * The single point where operations come to be. The row in state `accepted` is the outbox: there is
 * no second step. A key used before answers the operation of its first use, or a conflict when the
 * content is another.
 */
export async function accept(
  context: Context,
  tx: Tx,
  operation: Omit<NewOperation, "trace" | "submittedBy">,
  payloads: AsyncIterable<PayloadSlice>,
): Promise<Accepted> {
  const existing = await refuseOverLimit(context, tx, operation);
  if (existing) return existing;

  const slices = payloads[Symbol.asyncIterator]();
  const first = (await slices.next()).value as PayloadSlice;
  const row = { ...operation, trace: currentTrace(), submittedBy: context.actor };
  if (!(await insertOperation(tx, row, first))) return explainTaken(tx, operation);
  for (;;) {
    const slice = await slices.next();
    if (slice.done) break;
    await insertPayloads(tx, operation.id, slice.value);
  }
  return {
    id: operation.id,
    kind: operation.kind,
    state: "accepted",
    total: operation.items.length,
    batches: operation.batches.length,
    existing: false,
  };
}

type Asked = Omit<NewOperation, "trace" | "submittedBy">;

// A repeat of something accepted before is answered even when there is no room for more.
async function refuseOverLimit(
  { limits }: Context,
  tx: Tx,
  asked: Asked,
): Promise<Accepted | undefined> {
  const open = await openUsage(tx, asked.tenant);
  const over =
    open.operations + 1 > limits.openOperations
      ? `${open.operations} open operations of at most ${limits.openOperations}`
      : open.items + asked.items.length > limits.openItems
        ? `${open.items} open items of at most ${limits.openItems}`
        : open.bytes + asked.bytes > limits.openBytes
          ? `${open.bytes} open bytes of at most ${limits.openBytes}`
          : undefined;
  if (!over) return undefined;
  if (asked.key) {
    const row = await findOperationByKey(tx, asked.tenant, asked.kind, asked.key);
    if (row) return sameOrConflict(row, asked);
  }
  throw new LimitExceeded(
    `tenant ${asked.tenant} has ${over}: wait until some of it has ended, or raise the limit`,
    10,
    { open, limits },
  );
}

// The insert found a key or an exclusive thing taken; by now its holder is committed and visible.
async function explainTaken(tx: Tx, asked: Asked): Promise<Accepted> {
  if (asked.key) {
    const row = await findOperationByKey(tx, asked.tenant, asked.kind, asked.key);
    if (row) return sameOrConflict(row, asked);
  }
  const holder =
    asked.exclusiveOn && (await findHolder(tx, asked.tenant, asked.kind, asked.exclusiveOn));
  if (holder) {
    throw new Conflict(
      "exclusive",
      `operation ${holder.id} is at work on ${asked.exclusiveOn}: wait for it or cancel it`,
      { operationId: holder.id },
    );
  }
  // The holder ended between the two statements.
  throw new Conflict(
    "try-again",
    "another operation stood in the way and has just ended: try again",
  );
}

function sameOrConflict(row: OperationRow, asked: Asked): Accepted {
  // A caller's driver may give bytes in a class of its own.
  if (Buffer.compare(row.digest, asked.digest) !== 0) {
    throw new Conflict(
      "key-reused",
      `key "${asked.key}" was used for other content (operation ${row.id}): use a new key`,
      { operationId: row.id },
    );
  }
  return {
    id: row.id,
    kind: row.kind,
    state: row.state,
    total: row.total,
    batches: row.batches,
    existing: true,
  };
}

function currentTrace(): string | undefined {
  const carrier: { traceparent?: string } = {};
  propagation.inject(otelContext.active(), carrier);
  return carrier.traceparent;
}
