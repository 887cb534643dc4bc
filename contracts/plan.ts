import { z } from "zod";
import { IdempotencyKey, OperationView, Outcome, Reason, Tenant, storable } from "./operation.ts";
import { ChangeCounts, ChangeView, EntityFault, EntityId } from "./review.ts";

/** One named change request: submitted, planned, shown, decided, applied. */

export const PLAN_LIMITS = {
  /** Entities of one plan, which is planned in one transaction. */
  entities: 10_000,
  /** Bytes of all of them, as they are stored. */
  bytes: 64 * 1024 * 1024,
} as const;

export const PLAN_MODES = ["review", "auto"] as const;
/** `review`: a person decides about everything. `auto`: the tenant's rules apply what they name. */
export const PlanOperationMode = z.enum(PLAN_MODES);
export type PlanOperationMode = z.infer<typeof PlanOperationMode>;

export const PLAN_EXPIRES_SECONDS = 7 * 86_400;

/** What stands beside the entities. */
export const PlanHeader = z.strictObject({
  tenant: Tenant.optional(),
  /** Default: the default branch of the tenant. */
  branch: z.string().min(1).max(200).superRefine(storable).optional(),
  mode: PlanOperationMode.default("review"),
  /** A repeat with the same content answers the same plan. */
  key: IdempotencyKey.optional(),
  /** How long it waits for a decision once it is planned; then it ends, and nothing is applied. Default 7 days. */
  expiresInSeconds: z
    .int()
    .min(1)
    .max(365 * 86_400)
    .optional(),
});
export type PlanHeader = z.input<typeof PlanHeader>;

const PlanHash = z.string().regex(/^[0-9a-f]{64}$/, "must be the hash of a plan (64 hex digits)");

export const PlanDecide = z
  .strictObject({
    /** Of the plan that was seen: another one is refused. Of the whole plan, so not with `entities`. */
    hash: PlanHash.optional(),
    /** Ids of the entities meant. Default: all that wait for a decision. */
    entities: z.array(EntityId).min(1).max(PLAN_LIMITS.entities).optional(),
    /** Of the plan that was seen of each of them: a decision about another one is refused. */
    planHashes: z.array(PlanHash).optional(),
    reason: Reason.optional(),
  })
  .refine(({ entities, planHashes }) => !planHashes || planHashes.length === entities?.length, {
    path: ["planHashes"],
    message: "must name one hash for each of the entities",
  });
export type PlanDecide = z.infer<typeof PlanDecide>;

/** How many entities of a plan stand where. */
export const PlanCounts = z.object({
  /** Not planned yet. */
  planning: z.number().int(),
  /** For a decision. */
  waiting: z.number().int(),
  /** Approved, not applied yet. */
  approved: z.number().int(),
  applied: z.number().int(),
  unchanged: z.number().int(),
  rejected: z.number().int(),
  failed: z.number().int(),
  /** Ended with the plan: it was cancelled, or nobody decided in time. */
  cancelled: z.number().int(),
  /** Of those that wait: changed since they were approved. */
  stale: z.number().int(),
});
export type PlanCounts = z.infer<typeof PlanCounts>;

export const PlanView = OperationView.extend({
  branch: z.string(),
  mode: PlanOperationMode,
  counts: PlanCounts,
  /** Objects that would change, by those that wait or are to be applied. */
  changes: ChangeCounts,
  /** Objects that were changed. */
  applied: ChangeCounts,
  /** What an approval of the whole binds to; null while it is planned, and when nothing waits. */
  hash: z.string().nullable(),
  decision: z
    .object({
      what: z.enum(["approve", "reject"]),
      by: z.string(),
      at: z.string(),
      reason: z.string().nullable(),
    })
    .nullable(),
  plannedAt: z.string().nullable(),
  expiresAt: z.string().nullable(),
  escalatedAt: z.string().nullable(),
});
export type PlanView = z.infer<typeof PlanView>;

export const PlanEntity = z.object({
  /** Its place in what was submitted, from 1. */
  no: z.number().int(),
  id: z.string(),
  type: z.string(),
  title: z.string(),
  /** `rejected` and `cancelled` are stored as ignored. */
  state: z.enum([
    "planning",
    "waiting",
    "approved",
    "applied",
    "unchanged",
    "rejected",
    "failed",
    "cancelled",
  ]),
  outcome: Outcome.nullable(),
  /** Changed since it was approved. */
  stale: z.boolean(),
  planHash: z.string().nullable(),
  changes: z.array(ChangeView),
  warnings: z.array(z.string()),
  rule: z.string().nullable(),
  error: EntityFault.nullable(),
  decidedBy: z.string().nullable(),
});
export type PlanEntity = z.infer<typeof PlanEntity>;

export const PlanPages = z.strictObject({
  /** The `next` of the page before. */
  after: z.coerce.number().int().min(0).max(2_147_483_647).default(0),
  limit: z.coerce.number().int().min(1).max(500).default(100),
});
export type PlanPages = z.input<typeof PlanPages>;
