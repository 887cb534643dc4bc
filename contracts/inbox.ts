import { z } from "zod";
import { ENTITY_STATES, type EntityState, type Fields } from "./inventory.ts";
import { IdempotencyKey, Tenant } from "./operation.ts";
import { unstorable } from "./text.ts";

/** What goes into the inbox, and what it says of itself. */

export const INBOX_LIMITS = {
  /** Entities of one call that holds them all. */
  entities: 50_000,
  /** Lines of one upload. */
  lines: 2_000_000,
  /** Bytes of one upload, as sent. */
  uploadBytes: 1024 * 1024 * 1024,
  /** Different branches that entities of one message name. */
  branches: 100,
  /** Ids of one requeue; a filter finds any number. */
  ids: 1_000,
} as const;

const storable = (max: number) =>
  z
    .string()
    .min(1)
    .max(max)
    .refine((text) => unstorable(text) === undefined, "contains characters Postgres cannot store");

export const BranchName = storable(200);
const STATE_NAMES = Object.keys(ENTITY_STATES).filter((name) => name !== "unspecified");
export const EntityStateName = z.enum(STATE_NAMES as [EntityState, ...EntityState[]]);
export const RequestId = z.uuid({ message: "must be the id of a request (a uuid)" });
export const InboxEntityId = z
  .string()
  .regex(/^\d{1,18}$/, "must be the id of an entity (a number): see the list of entities");
const TypeName = z
  .string()
  .regex(/^[a-z][a-z0-9_]{0,99}$/, "must be the name of a type, such as device");
/** The `next` of the page before. */
const Cursor = storable(100).optional();
const limit = (fallback: number, max: number) =>
  z.coerce.number().int().min(1).max(max).default(fallback);

/**
 * One entity: `{ "timestamp", "<type>": { ... } }`, or the envelope `{ "object_type", "entity",
 * "timestamp"?, "branch"? }`. What is wrong with one is told of it alone.
 */
export interface EntityInput {
  readonly [name: string]: unknown;
}

/** This is everything in a scope: what earlier snapshots of it named and this one does not, is missing. */
export const SnapshotInput = z.strictObject({
  scope: storable(200),
  /** How long something is missing before its removal is planned. Default: that of the snapshot before, first 86,400. */
  graceSeconds: z
    .int()
    .min(0)
    .max(10 * 365 * 86_400)
    .optional(),
  /** A snapshot that names nothing is refused unless this is true. */
  allowEmpty: z.boolean().optional(),
});
export type SnapshotInput = z.infer<typeof SnapshotInput>;

export const IngestHeader = z.strictObject({
  tenant: Tenant.optional(),
  /** Of entities that name none; absent: the default branch of the tenant. */
  branch: BranchName.optional(),
  /** Where they come from; with `messageId` it names the message. Default `sdk`. */
  source: storable(200).default("sdk"),
  /** A repeat is answered as the first time and changes nothing. */
  messageId: IdempotencyKey.optional(),
  snapshot: SnapshotInput.optional(),
});
export type IngestHeader = z.input<typeof IngestHeader>;

export const SnapshotAnswer = z.object({
  scope: z.string(),
  branch: z.string(),
  /** What it named of the scope. */
  members: z.number().int(),
  /** What it was the first not to name; null when a part of it was rejected, which might have named it. */
  missing: z.number().int().nullable(),
  graceSeconds: z.number().int(),
});
export type SnapshotAnswer = z.infer<typeof SnapshotAnswer>;

export const IngestAnswer = z.object({
  /** Id of the request: what became of it can be asked, and waited for. */
  request: z.string(),
  /** True when this message was taken before; the counts are those of then. */
  repeated: z.boolean(),
  received: z.number().int(),
  accepted: z.number().int(),
  /** Said by a version that is still to come, or by one before it in this message. */
  copies: z.number().int(),
  rejected: z.number().int(),
  /** Absent when it was none, and of a repeat. */
  snapshot: SnapshotAnswer.optional(),
});
export type IngestAnswer = z.infer<typeof IngestAnswer>;

const States = z.partialRecord(EntityStateName, z.number().int());

export const RequestView = z.object({
  request: z.string(),
  tenant: z.string(),
  source: z.string(),
  messageId: z.string().nullable(),
  by: z.string().nullable(),
  /** Of a snapshot. */
  scope: z.string().nullable(),
  branch: z.string().nullable(),
  missing: z.number().int().nullable(),
  at: z.string(),
  received: z.number().int(),
  accepted: z.number().int(),
  copies: z.number().int(),
  rejected: z.number().int(),
});
export type RequestView = z.infer<typeof RequestView>;

