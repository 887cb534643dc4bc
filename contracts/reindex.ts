import { z } from "zod";
import { IdempotencyKey, storable } from "./operation.ts";

/** Building indexes anew, and comparing them with what they are made from. */

const Name = z.string().min(1).max(63).superRefine(storable);

/** Which indexes: of some schemas, of some types. Default: every installed one. */
export const IndexSelection = z
  .object({
    schemas: z.array(Name).min(1).max(1_000).optional(),
    types: z.array(Name).min(1).max(1_000).optional(),
  })
  .strict();
export type IndexSelection = z.infer<typeof IndexSelection>;

export const ReindexSubmit = IndexSelection.extend({
  /** Leaves out what was built from the present definition and has not drifted since. */
  lazy: z.boolean().default(false),
  key: IdempotencyKey.optional(),
}).strict();
export type ReindexSubmit = z.input<typeof ReindexSubmit>;

/** What stands in the operation's row. */
export const ReindexInput = z.object({
  schemas: z.array(z.string()).optional(),
  types: z.array(z.string()).optional(),
  lazy: z.boolean(),
  /** Objects there may be, by the planner's statistics. */
  expected: z.object({ objects: z.number() }),
});
export type ReindexInput = z.infer<typeof ReindexInput>;

export const SearchAudit = IndexSelection.extend({
  /** Marks what differs, so that the drain puts it right. */
  repair: z.boolean().default(false),
}).strict();
export type SearchAudit = z.input<typeof SearchAudit>;

/**
 * How an object differs from its index rows. `missing`: it has none. `stale`: it has others. `orphan`:
 * rows without an object that should have them. `unreadable`: what its rows should be cannot be said.
 */
export const DIFFERENCES = ["missing", "stale", "orphan", "unreadable"] as const;
export type Difference = (typeof DIFFERENCES)[number];

/** One page of an audit. Objects with marks that wait are not looked at: they are known to be dirty. */
export const SearchAuditPage = z.object({
  schema: z.string(),
  type: z.string(),
  /** Objects or, in the search for orphans, keys of the index that were compared. */
  compared: z.number().int(),
  missing: z.number().int(),
  stale: z.number().int(),
  orphan: z.number().int(),
  unreadable: z.number().int(),
  /** What differs, the first 100 of the page. */
  findings: z.array(
    z.object({ key: z.string(), kind: z.enum(DIFFERENCES), reason: z.string().optional() }),
  ),
  /** Objects marked dirty for it. */
  marked: z.number().int(),
  /** The last page of this index. */
  last: z.boolean(),
  /** Why the rest of this index could not be compared. */
  notDone: z.string().optional(),
});
export type SearchAuditPage = z.infer<typeof SearchAuditPage>;
