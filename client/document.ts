import { NotFound } from "../contracts/errors.ts";
import type { Page } from "../contracts/operation.ts";
import {
  DocumentId,
  InBank,
  type DocumentErased,
  type DocumentSummary,
  type DocumentView,
  type FactView,
  type PartView,
} from "../contracts/retain.ts";
import { codePointLength } from "../contracts/text.ts";
import { insertAudit } from "../db/audit.ts";
import { listFacts, listParts, type PartRow } from "../db/document-views.ts";
import { findDocument, listDocuments, type DocumentRow } from "../db/documents.ts";
import { eraseDocument } from "../db/erase-document.ts";
import { documentOf } from "../domain/retain.ts";
import { bankOf, type OfTenant } from "./bank.ts";
import { asking, type Context } from "./context.ts";
import { parseInput } from "./input.ts";

/** Documents of a bank. */
export interface DocumentClient {
  /** By id, 100 a page unless `limit` (1 to 1,000) says otherwise. @throws NotFound */
  list(bank: string, page?: InBank): Promise<Page<DocumentSummary>>;
  /** The whole document as of one instant: text, parts, chunks, facts. @throws NotFound */
  get(bank: string, documentId: string, of?: OfTenant): Promise<DocumentView>;
  /**
   * Erases a document, its payloads and all that was derived from it. Items accepted before end
   * `superseded`; the same id may be written again. @throws NotFound
   */
  erase(bank: string, documentId: string, of?: OfTenant): Promise<DocumentErased>;
}

/** The ledger of the bank is read for items of the document. */
const ERASE_TIMEOUT_MS = 120_000;

export function documentClient(context: Context): DocumentClient {
  const { db } = context;
  return {
    list: (bank, page = {}) =>
      asking(async () => {
        const { tenant, after, limit } = parseInput(InBank, page);
        const { id } = await bankOf(context, db, bank, { tenant });
        const rows = await listDocuments(db, id, { after, limit: limit + 1 });
        const items = rows
          .slice(0, limit)
          .map((row) => ({ ...row, updatedAt: row.updatedAt.toISOString() }));
        return rows.length > limit ? { items, next: items.at(-1)!.documentId } : { items };
      }),
    get: (bank, documentId, of = {}) => asking(() => get(context, bank, documentId, of)),
    erase: (bank, documentId, of = {}) => asking(() => erase(context, bank, documentId, of)),
  };
}

async function get(
  context: Context,
  bank: string,
  documentId: string,
  of: OfTenant,
): Promise<DocumentView> {
  parseInput(DocumentId, documentId, "documentId");
  return context.db.transaction(
    async (tx) => {
      const { id, tenant } = await bankOf(context, tx, bank, of);
      const row = (await findDocument(tx, id, documentId)) ?? noDocument(bank, documentId);
      const parts = await listParts(tx, id, documentId);
      const facts = await listFacts(
        tx,
        parts.map((part) => part.seq),
      );
      return { tenant, bank, ...documentView(row, parts, facts) };
    },
    { readOnly: true, repeatableRead: true },
  );
}

function documentView(
  row: DocumentRow,
  parts: readonly PartRow[],
  facts: ReadonlyMap<string, FactView[]>,
): Omit<DocumentView, "tenant" | "bank"> {
  const whole = documentOf(parts.map((part) => ({ ...part, seq: BigInt(part.seq) })));
  return {
    documentId: row.document_id,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
    ...whole,
    size: codePointLength(whole.text),
    parts: parts.map((part) => partView(part, facts.get(part.seq) ?? [])),
  };
}

function partView(part: PartRow, facts: FactView[]): PartView {
  return {
    seq: part.seq,
    mode: part.mode,
    operationId: part.operation_id,
    itemNo: part.item_no,
    context: part.context,
    timestamp: part.happened_at?.toISOString() ?? null,
    tags: part.tags,
    metadata: part.metadata,
    extractor: part.extractor,
    writtenAt: part.written_at.toISOString(),
    chunks: part.starts.map((start, no) => ({ no, start, end: part.ends[no]! })),
    facts,
  };
}

async function erase(
  context: Context,
  bank: string,
  documentId: string,
  of: OfTenant,
): Promise<DocumentErased> {
  parseInput(DocumentId, documentId, "documentId");
  return context.db.transaction(
    async (tx) => {
      const { id: bankId, tenant } = await bankOf(context, tx, bank, of);
      const erased = await eraseDocument(tx, { bankId, tenant, bank, documentId });
      if (!erased) return noDocument(bank, documentId);
      await insertAudit(tx, {
        actor: context.actor,
        action: "document.erase",
        tenant,
        subject: `${bank}/${documentId}`,
        before: erased,
      });
      return { tenant, bank, documentId, ...erased };
    },
    { statementTimeoutMs: ERASE_TIMEOUT_MS },
  );
}

function noDocument(bank: string, documentId: string): never {
  throw new NotFound("document", documentId, `list what bank ${bank} holds`);
}