export const RequestDetail = RequestView.extend({
  /** Of what it brought, copies included, by the state of the version that says it. */
  states: States,
  /** Nothing of it happens by itself any more; what waits for a decision counts as settled. */
  settled: z.boolean(),
});
export type RequestDetail = z.infer<typeof RequestDetail>;

export const RejectView = z.object({
  id: z.string(),
  request: z.string(),
  /** Number of the line or entity, from 1. */
  no: z.number().int(),
  code: z.string(),
  issues: z.array(z.object({ path: z.string(), message: z.string() })),
  /** What came, as text; bytes that are none are shown as U+FFFD. */
  raw: z.string().nullable(),
  at: z.string(),
});
export type RejectView = z.infer<typeof RejectView>;

export const EntityView = z.object({
  id: z.string(),
  tenant: z.string(),
  /** null: not known yet. */
  branch: z.string().nullable(),
  type: z.string(),
  state: EntityStateName,
  request: z.string(),
  operation: z.string().nullable(),
  /** It says that a snapshot no longer names the object. */
  removal: z.boolean(),
  /** When the source saw it, as it said. */
  sourceTime: z.string().nullable(),
  acceptedAt: z.string(),
  plannedAt: z.string().nullable(),
  settledAt: z.string().nullable(),
  attempt: z.number().int(),
  /** When it is tried again. */
  dueAt: z.string().nullable(),
  rule: z.string().nullable(),
  decidedBy: z.string().nullable(),
  error: z.record(z.string(), z.unknown()).nullable(),
  /** Of its newest plan. */
  title: z.string().nullable(),
});
export type EntityView = z.infer<typeof EntityView>;

/** With what it says. Integers beyond 2^53 are bigint. */
export interface EntityDetail extends EntityView {
  fields: Fields;
  warnings: string[];
  /** How often it was said again. */
  copies: number;
}

export const EntityDetailShape = EntityView.extend({
  fields: z.record(z.string(), z.unknown()),
  warnings: z.array(z.string()),
  copies: z.number().int(),
});

export const InboxStatus = z.object({
  tenant: z.string(),
  branch: z.string().nullable(),
  target: z.string(),
  mode: z.string(),
  /** By state; each counted up to `countedTo`. What has ended is not counted. */
  states: States,
  countedTo: z.number().int(),
  /** Age of the oldest that is queued, in seconds; 0 when none is. */
  lagSeconds: z.number(),
  oldestQueuedAt: z.string().nullable(),
  /** Nothing is planned until somebody lifts it. */
  held: z.object({ at: z.string(), because: z.string() }).nullable(),
});
export type InboxStatus = z.infer<typeof InboxStatus>;

export const RequestFilter = z.strictObject({
  tenant: Tenant.optional(),
  source: storable(200).optional(),
  scope: storable(200).optional(),
  after: Cursor,
  limit: limit(50, 200),
});
export type RequestFilter = z.input<typeof RequestFilter>;

export const EntityFilter = z.strictObject({
  tenant: Tenant.optional(),
  branch: BranchName.optional(),
  state: EntityStateName.optional(),
  type: TypeName.optional(),
  request: RequestId.optional(),
  after: InboxEntityId.optional(),
  limit: limit(50, 1_000),
});
export type EntityFilter = z.input<typeof EntityFilter>;

export const RejectFilter = z.strictObject({
  after: InboxEntityId.optional(),
  limit: limit(50, 1_000),
});
export type RejectFilter = z.input<typeof RejectFilter>;

export const StatusFilter = z.strictObject({
  tenant: Tenant.optional(),
  branch: BranchName.optional(),
});
export type StatusFilter = z.input<typeof StatusFilter>;

export const REQUEUED_STATES = ["failed", "errored", "pending_retry"] as const;

/** Which entities are planned again: some by id, or all that a filter finds. */
export const Requeue = z
  .strictObject({
    tenant: Tenant.optional(),
    ids: z.array(InboxEntityId).min(1).max(INBOX_LIMITS.ids).optional(),
    branch: BranchName.optional(),
    state: z.enum(REQUEUED_STATES).optional(),
    type: TypeName.optional(),
    request: RequestId.optional(),
  })
  .refine(
    ({ ids, branch, state, type, request }) =>
      (ids === undefined) !== [branch, state, type, request].every((part) => part === undefined),
    { message: "name ids, or a filter: branch, state, type or request", path: ["ids"] },
  );
export type Requeue = z.input<typeof Requeue>;

export const Requeued = z.object({
  requeued: z.number().int(),
  /** In another state by now, or with a newer version, which stands for it. */
  passedOver: z.number().int(),
});
export type Requeued = z.infer<typeof Requeued>;
