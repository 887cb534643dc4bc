import { z } from "zod";
import { ENTITY_STATES, type Change, type EntityState, type Fields } from "./inventory.ts";
import { OperationId, Reason, Tenant, IdempotencyKey, storable } from "./operation.ts";

/** What people see of entities and their plans, and what they may decide. */

export const REVIEW_ACTS = ["approve", "reject", "ignore", "reopen", "rediff", "requeue"] as const;
export const ReviewAct = z.enum(REVIEW_ACTS);
export type ReviewAct = z.infer<typeof ReviewAct>;

export const REVIEW_LIMITS = {
  /** Ids of one decision. */
  ids: 1_000,
  /** Entities of one operation. */
  items: 1_000_000,
} as const;

/** States that a filter may name; `unspecified` is none. */
export const REVIEW_STATES = Object.keys(ENTITY_STATES).filter(
  (name) => name !== "unspecified",
) as EntityState[];
const State = z.enum(REVIEW_STATES as [EntityState, ...EntityState[]]);

export const EntityId = z
  .string()
  .regex(/^[1-9]\d{0,17}$/, "must be the id of an entity (a number)");

const Text = z.string().min(1).max(200).superRefine(storable);

const sieve = {
  /** Default: the caller's only tenant, or `default`. */
  tenant: Tenant.optional(),
  branch: Text.optional(),
  types: z.array(Text).min(1).max(100).optional(),
  /** Name of the rule that decided. */
  rule: Text.optional(),
  request: OperationId.optional(),
  /** The plan or review that it belongs to. */
  operation: OperationId.optional(),
  /** Part of the title, whatever its case. */
  text: Text.optional(),
};

/** Which entities a decision is about, where they are not named one by one. */
export const ReviewFilter = z.strictObject({
  ...sieve,
  states: z.array(State).min(1).optional(),
  /** Says that everything of the tenant is meant, where nothing narrows it. */
  all: z.boolean().optional(),
});
export type ReviewFilter = z.infer<typeof ReviewFilter>;

export const DeviationFilter = z.strictObject({
  ...sieve,
  /** Default: what waits for somebody: open, failed, errored. */
  states: z.array(State).min(1).optional(),
  order: z.enum(["newest", "oldest"]).default("newest"),
  /** The `next` of the page before. */
  after: EntityId.optional(),
  limit: z.coerce.number().int().min(1).max(200).default(50),
});
export type DeviationFilter = z.input<typeof DeviationFilter>;

const PlanHash = z.string().regex(/^[0-9a-f]{64}$/, "must be the hash of a plan (64 hex digits)");

export const Decide = z
  .strictObject({
    act: ReviewAct,
    tenant: Tenant.optional(),
    ids: z.array(EntityId).min(1).max(REVIEW_LIMITS.ids),
    /** Of the plan that was seen, for each of the ids: an approval of another one is refused. */
    planHashes: z.array(PlanHash).optional(),
    reason: Reason.optional(),
  })
  .refine(({ ids, planHashes }) => !planHashes || planHashes.length === ids.length, {
    path: ["planHashes"],
    message: "must name one hash for each of the ids",
  })
  .refine(({ ids }) => new Set(ids).size === ids.length, {
    path: ["ids"],
    message: "names one id twice",
  });
export type Decide = z.input<typeof Decide>;

export const ReviewSubmit = z.strictObject({
  act: ReviewAct,
  filter: ReviewFilter,
  reason: Reason.optional(),
  /** A repeat with the same content answers the same operation. */
  key: IdempotencyKey.optional(),
});
export type ReviewSubmit = z.infer<typeof ReviewSubmit>;

/** What a decision came to. */
export const Decided = z.object({
  decided: z.number().int(),
  /** The others, and why each stays as it is. */
  refused: z.array(z.object({ id: z.string(), why: z.string() })),
});
export type Decided = z.infer<typeof Decided>;

export const ChangeCounts = z.object({
  create: z.number().int(),
  update: z.number().int(),
  delete: z.number().int(),
});
export type ChangeCounts = z.infer<typeof ChangeCounts>;

export const EntityFault = z.looseObject({ fault: z.string(), message: z.string() });

const Any = z.record(z.string(), z.unknown()) as unknown as z.ZodType<Fields>;

/** An entity with its newest plan, as a list shows it. Times are ISO instants. */
export const Deviation = z.object({
  id: z.string(),
  tenant: z.string(),
  branch: z.string().nullable(),
  type: z.string(),
  /** `Device sw1 modified`. */
  title: z.string(),
  state: State,
  /** Approved, and not applied yet. */
  approved: z.boolean(),
  changes: ChangeCounts,
  planHash: z.string().nullable(),
  rule: z.string().nullable(),
  error: EntityFault.nullable(),
  request: z.string(),
  operation: z.string().nullable(),
  /** What a source says of when it saw it: up to nanoseconds. */
  sourceTime: z.string().nullable(),
  acceptedAt: z.string(),
  plannedAt: z.string().nullable(),
  settledAt: z.string().nullable(),
  decidedBy: z.string().nullable(),
  decidedAt: z.string().nullable(),
});
export type Deviation = z.infer<typeof Deviation>;

export const ChangeView = z.object({
  no: z.number().int(),
  kind: z.enum(["create", "update", "noop", "delete"]),
  type: z.string(),
  identity: Any,
  objectId: z.string(),
  version: z.number().int(),
  before: Any,
  after: Any,
  newRefs: z.array(z.string()).readonly(),
  primary: z.boolean(),
}) satisfies z.ZodType<Change>;

export const ChangeSetView = z.object({
  id: z.string(),
  hash: z.string(),
  title: z.string(),
  changes: z.array(ChangeView),
  warnings: z.array(z.string()),
  madeAt: z.string(),
  appliedAt: z.string().nullable(),
});
export type ChangeSetView = z.infer<typeof ChangeSetView>;

/** Another version of the same identity. */
export const VersionView = z.object({
  id: z.string(),
  state: State,
  acceptedAt: z.string(),
});
export type VersionView = z.infer<typeof VersionView>;

/** One entity with everything that is kept of it. Integers beyond 2^53 are exact. */
export const DeviationDetail = Deviation.extend({
  fields: Any,
  warnings: z.array(z.string()),
  attempt: z.number().int(),
  nextRetryAt: z.string().nullable(),
  /** Newest first; the first is what an approval would bind to. At most 5 are kept. */
  changeSets: z.array(ChangeSetView),
  /** The newest others of its identity, at most 20, newest first. */
  versions: z.array(VersionView),
});
export type DeviationDetail = z.infer<typeof DeviationDetail>;
