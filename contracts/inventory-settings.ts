import { z } from "zod";
import type { PlanMode } from "./inventory.ts";
import { storable } from "./operation.ts";
import { PlanGuardPatch, PlanRules, type PlanGuard, type PlanRule } from "./plan-rule.ts";

/** How the entities of a tenant are planned: rows over the configuration over what is built in. */

/** The target that is built in; others are named in `inventory.targets` of the configuration. */
export const BUILT_IN_TARGET = "inventory";
/** The branch of the built-in target that entities belong to when they name none. */
export const BUILT_IN_BRANCH = "main";

const Name = z.string().min(1).max(100).superRefine(storable);
const Seconds = z
  .int()
  .min(0)
  .max(10 * 365 * 86_400);
const Mode = z.enum(["plan-only", "auto"]);

/** What one tenant sets. Absent stays as it is; null is as configured. */
export const InventorySettingsPatch = z.strictObject({
  registry: Name.nullable().optional(),
  target: Name.nullable().optional(),
  /** `plan-only`: only an approval applies. `auto`: rules decide. */
  mode: Mode.nullable().optional(),
  rules: PlanRules.nullable().optional(),
  guard: PlanGuardPatch.nullable().optional(),
  defaultBranch: Name.nullable().optional(),
  /** An event is sent when something has waited this long for a decision. 0: never. */
  escalateSeconds: Seconds.nullable().optional(),
  /** What has waited this long for a decision ends failed, and is planned again when it is sent again. 0: never. */
  expireSeconds: Seconds.nullable().optional(),
});
export type InventorySettingsPatch = z.infer<typeof InventorySettingsPatch>;

/** What the configuration may say for every tenant. */
export const InventoryDefaults = z.object({
  registry: Name.optional(),
  mode: Mode.optional(),
  rules: PlanRules.optional(),
  guard: PlanGuardPatch.optional(),
  defaultBranch: Name.optional(),
  escalateSeconds: Seconds.optional(),
  expireSeconds: Seconds.optional(),
  maxQueued: z.int().positive().optional(),
  batchSize: z.int().min(1).max(10_000).optional(),
  retry: z
    .strictObject({
      attempts: z.int().min(0).max(1_000).optional(),
      firstSeconds: z.number().positive().max(86_400).optional(),
      mostSeconds: z.number().positive().max(86_400).optional(),
    })
    .optional(),
});

/** What holds for a tenant now. */
export interface InventorySettings {
  registry: string;
  /** `inventory`: the built-in one. */
  target: string;
  mode: PlanMode;
  rules: readonly PlanRule[];
  guard: PlanGuard;
  /** null: not known yet, so what names no branch is kept and nothing happens to it. */
  defaultBranch: string | null;
  /** null: never. */
  escalateSeconds: number | null;
  /** null: never. */
  expireSeconds: number | null;
  /** Grows with every change; 0: the tenant has set nothing. */
  version: number;
}
