import { z } from "zod";
import { Tenant } from "./operation.ts";
import { unstorable } from "./text.ts";

/** What the built-in inventory answers to those who read it. */

const storable = (max: number) =>
  z
    .string()
    .max(max)
    .refine((text) => unstorable(text) === undefined, "contains characters Postgres cannot store");

export const InventoryTypeName = z
  .string()
  .regex(/^[a-z][a-z0-9_]{0,99}$/, "must be the name of a type, such as device");

/** The branch of a tenant; what is absent is the caller's own tenant, and that tenant's default branch. */
export const InBranch = z.strictObject({
  tenant: Tenant.optional(),
  branch: storable(200).min(1).optional(),
});
export type InBranch = z.input<typeof InBranch>;

const ObjectCursor = storable(4_000);

export const ObjectFilter = InBranch.extend({
  type: InventoryTypeName,
  /** How a name begins. Case counts. */
  text: storable(200).optional(),
  /** The `next` of the page before. */
  after: ObjectCursor.optional(),
  limit: z.coerce.number().int().min(1).max(1_000).default(100),
});
export type ObjectFilter = z.input<typeof ObjectFilter>;

export const ObjectIdText = z
  .string()
  .regex(/^\d{1,18}$/, "must be an object id (a number): see the list of objects");

export const ObjectPages = z.strictObject({
  after: ObjectIdText.optional(),
  limit: z.coerce.number().int().min(1).max(200).default(50),
});
export type ObjectPages = z.input<typeof ObjectPages>;

/** Fields by name. Integers beyond 2^53 are exact: read them as such. */
const FieldsView = z.record(z.string(), z.unknown());

const ObjectName = z.object({
  id: z.string(),
  type: z.string(),
  /** `Device sw1`. */
  title: z.string(),
  /** What names it: the fields of the first complete matcher, references by theirs. */
  identity: FieldsView,
});

export const ObjectView = ObjectName.extend({
  tenant: z.string(),
  branch: z.string(),
  /** Grows with every change. */
  version: z.number().int(),
  /** All fields, references by identity. */
  attributes: FieldsView,
  createdAt: z.string(),
  updatedAt: z.string(),
});

/** One change of an object, by an entity that was applied. */
export const ObjectChange = z.object({
  /** Of the entry in the journal. */
  id: z.string(),
  version: z.number().int(),
  kind: z.enum(["create", "update", "delete"]),
  at: z.string(),
  entity: z.string(),
  /** The fields that changed; absent when the change set is no longer kept. */
  before: FieldsView.optional(),
  after: FieldsView.optional(),
  /** Of the whole change set. */
  title: z.string().optional(),
  /** Who approved it. */
  decidedBy: z.string().optional(),
  /** The rule that let it be applied. */
  rule: z.string().optional(),
  request: z.string().optional(),
  operation: z.string().optional(),
});

/** An object that refers to this one, and by which fields. */
const Referrer = ObjectName.extend({ fields: z.array(z.string()) });

/** An object that this one refers to; without id when it is gone. */
const Referred = z.object({
  field: z.string(),
  id: z.string(),
  type: z.string().optional(),
  title: z.string(),
});

export const ObjectReferences = z.object({
  out: z.array(Referred),
  in: z.object({ items: z.array(Referrer), next: z.string().optional() }),
});

export const ObjectTypeCount = z.object({
  type: z.string(),
  label: z.string(),
  objects: z.number().int(),
  /** True when there are more than were counted. */
  more: z.boolean(),
});

export const InventoryBranch = z.object({ tenant: z.string(), branch: z.string() });

/** A branch in which so much was about to change that everything waits until somebody has looked. */
export const InventoryHold = InventoryBranch.extend({
  at: z.string(),
  because: z.string(),
  /** Objects of the branch when the window began, and how many of them were changed in it. */
  objects: z.number().int(),
  changed: z.number().int(),
  /** Entities that wait in it, counted up to 10,000. */
  queued: z.number().int(),
});

export const LiftHold = z.strictObject({
  tenant: Tenant.optional(),
  branch: storable(200).min(1),
});
