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
