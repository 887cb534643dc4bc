import { Conflict, InvalidInput } from "../contracts/errors.ts";
import {
  ItemFilter,
  LogLevel,
  OperationFilter,
  OperationId,
  Reason,
  type BatchView,
  type ItemView,
  type LogLine,
  type OperationView,
  type Outcome,
  type Page,
} from "../contracts/operation.ts";
import { listAudit, type AuditRow } from "../db/audit.ts";
import { listEvents, type EventRow } from "../db/events.ts";
import { finishOperation } from "../db/finish.ts";
import { listItems, listSubBatches } from "../db/items.ts";
import { listLogs } from "../db/logs.ts";
import {
  findOperation,
  listOperations,
  markCancelRequested,
  markPaused,
  markResumed,
  type OperationRow,
} from "../db/operations.ts";
import type { Tx } from "../db/pool.ts";
import { asking, maySee, type Context } from "./context.ts";
import { parseInput } from "./input.ts";
import { changed, isTerminal, unknownOperation } from "./operation-change.ts";
import { viewOperations } from "./operation-view.ts";
import { runAgain } from "./run-again.ts";
import { watch } from "./watch.ts";

/** How to follow and steer operations of every kind. */
export interface OperationClient {
  /** @throws NotFound, InvalidInput */
  get(id: string): Promise<OperationView>;
  /** Newest first, 50 a page unless `limit` (1 to 200) says otherwise. */
  list(filter?: OperationFilter): Promise<Page<OperationView>>;
  /** Each change of the view until the operation is terminal, that one included. */
  watch(
    id: string,
    options?: { signal?: AbortSignal; everyMs?: number },
  ): AsyncIterable<OperationView>;
  /** The terminal view. Ends early, with an AbortError, by `signal`. */
  wait(id: string, options?: { signal?: AbortSignal; everyMs?: number }): Promise<OperationView>;
  /** Cancels anything at any time; a second cancel changes nothing. @throws Conflict when terminal */
  cancel(id: string): Promise<OperationView>;
  /** Next generation over unfinished items. @throws Conflict when open, or when nothing is left */
  retry(id: string): Promise<OperationView>;
  pause(id: string, reason?: string): Promise<OperationView>;
  resume(id: string): Promise<OperationView>;
  items(
    id: string,
    filter?: { outcome?: Outcome | "open"; batch?: number; limit?: number; after?: string },
  ): Promise<Page<ItemView>>;
  batches(id: string, page?: { limit?: number; after?: string }): Promise<Page<BatchView>>;
  logs(
    id: string,
    filter?: {
      level?: LogLine["level"];
      limit?: number;
      after?: string;
      before?: string;
      newest?: boolean;
    },
  ): Promise<Page<LogLine>>;
  events(id: string): Promise<EventRow[]>;
  audit(id: string): Promise<AuditRow[]>;
}

export function operationClient(context: Context): OperationClient {
  const { db } = context;
  const view = async (id: string) => (await viewOperations(db, [await visible(context, id)]))[0]!;
  const client: OperationClient = {
    get: (id) => asking(() => view(id)),
    list: (filter = {}) => asking(() => list(context, filter)),
    watch: (id, options = {}) => watch(() => client.get(id), options),
    wait: async (id, options) => {
      let last: OperationView | undefined;
      for await (const seen of client.watch(id, options)) last = seen;
      return last!;
    },
    cancel: (id) =>
      asking(() => changed(context, id, "operation.cancel", cancel).then(() => view(id))),
    retry: (id) =>
      asking(() =>
        changed(context, id, "operation.retry", runAgain("unfinished")).then(() => view(id)),
      ),
    pause: (id, reason = "paused by hand") =>
      asking(async () => {
        const why = parseInput(Reason, reason, "reason");
        await changed(context, id, "operation.pause", pause(why));
        return view(id);
      }),
    resume: (id) =>
      asking(() => changed(context, id, "operation.resume", resume).then(() => view(id))),
    items: (id, { after, limit = 100, ...filter } = {}) =>
      asking(async () => {
        const asked = parseInput(ItemFilter, filter);
        await visible(context, id);
        return listItems(db, id, { ...asked, limit: bounded(limit), after: numberOf(after) });
      }),
    batches: (id, { after, limit = 100 } = {}) =>
      asking(async () =>
        batches(context, await visible(context, id), numberOf(after) ?? 0, bounded(limit)),
      ),
    logs: (id, { limit = 200, ...filter } = {}) =>
      asking(async () => {
        parseInput(LogLevel.optional(), filter.level, "level");
        await visible(context, id);
        numberOf(filter.after);
        numberOf(filter.before);
        return listLogs(db, id, { ...filter, limit: bounded(limit) });
      }),
    events: (id) => asking(async () => listEvents(db, (await visible(context, id)).id)),
    audit: (id) =>
      asking(async () => {
        await visible(context, id);
        return (await listAudit(db, { subject: id, limit: 200 })).items;
      }),
  };
  return client;
}

