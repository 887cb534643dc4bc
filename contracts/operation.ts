import { z } from "zod";
import { isStorableTime, unstorable } from "./text.ts";

export const KINDS = ["retain", "plan", "review", "reindex", "job", "count", "clear"] as const;
export const STATES = ["accepted", "running", "completed", "failed", "cancelled"] as const;
export const OPEN_STATES = ["accepted", "running"] as const;

/** Every way an item can end. `failed`, `lost` and `cancelled` are open again in the next generation. */
export const OUTCOMES = [
  "succeeded",
  "unchanged",
  "superseded",
  "blocked",
  "failed",
  "lost",
  "cancelled",
] as const;
export const RERUN_OUTCOMES = ["failed", "lost", "cancelled"] as const;

export const Kind = z.enum(KINDS);
export const State = z.enum(STATES);
export const Outcome = z.enum(OUTCOMES);
export type Kind = z.infer<typeof Kind>;
export type State = z.infer<typeof State>;
export type Outcome = z.infer<typeof Outcome>;

/** Refuses text that Postgres cannot hold. */
export function storable(text: string, context: z.RefinementCtx): void {
  const why = unstorable(text);
  if (why) context.addIssue({ code: "custom", message: why });
}

/** Why somebody did something, for others to read. */
export const Reason = z
  .string()
  .trim()
  .min(1, "must say why, others will read it")
  .max(500, "must be at most 500 characters")
  .superRefine(storable);

/** An ISO instant with its offset. */
export const Instant = z.iso
  .datetime({ offset: true, message: "must be an ISO instant such as 2026-11-21T10:00:00Z" })
  .refine(isStorableTime, "must be of year 1 to 9999, with an offset under 16 hours");

export const OperationId = z.uuid({ message: "must be an operation id (a uuid)" });

/** Letters, digits, `.`, `_`, `-`; 1 to 100 characters. Tenants stand in workflow ids and URLs. */
export const Tenant = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/,
    "must be 1 to 100 of A-Z a-z 0-9 . _ -, first a letter or digit",
  );
export const DEFAULT_TENANT = "default";

/** The caller's idempotency key, up to 255 printable characters. */
export const IdempotencyKey = z
  .string()
  .regex(
    /^[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?$/,
    "must be 1 to 255 printable ASCII characters",
  );

/** Shown, not stored: what an open operation is really doing. */
export const SHOWN_STATES = [
  ...STATES,
  "cancelling",
  "paused",
  "waiting for a worker",
  "waiting for a decision",
  "deferred",
  "stalled",
] as const;

export const StageProgress = z.object({
  stage: z.string(),
  /** Items settled, by outcome. */
  counts: z.record(z.string(), z.number().int()),
  done: z.number().int(),
  total: z.number().int(),
});
export type StageProgress = z.infer<typeof StageProgress>;

/** One operation as SDK, HTTP, CLI and console show it. Times are ISO instants. */
export const OperationView = z.object({
  id: z.string(),
  kind: z.string(),
  tenant: z.string(),
  scope: z.string(),
  key: z.string().nullable(),
  state: State,
  /** State in words: `cancelling`, `deferred`, ... where the stored state says less. */
  shown: z.enum(SHOWN_STATES),
  generation: z.number().int(),
  restarts: z.number().int(),
  priority: z.number().int(),
  total: z.number().int(),
  batches: z.number().int(),
  stages: z.array(StageProgress),
  /** Items that wait for another try, and when the first of them is due. */
  nextRetryAt: z.string().nullable(),
  result: z.record(z.string(), z.unknown()).nullable(),
  reason: z.string().nullable(),
  input: z.record(z.string(), z.unknown()),
  submittedBy: z.string(),
  acceptedAt: z.string(),
  startAfter: z.string().nullable(),
  startedAt: z.string().nullable(),
  finishedAt: z.string().nullable(),
  cancelRequestedAt: z.string().nullable(),
  pausedAt: z.string().nullable(),
  pausedBy: z.string().nullable(),
  pauseReason: z.string().nullable(),
  workflowId: z.string(),
});
export type OperationView = z.infer<typeof OperationView>;

/** What a submit answers: small, and the same for the first call and its repeats. */
export const Accepted = z.object({
  id: z.string(),
  kind: z.string(),
  state: State,
  total: z.number().int(),
  batches: z.number().int(),
  /** True when this call found the operation of an earlier call with the same key. */
  existing: z.boolean(),
});
export type Accepted = z.infer<typeof Accepted>;

export const ItemView = z.object({
  no: z.number().int(),
  batch: z.number().int(),
  key: z.string(),
  seq: z.string(),
  size: z.number().int(),
  outcome: Outcome.nullable(),
  reason: z.string().nullable(),
  generation: z.number().int().nullable(),
  attempts: z.number().int(),
  crashes: z.number().int(),
  nextRetryAt: z.string().nullable(),
  lastError: z.string().nullable(),
  settledAt: z.string().nullable(),
});
export type ItemView = z.infer<typeof ItemView>;

/** A child: one sub-batch row. */
export const BatchView = z.object({
  no: z.number().int(),
  of: z.number().int(),
  firstItem: z.number().int(),
  lastItem: z.number().int(),
  items: z.number().int(),
  size: z.number().int(),
  settled: z.number().int(),
  failed: z.number().int(),
});
export type BatchView = z.infer<typeof BatchView>;

export const LogLine = z.object({
  seq: z.string(),
  at: z.string(),
  level: z.enum(["debug", "info", "warn", "error"]),
  message: z.string(),
  fields: z.record(z.string(), z.unknown()).nullable(),
});
export type LogLine = z.infer<typeof LogLine>;

export const OperationFilter = z
  .object({
    kind: Kind.optional(),
    state: z.union([State, z.literal("open")]).optional(),
    tenant: Tenant.optional(),
    scope: z.string().max(1000).superRefine(storable).optional(),
    since: Instant.optional(),
    limit: z.coerce.number().int().min(1).max(200).default(50),
    /** The `next` of the page before. */
    after: z.string().max(100).optional(),
  })
  .strict();
export type OperationFilter = z.input<typeof OperationFilter>;

export const ItemFilter = z
  .object({
    outcome: z.union([Outcome, z.literal("open")]).optional(),
    /** 1-based number of a sub-batch. */
    batch: z.number().int().min(1).max(2_147_483_647).optional(),
  })
  .strict();
export type ItemFilter = z.infer<typeof ItemFilter>;

export const LogLevel = LogLine.shape.level;

export interface Page<T> {
  items: T[];
  /** Pass as `after` for the next page; absent on the last. */
  next?: string;
}
