import { createHash } from "node:crypto";
import { PAYLOAD_PART_SIZE, type RetainItem } from "../contracts/retain.ts";
import { fromCodePoint, pieces } from "../contracts/text.ts";
import type { Chunk } from "../contracts/plugins.ts";
import { Deferred, Refused } from "../contracts/errors.ts";
import { isBankLive } from "../db/banks.ts";
import { readOrders } from "../db/brakes.ts";
import { findErasedItems } from "../db/documents.ts";
import type { DueItem } from "../db/items.ts";
import { shareBank, shareOperation } from "../db/locks.ts";
import { findSoleParts, insertDerived, type NewFact } from "../db/parts.ts";
import { loadPayloadPart } from "../db/payloads.ts";
import { advanceStagedPart, beginStagedPart, type StagedPart } from "../db/staged-parts.ts";
import { createChunker } from "../domain/chunking.ts";
import { extractFacts, makerOf, validated } from "./retain-extract.ts";
import { itemOf, workContext, type PageContext, type Prepared } from "./retain-page.ts";

/**
 * An item too large to hold: worked one stored piece at a time, its chunks and facts written as it
 * goes, and shown by the commit that settles it. A crash resumes where the last piece ended.
 */

/** The operation no longer wants this; what is staged stays for a resume, or is swept. */
export class Stopped extends Error {
  readonly orders: "cancelled" | "paused" | "gone";
  constructor(orders: "cancelled" | "paused" | "gone") {
    super(`the operation is ${orders}`);
    this.orders = orders;
  }
}

/** True for content that is stored in more than one piece. */
export function isLarge(due: DueItem): boolean {
  return due.size > PAYLOAD_PART_SIZE;
}

export async function prepareLarge(
  context: PageContext,
  due: DueItem,
  onPiece: (position: number) => void,
): Promise<Prepared> {
  const { db, ref, input, plugIns } = context;
  const source = await openSource(context, due);
  if ("refused" in source) {
    const reason = source.refused;
    const settlement = {
      itemNo: due.no,
      outcome: "blocked",
      reason,
      attempt: due.attempts,
    } as const;
    return { kind: "settle", due, settlement };
  }
  const { item } = source;
  const digest = await digestOf(source);
  const extractor = makerOf(plugIns.extractor, input.chunkSize);
  const known = (await findSoleParts(db, input.bankId, [due.key])).get(due.key);
  const isKnown =
    known && item.mode !== "append" && known.digest.equals(digest) && known.extractor === extractor;
  if (isKnown && !item.entities?.length) return { kind: "unchanged", due, item, known };

  const key = {
    seq: due.seq,
    operationId: ref.id,
    itemNo: due.no,
    bankId: input.bankId,
    extractor,
    chunkSize: input.chunkSize,
  };
  let staged = await db.transaction((tx) => beginStagedPart(tx, key));
  const base = { chunks: staged.chunks, position: staged.position };
  const chunker = createChunker(input.chunkSize);
  const stage = async (found: readonly Chunk[]) => {
    const chunks = found.map((chunk) => ({
      ...chunk,
      no: chunk.no + base.chunks,
      start: chunk.start + base.position,
      end: chunk.end + base.position,
    }));
    const facts = await extractFacts(plugIns, chunks, item, workContext(context, due));
    staged = await writeStage(context, due, staged, chunks, facts);
    onPiece(staged.position);
  };
  for await (const piece of source.from(staged.position)) await stage(chunker.push(piece));
  await stage(chunker.finish());
  return {
    kind: "write",
    due,
    item,
    part: {
      digest,
      extractor,
      size: staged.position,
      chunks: [],
      facts: [],
      staged: { chunkCount: staged.chunks, factCount: staged.facts },
    },
  };
}

interface Source {
  /** All about the item but its content. */
  item: RetainItem;
  /** The content from a code point on, piece by piece. */
  from(position: number): AsyncIterable<string>;
}

// A validator may look at the whole text, so it is given the whole text; without one it is never
// held.
async function openSource(
  context: PageContext,
  due: DueItem,
): Promise<Source | { refused: string }> {
  const first = await loadPayloadPart(context.db, context.ref.id, due.no, 0);
  if (!first) throw new Error("its payload is gone: it was kept as long as retention says");
  const item = itemOf(due, { ...first, content: "" }, context.input);
  const stored: Source = { item, from: (position) => storedPieces(context, due, position) };
  if (!context.plugIns.validator) return stored;
  const whole: string[] = [];
  for await (const piece of stored.from(0)) whole.push(piece);
  const submitted = { ...item, content: whole.join("") };
  const answer = await validated(context.plugIns, submitted, workContext(context, due));
  if ("refused" in answer) return answer;
  const { content } = answer.item;
  return {
    item: { ...answer.item, content: "" },
    async *from(position) {
      yield* pieces(fromCodePoint(content, position), PAYLOAD_PART_SIZE);
    },
  };
}

async function* storedPieces(
  { db, ref }: PageContext,
  due: DueItem,
  position: number,
): AsyncIterable<string> {
  let no = Math.floor(position / PAYLOAD_PART_SIZE);
  let skip = position % PAYLOAD_PART_SIZE;
  for (;;) {
    const part = await loadPayloadPart(db, ref.id, due.no, no);
    if (!part) return;
    yield skip > 0 ? fromCodePoint(part.content, skip) : part.content;
    skip = 0;
    no++;
  }
}

async function digestOf(source: Source): Promise<Buffer> {
  const hash = createHash("sha256");
  for await (const piece of source.from(0)) hash.update(piece);
  return hash.digest();
}

async function writeStage(
  { db, ref, input }: PageContext,
  due: DueItem,
  staged: StagedPart,
  chunks: readonly Chunk[],
  facts: readonly NewFact[],
): Promise<StagedPart> {
  if (chunks.length === 0) return staged;
  const position = chunks.at(-1)!.end;
  await db.transaction(async (tx) => {
    await shareOperation(tx, ref.id);
    const orders = await readOrders(tx, ref.id, ref.generation);
    if (orders !== "go") throw new Stopped(orders);
    await shareBank(tx, input.bankId);
    const isErased =
      !(await isBankLive(tx, input.bankId)) ||
      (await findErasedItems(tx, input.bankId, [due])).size > 0;
    // The commit, which sees it too, says how the item ends.
    if (isErased) throw new Refused("erased while it was on its way");
    const step = { position, chunks: chunks.length, facts: facts.length };
    if (!(await advanceStagedPart(tx, staged.seq, staged.position, step))) {
      // One of the two is a zombie; the other writes it, or comes again when neither did.
      throw new Deferred(new Date(Date.now() + 5_000), "another attempt is at work on it");
    }
    await insertDerived(tx, input.bankId, [{ seq: staged.seq, chunks, facts }]);
  });
  return {
    seq: staged.seq,
    position,
    chunks: staged.chunks + chunks.length,
    facts: staged.facts + facts.length,
  };
}
