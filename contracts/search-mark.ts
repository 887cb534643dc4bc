import { z } from "zod";
import { storable } from "./operation.ts";

/** Saying what is dirty, and waiting until what was written can be found. */

const SchemaName = z.string().min(1).max(63).superRefine(storable);

/** Which writes are waited for. Without `type`: all of a schema. Without `position`: all so far. */
export const WaitSearchable = z
  .object({
    schema: SchemaName.optional(),
    type: z.string().min(1).max(63).superRefine(storable).optional(),
    /** As in `markDirty`; needs a type. */
    keys: z.array(z.string().min(1).max(2_000).superRefine(storable)).min(1).max(1_000).optional(),
    /** What `position()` answered after the commit. */
    position: z
      .string()
      .regex(/^\d{1,18}$/, "must be what position() answered")
      .optional(),
    timeoutMs: z.number().int().min(1).max(600_000).default(10_000),
  })
  .strict()
  .refine(({ keys, type }) => keys === undefined || type !== undefined, {
    path: ["type"],
    message: "name the type the keys are of",
  });
export type WaitSearchable = z.input<typeof WaitSearchable>;

export const DrainOnce = z
  .object({
    /** Default: all. */
    schema: SchemaName.optional(),
    /** Tries objects again that are held in quarantine. */
    release: z.boolean().default(false),
    /** No batch begins later than this after the call. */
    timeoutMs: z.number().int().min(1).max(3_600_000).default(600_000),
  })
  .strict();
export type DrainOnce = z.input<typeof DrainOnce>;

export const SearchDrained = z.object({
  batches: z.number().int(),
  /** Rows of marks that are done with. */
  marks: z.number().int(),
  /** Objects brought up to date. */
  objects: z.number().int(),
  /** Objects that could not be, and are held. */
  held: z.number().int(),
  /** Objects held before that were tried again. */
  released: z.number().int(),
  /** Marks wait still: behind a brake, or the time was over. */
  left: z.boolean(),
  /** What an operator should hear of. */
  news: z.array(z.string()),
});
export type SearchDrained = z.infer<typeof SearchDrained>;

export const Marked = z.object({
  /** Objects that were named, each once. */
  marked: z.number().int(),
  /** False: a drain brings them up to date. */
  applied: z.boolean(),
});
export type Marked = z.infer<typeof Marked>;
