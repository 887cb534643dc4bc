import type {
  ApplyAnswer,
  PlanAnswer,
  PlanApplyAnswer,
  TargetApply,
  TargetEntity,
  TargetSettings,
} from "../contracts/target.ts";
import type { Registry } from "./registry.ts";

/** Where and with which types a call works. */
export interface TargetScope {
  registry: Registry;
  branch: string;
  /** Asked when a call is on the point of being sent, which may be long after it was made. @throws to stop it */
  beforeSend?: () => void;
}

/**
 * One inventory outside. Answers come one for each that was asked, in its order. What goes wrong for
 * one is in its answer; what goes wrong for all is thrown, as a `TargetFault`.
 */
export interface Target {
  readonly settings: TargetSettings;
  /** Asked again after a lost answer, it tells what that call came to. */
  plan(
    entities: readonly TargetEntity[],
    scope: TargetScope,
    signal: AbortSignal,
  ): Promise<PlanAnswer[]>;
  apply(
    applies: readonly TargetApply[],
    scope: TargetScope,
    signal: AbortSignal,
  ): Promise<ApplyAnswer[]>;
  /** Whether planning and applying in one call is worth a try. */
  hasPlanApply(): boolean;
  /** `key`: the same for every try of the same entities. */
  planApply(
    entities: readonly TargetEntity[],
    scope: TargetScope,
    key: string,
    signal: AbortSignal,
  ): Promise<PlanApplyAnswer[]>;
  /** Its id, or `NO_BRANCH` when the target has none. */
  defaultBranch(signal: AbortSignal): Promise<string>;
  close(): Promise<void>;
}
