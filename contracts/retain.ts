import { z } from "zod";
import { isBlank, isStorableTime } from "./text.ts";
import { DEFAULT_TENANT, IdempotencyKey, Instant, storable, Tenant } from "./operation.ts";

/** Limits of one batch. Stated to callers in every refusal; see docs/guarantees.md. */
export const RETAIN_LIMITS = {
  items: 10_000,
  /** Code points in one item. */
  itemSize: 64_000_000,
  /** UTF-8 bytes of all contents of one batch. */
  batchBytes: 256 * 1024 * 1024,
  idBytes: 1_000,
  tags: 100,
  entities: 200,
  metadataBytes: 16_384,
} as const;

/** Content longer than this (code points) is stored and worked in pieces of this size. */
export const PAYLOAD_PART_SIZE = 262_144;

const bytes = (text: string) => new TextEncoder().encode(text).length;

/** Storable text of 1 to `max` bytes that is not blank. */
const shortText = (max: number) =>
  z
    .string()
    .refine((text) => !isBlank(text), "must not be blank")
    .refine((text) => text.length * 3 <= max || bytes(text) <= max, `must be at most ${max} bytes`)
    .superRefine(storable);

/** Days roll over in Date (2026-02-30 becomes 2 March); here they are refused. */
const moment = z.union([Instant, z.iso.date().refine(isStorableTime)]);

export const CallerEntity = z
  .object({ text: shortText(200), type: shortText(100).default("CONCEPT") })
  .strict();

export const BankName = shortText(RETAIN_LIMITS.idBytes);
export const DocumentId = shortText(RETAIN_LIMITS.idBytes);
const Tags = z.array(shortText(200)).max(RETAIN_LIMITS.tags);

/** One document, or one part of one. Lengths are Unicode code points. */
export const RetainItem = z
  .object({
    content: z
      .string()
      .refine((text) => !isBlank(text), "must not be blank")
      .superRefine(storable),
    /** Upsert key inside the bank; made from operation and position when absent. */
    documentId: DocumentId.optional(),
    /** When it happened: an ISO instant or date. Absent or null: now. `unset`: explicitly no time. */
    timestamp: z
      .union([moment, z.literal("unset"), z.null()], {
        error: 'must be an ISO instant such as 2026-11-21T10:00:00Z, an ISO date, "unset" or null',
      })
      .optional(),
    context: z.string().max(2_000).superRefine(storable).optional(),
    tags: Tags.optional(),
    metadata: z
      .record(shortText(200), z.string().superRefine(storable))
      .refine((map) => bytes(JSON.stringify(map)) <= RETAIN_LIMITS.metadataBytes, {
        message: `must be at most ${RETAIN_LIMITS.metadataBytes} bytes as JSON`,
      })
      .optional(),
    entities: z.array(CallerEntity).max(RETAIN_LIMITS.entities).optional(),
    /** False: take the caller's entities literally and look for no others. */
    resolveEntities: z.boolean().optional(),
    /** `replace` (default) puts this text in place of the document, `append` adds a part to it. */
    mode: z.enum(["replace", "append"]).optional(),
  })
  .strict();
export type RetainItem = z.infer<typeof RetainItem>;

/** Settings of one batch. Unknown options are refused. */
export const RetainOptions = z
  .object({
    /** 1 (first) to 5. */
    priority: z.number().int().min(1).max(5).default(3),
    /** Sub-batches close before they exceed this many code points. */
    budget: z.number().int().min(1).max(10_000_000).default(500_000),
    /** Items in one sub-batch. */
    batchItems: z.number().int().min(1).max(1_000).default(100),
    /** Code points in one chunk. */
    chunkSize: z.number().int().min(100).max(100_000).default(3_000),
    /** Tries per item before it ends `failed`. */
    maxAttempts: z.number().int().min(1).max(20).default(3),
    /** Do not start before this instant. */
    startAfter: Instant.optional(),
  })
  .strict();
export type RetainOptions = z.infer<typeof RetainOptions>;

/** Everything about a batch but its items: what an NDJSON upload sends beside the lines. */
export const RetainHeader = z
  .object({
    tenant: Tenant.default(DEFAULT_TENANT),
    bank: BankName,
    key: IdempotencyKey.optional(),
    /** Tags for every document of the batch. */
    documentTags: Tags.optional(),
    options: RetainOptions.prefault({}),
  })
  .strict();
export type RetainHeader = z.infer<typeof RetainHeader>;

