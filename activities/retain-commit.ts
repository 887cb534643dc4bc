import type { RetainItem } from "../contracts/retain.ts";
import { recordTries } from "../db/attempts.ts";
import { isBankLive } from "../db/banks.ts";
import { readOrders } from "../db/brakes.ts";
import { findErasedItems, lockDocuments, touchDocuments } from "../db/documents.ts";
import { shareBank, shareKnowledge, shareOperation } from "../db/locks.ts";
import { appendLogs } from "../db/logs.ts";
import { addMarks } from "../db/marks.ts";
import { CONSOLIDATE, dropObservationsOf } from "../db/observations.ts";
import { settleItems, type Settlement } from "../db/outcomes.ts";
import {
  deleteParts,
  findPartsBefore,
  findSoleParts,
  insertDerived,
  insertParts,
  updatePartLabels,
  type NewPart,
} from "../db/parts.ts";
import { deletePayloads } from "../db/payloads.ts";
import type { Tx } from "../db/pool.ts";
import { reportProgress } from "../db/progress-report.ts";
import { deleteStagedParts } from "../db/staged-parts.ts";
import { settleGroup, type DocumentSettlement } from "../domain/retain.ts";
import type { PageContext, Prepared } from "./retain-page.ts";

export interface Committed {
  settled: number;
  stop?: "cancelled" | "paused" | "gone";
}

/** An item that is ready to be written, in its place among the items of its document. */
interface Placed {
  seq: bigint;
  mode: "replace" | "append";
  document: string;
  from: Extract<Prepared, { kind: "write" | "unchanged" }>;
}

/**
 * One transaction for a page: lock the documents in order, settle the ledger, and write effects
 * only for what was settled now. A repeat, a zombie after cancel or a second attempt settles
 * nothing and so changes nothing.
 */
export async function commitPage(
  context: PageContext,
  tx: Tx,
  prepared: readonly Prepared[],
  identity: string,
): Promise<Committed> {
  const { ref, input } = context;
  await shareOperation(tx, ref.id);
  const orders = await readOrders(tx, ref.id, ref.generation);
  if (orders !== "go") return { settled: 0, stop: orders };
  await shareBank(tx, input.bankId);
  if (!(await isBankLive(tx, input.bankId))) return closeErased(context, tx, prepared, identity);

  const current = await withoutErased(context, tx, prepared);
  const placed = current.flatMap(place);
  const heads = await lockDocuments(
    tx,
    input.bankId,
    placed.map((one) => one.document),
  );
  const group = settleGroup(heads, await stillTrue(context, tx, placed));
  const settlements = [
    ...current.flatMap((one) => (one.kind === "settle" ? [one.settlement] : [])),
    ...group.decisions.map(({ item, decision }) => settlementOf(item, decision)),
  ];
  const settled = await settleItems(tx, ref, settlements, identity);
  const won = group.documents
    .map((document) => ({
      ...document,
      apply: document.apply.filter((item) => settled.has(item.from.due.no)),
    }))
    .filter((document) => document.apply.length > 0);
  await writeDocuments(context, tx, won);
  await giveUpStaged(tx, settlements, prepared);
  await dropErasedPayloads(context, tx, settlements);
  await recordTries(
    tx,
    ref,
    current.flatMap((one) => (one.kind === "again" ? [one.failed] : [])),
  );
  await account(context, tx, settlements, settled);
  await logTries(context, tx, current);
  return { settled: settled.size };
}

const DOCUMENT_ERASED = "document erased";

// What a try at an erased document came to may quote it, and is not kept. What is ready to be
// written is compared with its document's head anyway.
async function withoutErased(
  { input }: PageContext,
  tx: Tx,
  prepared: readonly Prepared[],
): Promise<Prepared[]> {
  const unwritten = prepared.filter((one) => one.kind === "settle" || one.kind === "again");
  if (unwritten.length === 0) return [...prepared];
  const erased = await findErasedItems(
    tx,
    input.bankId,
    unwritten.map((one) => one.due),
  );
  return prepared.map((one): Prepared => {
    const { due } = one;
    if (!erased.has(due.seq)) return one;
    const { no: itemNo, attempts: attempt } = due;
    const settlement = { itemNo, outcome: "superseded", reason: DOCUMENT_ERASED, attempt } as const;
    return { kind: "settle", due, settlement };
  });
}

