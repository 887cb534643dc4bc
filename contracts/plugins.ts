import type { ClaimedItem, JobItem, PostedResult } from "./job.ts";
import type { RetainItem } from "./retain.ts";

/** Where a plug-in is called from: which work, which try. Ids and counts only. */
export interface WorkContext {
  tenant: string;
  bank: string;
  /** Absent at accept, when no operation exists yet. */
  operationId?: string;
  /** 1-based position of the item in its batch. */
  itemNo: number;
  /** 0 at accept and on the first try, then 1, 2, ... */
  attempt: number;
  /** Aborted when the operation is cancelled, the worker stops, or the time for one item is over. */
  signal: AbortSignal;
}

/** A stretch of a document. Offsets are Unicode code points into the part it belongs to. */
export interface Chunk {
  /** 0-based, without gaps inside one part. */
  no: number;
  start: number;
  end: number;
  text: string;
}

/** What an extractor found in one chunk. */
export interface ExtractedFact {
  text: string;
  /** Offsets into the chunk, code points, when the fact is a literal stretch of it. */
  start?: number;
  end?: number;
  /** Names of what the fact is about. Compared case-insensitively, shown as written. */
  entities?: readonly string[];
  /** ISO dates (`2026-11-21`) or instants the fact speaks of. */
  occurredStart?: string;
  occurredEnd?: string;
}

/**
 * Turns chunks into facts. Must be safe to repeat: the same chunk may be asked for again after a
 * crash. Throw `Deferred` for "not now, try at T" (spends no attempt), `Refused` for "never".
 */
export interface Extractor {
  name: string;
  /** Part of what makes a document "unchanged": a new version extracts again. */
  version: string;
  extract(
    chunk: Chunk,
    item: Omit<RetainItem, "content">,
    context: WorkContext,
  ): readonly ExtractedFact[] | Promise<readonly ExtractedFact[]>;
}

export type Validation =
  | { verdict: "accept" }
  | { verdict: "rewrite"; item: RetainItem }
  | { verdict: "refuse"; reason: string };

/** Asked at accept and before every attempt. At accept a refusal refuses the whole batch. */
export interface Validator {
  validate(item: RetainItem, context: WorkContext): Validation | Promise<Validation>;
}

export interface FactForConsolidation {
  id: string;
  text: string;
  documentId: string;
  occurredStart?: string;
  occurredEnd?: string;
}

/** Writes one observation about an entity from its facts, or none. Must be safe to repeat. */
export interface Consolidator {
  name: string;
  version: string;
  consolidate(
    entity: string,
    facts: readonly FactForConsolidation[],
    context: { tenant: string; bank: string; signal: AbortSignal },
  ):
    | { text: string; sources: readonly string[] }
    | undefined
    | Promise<{ text: string; sources: readonly string[] } | undefined>;
}

/** Which job a collector is asked for, and how far it is. */
export interface CollectContext {
  tenant: string;
  operationId: string;
  pipeline: string;
  /** Items collected before this page. */
  collected: number;
  /** Items that are of use in this page; a page may hold no more than `pageItems`. */
  limit: number;
  /** Aborted when the job is cancelled, the worker stops, or the time for one page is over. */
  signal: AbortSignal;
}

/** An item that exists and cannot be worked: it ends as failed with the reason. */
export interface UnworkableItem {
  key?: string;
  error: string;
}

export interface CollectedPage {
  /** What is no valid item ends as failed, and fails nothing else. At most 16 MiB as JSON. */
  items: readonly (JobItem | UnworkableItem)[];
  /** Where the next page begins, at most 4,000 characters. Absent: this was the last page. */
  next?: string;
}

/**
 * Finds the items of a job, page by page. A page may be asked for again after a crash and must then
 * begin at the same place; only one answer of it is kept. Throw `Deferred` for "not now, try at T",
 * `Refused` to end the job with the reason; anything else is tried again, later each time.
 */
export interface Collector {
  /** Items of one page, 1 to 10,000. Default 1,000. */
  pageItems?: number;
  /** Bound on one page, ms. Default 60,000. */
  pageTimeoutMs?: number;
  collect(
    /** What the job was submitted with as `collect`. */
    input: unknown,
    /** `next` of the page before; absent for the first. */
    after: string | undefined,
    context: CollectContext,
  ): CollectedPage | Promise<CollectedPage>;
}

/** Which batch a processor is given. */
export interface ProcessContext {
  tenant: string;
  operationId: string;
  pipeline: string;
  generation: number;
  batch: number;
  /** 1 for the first time the batch is handed out. */
  delivery: number;
  /** Aborted when the job is cancelled, the worker stops, or the time for one batch is over. */
  signal: AbortSignal;
}

/** What came of one item: one of `result`, `reference` and `error`; counts go with a result. */
export type ProcessedItem = Omit<PostedResult, "handle" | "item"> & { item: number };

/**
 * Works batches of a pipeline inside our worker. May be asked for the same items again after a crash.
 * An item that is not in the answer has failed. Throw `Deferred` for "not now, try at T" and `Refused`
 * for "never, none of these"; anything else spends a delivery, and the last one is item by item.
 */
export interface Processor {
  /** Bound on one batch, ms. Default 3,600,000, at most a day. Its lease is extended as long as it works. */
  batchTimeoutMs?: number;
  process(
    items: readonly ClaimedItem[],
    context: ProcessContext,
  ): readonly ProcessedItem[] | Promise<readonly ProcessedItem[]>;
}

/** A result that counts, as it is given to whoever writes rows of their own with it. */
export interface SettledResult {
  /** The operation. */
  job: string;
  item: number;
  generation: number;
  result?: PostedResult["result"];
  reference?: string | undefined;
  error?: string | undefined;
  counts?: Record<string, number> | undefined;
}

/** The transaction that settles results: rows written here exist when and only when they count. */
export interface ResultsTx {
  query<R = Record<string, unknown>>(
    text: string,
    values?: unknown[],
  ): Promise<{ rows: R[]; rowCount: number | null }>;
}

/** Writes the user's own rows with results. Throwing refuses the post; keep it short. */
export type OnResults = (tx: ResultsTx, results: readonly SettledResult[]) => Promise<void>;
