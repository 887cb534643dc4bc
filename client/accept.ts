import { context as otelContext, propagation } from "@opentelemetry/api";
import { Conflict, LimitExceeded } from "../contracts/errors.ts";
import type { Accepted } from "../contracts/operation.ts";
import { ensureBank } from "../db/banks.ts";
import {
  findHolder,
  findOperationByKey,
  insertOperation,
  type NewOperation,
  type OpenWork,
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

/** Rows of an operation's own, in the transaction that accepts it. */
export interface Beside {
  write(tx: Tx): Promise<void>;
  /** Bound on each statement, where the transaction is ours. Default 30,000 ms. */
  statementTimeoutMs?: number;
}

type Asked = Omit<NewOperation, "trace" | "submittedBy">;

/** Payloads of an operation, in slices; may be read again. */
type Payloads = () => AsyncIterable<PayloadSlice>;

/**
 * The single point where operations come to be. The row in state `accepted` is the outbox: there is
 * no second step. A key used before answers the operation of its first use, or a conflict when the
 * content is another.
 */
export async function accept(
  context: Context,
  asked: Asked,
  payloads: Payloads,
  options: SubmitOptions,
  beside?: Beside,
): Promise<Accepted> {
  if (!options.tx && !beside) {
    const accepted = await atOnce(context, asked, payloads);
    if (accepted) return accepted;
  }
  const work = (tx: Tx) => inTransaction(context, tx, asked, payloads, beside);
  if (!options.tx) {
    const { statementTimeoutMs } = beside ?? {};
    return context.db.transaction(work, statementTimeoutMs ? { statementTimeoutMs } : {});
  }
  const tx = context.db.within(options.tx);
  return inSavepoint(tx, () => work(tx));
}

/** How long a batch waits for a transaction that holds its key, where no transaction bounds it. */
const LOCK_TIMEOUT_MS = 30_000;

// The usual batch is one slice into a bank that is there: one statement, which needs no
// transaction around it. Undefined: it is not, or it was refused; nothing was written.
async function atOnce(
  context: Context,
  asked: Asked,
  payloads: Payloads,
): Promise<Accepted | undefined> {
  const slices = payloads()[Symbol.asyncIterator]();
  const first = (await slices.next()).value as PayloadSlice;
  if (!(await slices.next()).done) return undefined;
  const { inserted } = await insert(context, context.db, asked, first, LOCK_TIMEOUT_MS);
  return inserted ? newlyAccepted(asked) : undefined;
}

async function inTransaction(
  context: Context,
  tx: Tx,
  asked: Asked,
  payloads: Payloads,
  beside?: Beside,
): Promise<Accepted> {
  if (asked.bank !== undefined) await ensureBank(tx, asked.tenant, asked.bank);
  let inserted = false;
  for await (const slice of payloads()) {
    if (inserted) {
      await insertPayloads(tx, asked.id, slice);
      continue;
    }
    const answer = await insert(context, tx, asked, slice);
    if (!answer.inserted) return explain(context, tx, asked, answer.open);
    inserted = true;
  }
  await beside?.write(tx);
  return newlyAccepted(asked);
}

function insert(
  { actor, limits }: Context,
  db: Queryable,
  asked: Asked,
  slice: PayloadSlice,
  lockTimeoutMs?: number,
) {
  const operation = { ...asked, trace: currentTrace(), submittedBy: actor };
  const allowed = {
    operations: limits.openOperations,
    items: limits.openItems,
    bytes: limits.openBytes,
  };
  return insertOperation(db, operation, slice, allowed, lockTimeoutMs);
}

function newlyAccepted({ id, kind, items, batches }: Asked): Accepted {
  return {
    id,
    kind,
    state: "accepted",
    total: items.length,
    batches: batches.length,
    existing: false,
  };
}

// A repeat of something accepted before is answered even when there is no room for more.
async function explain(
  { limits }: Context,
  tx: Tx,
  asked: Asked,
  open: OpenWork,
): Promise<Accepted> {
  const over =
    open.operations + 1 > limits.openOperations
      ? `${open.operations} open operations of at most ${limits.openOperations}`
      : open.items + asked.items.length > limits.openItems
        ? `${open.items} open items of at most ${limits.openItems}`
        : open.bytes + asked.bytes > limits.openBytes
          ? `${open.bytes} open bytes of at most ${limits.openBytes}`
          : undefined;
  if (!over) return explainTaken(tx, asked);
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