async function visible(context: Context, id: string): Promise<OperationRow> {
  parseInput(OperationId, id, "id");
  const row = await findOperation(context.db, id);
  if (!row || !maySee(context, row.tenant)) throw unknownOperation(id);
  return row;
}

async function list(context: Context, filter: OperationFilter): Promise<Page<OperationView>> {
  const { after, ...rest } = parseInput(OperationFilter, filter);
  const page = await listOperations(context.db, {
    ...rest,
    after: after === undefined ? undefined : parseInput(OperationId, after, "after"),
    tenants: context.tenants,
  });
  return { ...page, items: await viewOperations(context.db, page.items) };
}

async function cancel(tx: Tx, row: OperationRow, context: Context): Promise<"done" | "same"> {
  if (row.state === "cancelled" || row.cancel_requested_at !== null) return "same";
  if (isTerminal(row)) {
    throw new Conflict(
      "already-ended",
      `operation ${row.id} is ${row.state}; there is nothing to cancel`,
    );
  }
  if (row.state === "accepted") {
    const reason = `cancelled by ${context.actor}`;
    const { id, generation } = row;
    await finishOperation(tx, { id, generation, outcome: "cancelled", reason, by: context.actor });
  } else {
    await markCancelRequested(tx, row.id, context.actor);
  }
  return "done";
}

function pause(reason: string) {
  return async (tx: Tx, row: OperationRow, context: Context): Promise<"done" | "same"> => {
    if (isTerminal(row)) {
      throw new Conflict(
        "already-ended",
        `operation ${row.id} is ${row.state}; there is nothing to pause`,
      );
    }
    return (await markPaused(tx, row.id, context.actor, reason)) ? "done" : "same";
  };
}

async function resume(tx: Tx, row: OperationRow): Promise<"done" | "same"> {
  if (isTerminal(row)) {
    throw new Conflict(
      "already-ended",
      `operation ${row.id} is ${row.state}; there is nothing to resume`,
    );
  }
  return (await markResumed(tx, row.id)) ? "done" : "same";
}

async function batches(
  context: Context,
  row: OperationRow,
  after: number,
  limit: number,
): Promise<Page<BatchView>> {
  const rows = await listSubBatches(context.db, row.id, { after, limit: limit + 1 });
  const items = rows.slice(0, limit).map((batch): BatchView => ({
    no: batch.no,
    of: row.batches,
    firstItem: batch.first_item,
    lastItem: batch.last_item,
    items: batch.last_item - batch.first_item + 1,
    size: Number(batch.size),
    settled: batch.settled,
    failed: batch.failed,
  }));
  return rows.length > limit ? { items, next: String(items.at(-1)!.no) } : { items };
}

function bounded(limit: number): number {
  if (Number.isInteger(limit) && limit >= 1 && limit <= 1_000) return limit;
  throw new InvalidInput([{ path: "limit", message: "must be a whole number from 1 to 1000" }]);
}

function numberOf(cursor: string | undefined): number | undefined {
  if (cursor === undefined) return undefined;
  // Item numbers are 32 bits wide, and a number past the last one is an empty page.
  if (/^\d{1,18}$/.test(cursor)) return Math.min(Number(cursor), 2 ** 31 - 1);
  throw new InvalidInput([{ path: "after", message: "must be the `next` of the page before" }]);
}
