import { z } from "zod";
import { storable } from "./operation.ts";

const Text = z.string().superRefine(storable);
const Condition = z.union([Text, z.number(), z.boolean(), z.null()]);

/**
 * One rule over change sets. All that it names must hold; what it leaves out does not count. The first
 * enabled rule that holds decides, and its name is recorded.
 */
export const PlanRule = z.strictObject({
  name: z.string().min(1).max(100).superRefine(storable),
  enabled: z.boolean().default(true),
  when: z
    .strictObject({
      /** The type of the entity. */
      types: z.array(Text).nonempty().optional(),
      /** Holds when every change that is no no-op is to one of these types. */
      changedTypes: z.array(Text).nonempty().optional(),
      /** Holds when every change is of these kinds. Removals need `delete` here. */
      kinds: z
        .array(z.enum(["create", "update", "delete"]))
        .nonempty()
        .optional(),
      /** Holds when no update touches a field but these. */
      fields: z.array(Text).nonempty().optional(),
      /** One of the entity's tags has this name. */
      tag: Text.optional(),
      /** Values of the entity by dotted path: `site.name`; null: says nothing there. */
      values: z.record(Text, Condition).optional(),
      branches: z.array(Text).nonempty().optional(),
    })
    .default({}),
  decision: z.enum(["apply", "review", "ignore"]),
});
export type PlanRule = z.infer<typeof PlanRule>;

/** Names are unique: one is recorded on every decision. */
export const PlanRules = z
  .array(PlanRule)
  .max(1_000)
  .refine((rules) => new Set(rules.map((rule) => rule.name)).size === rules.length, {
    message: "two rules have one name: give each its own",
  });

const Share = z.number().min(0).max(1);
const Count = z.int().min(0);

/** When too much changes at once, everything waits until somebody has looked. 0: no bound. */
export const PlanGuard = z.strictObject({
  /** Share of the objects of a tenant, 0 to 1, that one window may change or remove. */
  maxShare: Share.default(0.2),
  /** Objects that one window may change or remove, whatever their share. */
  maxObjects: Count.default(0),
  /** Below this many objects changed the share does not count: a small inventory may change. */
  minObjects: Count.default(100),
});
export type PlanGuard = z.infer<typeof PlanGuard>;

/** Bounds that stand in for those of somebody else; what is absent stays. */
export const PlanGuardPatch = z.strictObject({
  maxShare: Share.optional(),
  maxObjects: Count.optional(),
  minObjects: Count.optional(),
});
export type PlanGuardPatch = z.infer<typeof PlanGuardPatch>;
