/**
 * What an inventory is made of, and what a plan says about it. Zod-free, so that workflows can show a
 * plan; what a user writes (registries, rules) is in `registry.ts` and `plan-rule.ts`.
 */

/** Any JSON value without null. Integers beyond 2^53 are bigint, so that none is ever rounded. */
export type FieldValue =
  | string
  | number
  | bigint
  | boolean
  | readonly FieldValue[]
  | { readonly [key: string]: FieldValue };

/** Fields by name, snake_case. In an entity references are objects given by value, in an object ids. */
export interface Fields {
  readonly [field: string]: FieldValue;
}

/** Names the fields that an entity wants emptied; a name may be `map.key` for one key of a map. */
export const CLEAR = "_clear";

/** One observation of one object, as accepted: fields known to the registry, nothing empty. */
export interface Entity {
  type: string;
  fields: Fields;
  /** When the source saw it: RFC 3339 in UTC with nine digits, so that text sorts as time. */
  sourceTime?: string;
  /** As the source named it; absent: the default branch, which may not be known yet. */
  branch?: string;
  /** What was dropped, and where. */
  warnings: readonly string[];
}

/** The id of an object in a target; given by whoever drives the plan, opaque to it. */
export type ObjectId = string;

export interface InventoryObject {
  id: ObjectId;
  type: string;
  /** Grows with every write; what compare-and-set compares. */
  version: number;
  /** References are ids; lists of references are sets of ids. */
  data: Fields;
}

/**
 * States of an accepted entity. 0 to 9 are fixed on the wire; what the wire does not know is shown to
 * its readers as the nearest state that it does.
 */
export const ENTITY_STATES = {
  unspecified: 0,
  queued: 1,
  open: 2,
  applied: 3,
  failed: 4,
  no_changes: 5,
  ignored: 6,
  errored: 7,
  applying: 8,
  pending_retry: 9,
  planning: 10,
  superseded: 11,
} as const;

export type EntityState = keyof typeof ENTITY_STATES;
export type EntityStateNumber = (typeof ENTITY_STATES)[EntityState];

/** The state that readers of the wire see: 0 to 9. */
export function wireState(state: EntityState): EntityState {
  if (state === "planning") return "queued";
  if (state === "superseded") return "no_changes";
  return state;
}

export type ChangeKind = "create" | "update" | "noop" | "delete";

/** One object in a change set. `before` and `after` are key-sorted, hold nothing empty, and give references by identity. */
export interface Change {
  /** Order inside the set, from 0: what is referred to comes first. */
  no: number;
  kind: ChangeKind;
  type: string;
  /** What names the object: the fields of its first complete matcher, references by theirs. */
  identity: Fields;
  /** The id it has, or, in a plan that is not applied, would have got. */
  objectId: ObjectId;
  /** The version the plan saw; 0: the object was not there. */
  version: number;
  /** The fields that change, as they were. A create has none, a delete all. */
  before: Fields;
  /** The same fields as they shall be. A create has all fields, a delete none. */
  after: Fields;
  /** Fields that refer to objects created by this set. */
  newRefs: readonly string[];
  /** True for the object that the entity is about; the others are nested in it. */
  primary: boolean;
}

export interface ChangeSet {
  /** `Device sw1 created`. */
  title: string;
  /** Empty when nothing changes; no-ops stand only beside real changes. */
  changes: readonly Change[];
  /** What approval binds to: 64 hex digits; equal for equal effects, whatever the ids. */
  hash: string;
  warnings: readonly string[];
}

export type PlanFault =
  /** No matcher of its type is complete. */
  | "missing-identity"
  /** The same object twice in one entity, with different values. */
  | "conflict"
  /** An object nested in itself. */
  | "cycle"
  /** A field that is needed to create the object is absent. */
  | "required"
  /** What names the object names another one already. */
  | "taken"
  /** A nested object is not there and cannot be made from what is said of it: its own entity may follow. */
  | "missing-reference"
  /** The object is still referred to. */
  | "referenced";

/** Why an entity has no plan. */
export interface PlanError {
  fault: PlanFault;
  type: string;
  field?: string;
  /** With the next step. */
  message: string;
  /** Of a missing reference: what the arrival of the object will be known by. */
  waitsFor?: readonly string[];
}

/** What becomes of a planned entity. */
export type PlanDecision = "apply" | "review" | "ignore";

/** `plan-only`: nothing is applied without an approval. `auto`: rules decide. */
export type PlanMode = "plan-only" | "auto";
