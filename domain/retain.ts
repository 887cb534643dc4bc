/**
 * Which items of a document count, whatever order they are committed in. Acceptance order (`seq`,
 * from the database) decides; nothing waits for another item.
 */

/** What a document row remembers. */
export interface DocumentHead {
  /** The newest replace that was written; parts older than it are gone. */
  headSeq: bigint | null;
  /** Everything accepted before this was erased. */
  erasedSeq: bigint | null;
}

export interface OrderedItem {
  seq: bigint;
  mode: "replace" | "append";
}

export type OrderDecision =
  | { outcome: "apply" }
  | { outcome: "superseded"; reason: "document erased" | "overtaken by a newer replace" };

export interface GroupItem extends OrderedItem {
  /** The document's key, unique within the group. */
  document: string;
}

export interface DocumentSettlement<Item extends GroupItem> {
  document: string;
  head: DocumentHead;
  /** Parts to write, oldest first. */
  apply: Item[];
  /** Parts with a seq below this go, with all that was derived from them. Null: none. */
  dropBefore: bigint | null;
}

export interface GroupSettlement<Item extends GroupItem> {
  /** One for each item, in the order the items were given. */
  decisions: { item: Item; decision: OrderDecision }[];
  /** One for each document with something to write, sorted by key. */
  documents: DocumentSettlement<Item>[];
}

/** The head of a document that does not exist yet. */
export const NO_HEAD: DocumentHead = { headSeq: null, erasedSeq: null };

/** Whether an item still counts, given what its document has seen. */
export function decide(head: DocumentHead, item: OrderedItem): OrderDecision {
  if (head.erasedSeq !== null && item.seq < head.erasedSeq) {
    return { outcome: "superseded", reason: "document erased" };
  }
  if (head.headSeq !== null && item.seq < head.headSeq) {
    return { outcome: "superseded", reason: "overtaken by a newer replace" };
  }
  return { outcome: "apply" };
}

/**
 * Settles a group of items, of any number of documents, as if one by one in acceptance order: of two
 * replaces of one document the older is never written, nor are appends older than a replace. Give
 * only items that are ready to be written: a newer replace that fails must not hide an older one.
 */
export function settleGroup<Item extends GroupItem>(
  heads: ReadonlyMap<string, DocumentHead>,
  items: readonly Item[],
): GroupSettlement<Item> {
  const after = new Map<string, DocumentHead>();
  for (const item of items) {
    const head = after.get(item.document) ?? heads.get(item.document) ?? NO_HEAD;
    const replaces = item.mode === "replace" && decide(head, item).outcome === "apply";
    after.set(item.document, replaces ? { ...head, headSeq: item.seq } : head);
  }

  const decisions = items.map((item) => ({
    item,
    decision: decide(after.get(item.document) ?? NO_HEAD, item),
  }));

  const documents = new Map<string, DocumentSettlement<Item>>();
  for (const { item, decision } of decisions) {
    if (decision.outcome !== "apply") continue;
    const { document } = item;
    const settlement = documents.get(document);
    if (settlement) {
      settlement.apply.push(item);
      continue;
    }
    const head = after.get(document) ?? NO_HEAD;
    const before = heads.get(document)?.headSeq ?? null;
    const dropBefore = head.headSeq === before ? null : head.headSeq;
    documents.set(document, { document, head, apply: [item], dropBefore });
  }
  for (const { apply } of documents.values()) apply.sort(bySeq);
  return {
    decisions,
    documents: [...documents.values()].toSorted((a, b) => (a.document < b.document ? -1 : 1)),
  };
}

/** What a part adds to its document. */
export interface DocumentPart {
  seq: bigint;
  text: string;
  tags: readonly string[];
  metadata: Readonly<Record<string, string>>;
}

/**
 * A document from its parts, in acceptance order: texts joined with one newline, tags united, and
 * of each metadata key the newest value. The order in which parts were committed has no part in it.
 */
export function documentOf(parts: readonly DocumentPart[]): {
  text: string;
  tags: string[];
  metadata: Record<string, string>;
} {
  const ordered = parts.toSorted(bySeq);
  return {
    text: ordered.map((part) => part.text).join("\n"),
    tags: [...new Set(ordered.flatMap((part) => part.tags))],
    metadata: Object.fromEntries(ordered.flatMap((part) => Object.entries(part.metadata))),
  };
}

function bySeq(a: { seq: bigint }, b: { seq: bigint }): number {
  return a.seq < b.seq ? -1 : a.seq > b.seq ? 1 : 0;
}