// A batch that was being accepted while its document was erased brought its payload afterwards.
async function dropErasedPayloads(
  { ref }: PageContext,
  tx: Tx,
  settlements: readonly Settlement[],
): Promise<void> {
  const erased = settlements.filter((one) => one.reason === DOCUMENT_ERASED);
  if (erased.length === 0) return;
  await deletePayloads(
    tx,
    ref.id,
    erased.map((one) => one.itemNo),
  );
}

function place(from: Prepared): Placed[] {
  if (from.kind !== "write" && from.kind !== "unchanged") return [];
  const { due, item } = from;
  return [{ seq: BigInt(due.seq), mode: item.mode ?? "replace", document: due.key, from }];
}

// "Unchanged" was found before the lock. It stands while the document's part is the one that was
// looked at; else the item is left open, and prepared again with the next page.
async function stillTrue(
  { input }: PageContext,
  tx: Tx,
  placed: readonly Placed[],
): Promise<Placed[]> {
  const claims = placed.filter((one) => one.from.kind === "unchanged");
  if (claims.length === 0) return [...placed];
  const known = await findSoleParts(
    tx,
    input.bankId,
    claims.map((one) => one.document),
  );
  return placed.filter(({ from, document }) => {
    if (from.kind !== "unchanged") return true;
    return known.get(document)?.seq === from.known.seq;
  });
}

function settlementOf(
  { from }: Placed,
  decision: { outcome: "apply" } | { outcome: "superseded"; reason: string },
): Settlement {
  const { no: itemNo, attempts: attempt } = from.due;
  if (decision.outcome === "superseded") return { itemNo, attempt, ...decision };
  return { itemNo, attempt, outcome: from.kind === "unchanged" ? "unchanged" : "succeeded" };
}

async function writeDocuments(
  context: PageContext,
  tx: Tx,
  documents: readonly DocumentSettlement<Placed>[],
): Promise<void> {
  if (documents.length === 0) return;
  const { bankId } = context.input;
  const items = documents.flatMap((document) => document.apply);
  const writes = items.flatMap(({ from }) => (from.kind === "write" ? [from] : []));
  const same = items.flatMap(({ from }) => (from.kind === "unchanged" ? [from] : []));
  const outgoing = documents.flatMap(({ document, apply, dropBefore }) =>
    dropBefore === null || apply.some(({ from }) => from.kind === "unchanged")
      ? []
      : [{ documentId: document, before: dropBefore }],
  );

  await shareKnowledge(tx, bankId);
  const old = await findPartsBefore(tx, bankId, outgoing);
  await dropObservationsOf(tx, bankId, old);
  await deleteParts(tx, old);
  await insertParts(
    tx,
    bankId,
    writes.map((write) => newPart(context, write)),
  );
  await insertDerived(
    tx,
    bankId,
    writes.flatMap(({ due, part }) => (part.staged ? [] : [{ seq: due.seq, ...part }])),
  );
  await updatePartLabels(
    tx,
    same.map(({ item, known }) => ({ seq: known.seq, ...labelsOf(item, context.acceptedAt) })),
  );
  await touchDocuments(
    tx,
    bankId,
    documents.map(({ document, head }) => ({ documentId: document, headSeq: head.headSeq })),
  );
  await addMarks(
    tx,
    CONSOLIDATE,
    bankId,
    writes.filter(hasFacts).map(({ due }) => `part/${due.seq}`),
  );
}

type Write = Extract<Prepared, { kind: "write" }>;