export const RetainSubmit = RetainHeader.extend({
  items: z
    .array(RetainItem)
    .min(1, "must hold at least one item")
    .max(RETAIN_LIMITS.items, `must hold at most ${RETAIN_LIMITS.items} items; split the batch`),
}).strict();
export type RetainSubmit = z.input<typeof RetainSubmit>;

/** The small, durable input of a retain operation, as stored on its row. */
export const RetainInput = z.object({
  bank: z.string(),
  bankId: z.string(),
  documentTags: z.array(z.string()).optional(),
  chunkSize: z.number(),
  maxAttempts: z.number(),
  totalSize: z.number(),
});
export type RetainInput = z.infer<typeof RetainInput>;

export const BankView = z.object({
  tenant: z.string(),
  name: z.string(),
  createdAt: z.string(),
  documents: z.number().int(),
  facts: z.number().int(),
  observations: z.number().int(),
  openOperations: z.number().int(),
});
export type BankView = z.infer<typeof BankView>;

export const FactView = z.object({
  id: z.string(),
  text: z.string(),
  chunk: z.number().int(),
  start: z.number().int().nullable(),
  end: z.number().int().nullable(),
  occurredStart: z.string().nullable(),
  occurredEnd: z.string().nullable(),
  entities: z.array(z.string()),
});
export type FactView = z.infer<typeof FactView>;

export const PartView = z.object({
  seq: z.string(),
  mode: z.enum(["replace", "append"]),
  operationId: z.string(),
  itemNo: z.number().int(),
  context: z.string().nullable(),
  timestamp: z.string().nullable(),
  tags: z.array(z.string()),
  metadata: z.record(z.string(), z.string()),
  extractor: z.string(),
  writtenAt: z.string(),
  chunks: z.array(
    z.object({ no: z.number().int(), start: z.number().int(), end: z.number().int() }),
  ),
  facts: z.array(FactView),
});
export type PartView = z.infer<typeof PartView>;

/** A whole document: text is the parts joined with one newline. */
export const DocumentView = z.object({
  tenant: z.string(),
  bank: z.string(),
  documentId: z.string(),
  createdAt: z.string(),
  updatedAt: z.string(),
  tags: z.array(z.string()),
  metadata: z.record(z.string(), z.string()),
  size: z.number().int(),
  text: z.string(),
  parts: z.array(PartView),
});
export type DocumentView = z.infer<typeof DocumentView>;

export const ObservationView = z.object({
  entity: z.string(),
  text: z.string(),
  sources: z.array(z.string()),
  writtenAt: z.string(),
});
export type ObservationView = z.infer<typeof ObservationView>;

/** A document in a list. Size in code points, the newlines between parts included. */
export const DocumentSummary = z.object({
  documentId: z.string(),
  updatedAt: z.string(),
  parts: z.number().int(),
  size: z.number().int(),
  facts: z.number().int(),
});
export type DocumentSummary = z.infer<typeof DocumentSummary>;

/** What erasing a bank answers. */
export const BankErased = z.object({
  tenant: z.string(),
  bank: z.string(),
  /** Open operations that ended with it. */
  operationsEnded: z.number().int(),
  /** False: nobody can reach it any more, and workers go on removing what it held. */
  complete: z.boolean(),
});
export type BankErased = z.infer<typeof BankErased>;

/** What erasing a document answers. */
export const DocumentErased = z.object({
  tenant: z.string(),
  bank: z.string(),
  documentId: z.string(),
  /** Parts that were there to be read. */
  parts: z.number().int(),
  /** Items, finished or on their way, whose payload went. */
  items: z.number().int(),
});
export type DocumentErased = z.infer<typeof DocumentErased>;

export const BankFilter = z
  .object({
    tenant: Tenant.optional(),
    limit: z.coerce.number().int().min(1).max(200).default(50),
    /** The `next` of the page before. */
    after: z
      .string()
      .regex(/^\d{1,18}$/, "must be the `next` of the page before")
      .optional(),
  })
  .strict();
export type BankFilter = z.input<typeof BankFilter>;

/** Pages over what a bank holds; `tenant` is that of the bank. */
export const InBank = z
  .object({
    tenant: Tenant.optional(),
    limit: z.coerce.number().int().min(1).max(1_000).default(100),
    /** The `next` of the page before. */
    after: z.string().max(2_000).optional(),
  })
  .strict();
export type InBank = z.input<typeof InBank>;

export const ObservationFilter = InBank.extend({
  /** Only what is known about this one; case does not matter. */
  entity: z.string().max(1_000).optional(),
}).strict();
export type ObservationFilter = z.input<typeof ObservationFilter>;
