import { setImmediate as nextTurn } from "node:timers/promises";
import pLimit from "p-limit";
import type { OperationRef } from "../contracts/messages.ts";
import type { Chunk, WorkContext } from "../contracts/plugins.ts";
import { RetainItem, type RetainInput } from "../contracts/retain.ts";
import type { FailedTry } from "../db/attempts.ts";
import type { DueItem } from "../db/items.ts";
import type { Settlement } from "../db/outcomes.ts";
import { findSoleParts, type KnownPart, type NewFact } from "../db/parts.ts";
import { loadPayloads, type PayloadRow } from "../db/payloads.ts";
import type { Db } from "../db/pool.ts";
import { chunk } from "../domain/chunking.ts";
import { backoffMs, classify, deferredUntil, isPermanent } from "../domain/faults.ts";
import { contentDigest, extractFacts, makerOf, validated, type PlugIns } from "./retain-extract.ts";

/** One page of small items: loaded, validated, extracted. What comes of it is committed together. */

/** What one attempt at one item came to, before the commit. */
export type Prepared =
  | { kind: "write"; due: DueItem; item: RetainItem; part: PreparedPart }
  | { kind: "unchanged"; due: DueItem; item: RetainItem; known: KnownPart }
  | { kind: "settle"; due: DueItem; settlement: Settlement }
  | { kind: "again"; due: DueItem; failed: FailedTry };

interface PreparedPart {
  digest: Buffer;
  extractor: string;
  size: number;
  chunks: readonly Chunk[];
  facts: readonly NewFact[];
  /** Chunks and facts are written already, page by page: a large item. */
  staged?: { chunkCount: number; factCount: number };
}

export interface PageContext {
  db: Db;
  ref: OperationRef;
  input: RetainInput;
  /** What "now" means for documents that say nothing of their time: when they were accepted. */
  acceptedAt: string;
  plugIns: PlugIns;
  concurrency: number;
  signal: AbortSignal;
}

/** The longest the event loop is kept from heartbeats and queries by work that never waits. */
const TURN_MS = 20;

/** Prepares every item of a page; never throws for what is the item's own fault. */
export async function preparePage(
  context: PageContext,
  due: readonly DueItem[],
): Promise<Prepared[]> {
  const payloads = await loadPayloads(
    context.db,
    context.ref.id,
    due.map((item) => item.no),
  );
  const byNo = new Map(payloads.map((payload) => [payload.item_no, payload]));
  const known = await findSoleParts(
    context.db,
    context.input.bankId,
    due.map((item) => item.key),
  );
  const limit = pLimit(context.concurrency);
  let turnEnds = performance.now() + TURN_MS;
  return Promise.all(
    due.map((item) =>
      limit(async () => {
        if (performance.now() > turnEnds) {
          await nextTurn();
          turnEnds = performance.now() + TURN_MS;
        }
        return prepare(context, item, byNo.get(item.no), known.get(item.key));
      }),
    ),
  );
}

async function prepare(
  context: PageContext,
  due: DueItem,
  payload: PayloadRow | undefined,
  known: KnownPart | undefined,
): Promise<Prepared> {
  if (!payload) return failed(due, "its payload is gone: it was kept as long as retention says");
  try {
    return await attempt(context, due, itemOf(due, payload, context.input), known);
  } catch (error) {
    context.signal.throwIfAborted();
    return whatNext(due, error, context.input.maxAttempts);
  }
}

async function attempt(
  context: PageContext,
  due: DueItem,
  submitted: RetainItem,
  known: KnownPart | undefined,
): Promise<Prepared> {
  const { plugIns, input } = context;
  const work = workContext(context, due);
  const answer = await validated(plugIns, submitted, work);
  if ("refused" in answer) return blocked(due, answer.refused);
  const { item } = answer;
  const digest = contentDigest(item.content);
  const extractor = makerOf(plugIns.extractor, input.chunkSize);
  const isKnown =
    known && item.mode !== "append" && known.digest.equals(digest) && known.extractor === extractor;
  // Entities the caller names are part of what facts say, so they make a document new.
  if (isKnown && !item.entities?.length) return { kind: "unchanged", due, item, known };
  const chunks = chunk(item.content, input.chunkSize);
  // Of what is written: a validator may have rewritten what was accepted.
  const size = chunks.at(-1)?.end ?? 0;
  const facts = await extractFacts(plugIns, chunks, item, work);
  return { kind: "write", due, item, part: { digest, extractor, size, chunks, facts } };
}

export function workContext({ ref, input, signal }: PageContext, due: DueItem): WorkContext {
  return {
    tenant: ref.tenant,
    bank: input.bank,
    operationId: ref.id,
    itemNo: due.no,
    attempt: due.attempts,
    signal,
  };
}

/** The item as it was accepted; tags of the whole batch are tags of each document. */
export function itemOf(due: DueItem, payload: PayloadRow, input: RetainInput): RetainItem {
  const meta = (payload.meta ?? {}) as Partial<RetainItem>;
  const tags = [...new Set([...(input.documentTags ?? []), ...(meta.tags ?? [])])];
  return {
    ...meta,
    content: payload.content,
    documentId: due.key,
    ...(tags.length > 0 ? { tags } : {}),
  };
}

/** Longest wait between two tries of one item. */
const MAX_BACKOFF_MS = 60_000;
const BACKOFF_MS = 1_000;

/** What a fault means for the item it happened to: another try, a later one, or the end. */
export function whatNext(due: DueItem, error: unknown, maxAttempts: number): Prepared {
  const reason = error instanceof Error ? error.message || error.name : String(error);
  const again = (dueAt: Date, spends: boolean): Prepared => ({
    kind: "again",
    due,
    failed: { itemNo: due.no, error: reason, dueAt, spends },
  });
  const later = (failures: number) =>
    new Date(Date.now() + backoffMs(failures, { baseMs: BACKOFF_MS, capMs: MAX_BACKOFF_MS }));
  switch (classify(error)) {
    case "refused":
      return blocked(due, reason);
    case "deferred":
      return again(latest(deferredUntil(error), later(1)), false);
    case "infrastructure":
    case "cancelled":
      return again(new Date(Date.now() + 5_000), false);
    case "domain":
      return isPermanent(error) || due.attempts + 1 >= maxAttempts
        ? failed(due, reason)
        : again(later(due.attempts + 1), true);
  }
}

// A time that is over must not make a try of every moment.
function latest(asked: Date | undefined, earliest: Date): Date {
  return asked && asked > earliest ? asked : earliest;
}

export function failed(due: DueItem, reason: string): Prepared {
  const settlement = { itemNo: due.no, outcome: "failed", reason, attempt: due.attempts } as const;
  return { kind: "settle", due, settlement };
}

function blocked(due: DueItem, reason: string): Prepared {
  const settlement = { itemNo: due.no, outcome: "blocked", reason, attempt: due.attempts } as const;
  return { kind: "settle", due, settlement };
}
