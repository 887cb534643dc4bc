import { commitPage, type Committed } from "../../activities/retain-commit.ts";
import { preparePage, type PageContext, type Prepared } from "../../activities/retain-page.ts";
import type { Extractor } from "../../contracts/plugins.ts";
import { RetainInput } from "../../contracts/retain.ts";
import { findDueItems, type DueItem } from "../../db/items.ts";
import { findOperation, markRunning } from "../../db/operations.ts";
import type { Db, Tx } from "../../db/pool.ts";
import { proseExtractor } from "../../domain/extraction.ts";

/** One page of a retain operation in the hands of a test: prepared now, committed when it likes. */
export interface PageByHand {
  prepared: Prepared[];
  commit(tx?: Tx): Promise<Committed>;
}

/** Begins the operation if nobody has, and prepares what is due of it. No Temporal needed. */
export async function preparedByHand(
  db: Db,
  id: string,
  extractor: Extractor = proseExtractor,
): Promise<PageByHand> {
  const { context, due } = await dueByHand(db, id, extractor);
  const prepared = await preparePage(context, due);
  const commit = (tx: Tx) => commitPage(context, tx, prepared, "test");
  return { prepared, commit: (tx) => (tx ? commit(tx) : db.transaction(commit)) };
}

/** What an activity knows when it is about to work a page. */
export async function dueByHand(
  db: Db,
  id: string,
  extractor: Extractor = proseExtractor,
): Promise<{ context: PageContext; due: DueItem[] }> {
  const { generation, tenant } = (await findOperation(db, id))!;
  await markRunning(db, id, generation);
  const row = (await findOperation(db, id))!;
  const { scope, total, priority } = row;
  const due = await findDueItems(
    db,
    { operationId: id, generation, fromBatch: 1, toBatch: row.batches },
    { limit: 1_000, maxSize: 100_000_000, afterItem: 0 },
  );
  const context: PageContext = {
    db,
    ref: { kind: "retain", id, tenant, scope, generation, total, priority },
    input: RetainInput.parse(row.input),
    acceptedAt: row.accepted_at.toISOString(),
    plugIns: { extractor, timeoutMs: 10_000 },
    concurrency: 4,
    signal: new AbortController().signal,
  };
  return { context, due };
}