function newPart({ ref, acceptedAt }: PageContext, { due, item, part }: Write): NewPart {
  return {
    seq: due.seq,
    documentId: due.key,
    operationId: ref.id,
    itemNo: due.no,
    mode: item.mode ?? "replace",
    digest: part.digest,
    extractor: part.extractor,
    ...labelsOf(item, acceptedAt),
    size: part.size,
    chunkCount: part.staged?.chunkCount ?? part.chunks.length,
    factCount: part.staged?.factCount ?? part.facts.length,
  };
}

function labelsOf(
  item: RetainItem,
  acceptedAt: string,
): Pick<NewPart, "context" | "happenedAt" | "tags" | "metadata"> {
  return {
    context: item.context ?? null,
    happenedAt: item.timestamp === "unset" ? null : (item.timestamp ?? acceptedAt),
    tags: item.tags ?? [],
    metadata: item.metadata ?? {},
  };
}

function hasFacts({ part }: Write): boolean {
  return part.staged ? part.staged.factCount > 0 : part.facts.length > 0;
}

// A large item that is not written leaves nothing of its staged work.
async function giveUpStaged(
  tx: Tx,
  settlements: readonly Settlement[],
  prepared: readonly Prepared[],
): Promise<void> {
  const written = new Set(
    settlements.filter((one) => one.outcome === "succeeded").map((one) => one.itemNo),
  );
  const staged = prepared.filter((one) => one.kind === "write" && one.part.staged);
  await deleteStagedParts(
    tx,
    staged.map(({ due }) => ({ seq: due.seq, keepDerived: written.has(due.no) })),
  );
}

const COMMIT_STAGE = "retain";

async function account(
  { ref }: PageContext,
  tx: Tx,
  settlements: readonly Settlement[],
  settled: ReadonlySet<number>,
): Promise<void> {
  const now = settlements.filter((settlement) => settled.has(settlement.itemNo));
  if (now.length === 0) return;
  const counts = new Map<string, number>();
  for (const { outcome } of now) counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
  // An item is settled once in a generation, so the first of a page names it for ever.
  const source = `settle/${ref.generation}/${Math.min(...now.map((one) => one.itemNo))}`;
  await reportProgress(
    tx,
    ref.id,
    source,
    [...counts].map(([outcome, n]) => ({ stage: COMMIT_STAGE, outcome, n })),
    now
      .filter(({ outcome }) => outcome === "failed" || outcome === "blocked")
      .slice(0, MAX_LOGGED)
      .map(({ itemNo, outcome, reason, attempt }) => ({
        level: outcome === "failed" ? "error" : "warn",
        message: `item ${itemNo} ${outcome}: ${reason ?? "no reason given"}`,
        fields: { itemNo, attempt },
      })),
  );
}

async function logTries(
  { ref }: PageContext,
  tx: Tx,
  prepared: readonly Prepared[],
): Promise<void> {
  const tries = prepared.flatMap((one) => (one.kind === "again" ? [one.failed] : []));
  await appendLogs(
    tx,
    tries.slice(0, MAX_LOGGED).map(({ itemNo, error, dueAt, spends }) => ({
      operationId: ref.id,
      level: "warn",
      message: `item ${itemNo} ${spends ? "failed" : "was put off"}: ${error}`,
      fields: { itemNo, nextTry: dueAt.toISOString() },
    })),
  );
}

/** Of one page; the ledger has them all. */
const MAX_LOGGED = 20;

// The bank went while its batch was on the way: nothing is written, and the payload goes too.
async function closeErased(
  context: PageContext,
  tx: Tx,
  prepared: readonly Prepared[],
  identity: string,
): Promise<Committed> {
  const settlements = prepared.map(({ due }): Settlement => ({
    itemNo: due.no,
    outcome: "cancelled",
    reason: "bank erased",
    attempt: due.attempts,
  }));
  const settled = await settleItems(tx, context.ref, settlements, identity);
  await deletePayloads(tx, context.ref.id, [...settled]);
  await giveUpStaged(tx, settlements, prepared);
  await account(context, tx, settlements, settled);
  return { settled: settled.size };
}
