import {
  TargetFault,
  type ApplyAnswer,
  type PlanApplyAnswer,
  type TargetApply,
  type TargetEntity,
  type TargetError,
} from "../contracts/target.ts";
import type { Json } from "../domain/exact-json.ts";
import type { Registry } from "../domain/registry.ts";
import {
  isObject,
  isTargetError,
  resultsById,
  shortly,
  type JsonObject,
} from "../domain/target-wire.ts";
import { errorOf } from "../domain/target-wire-errors.ts";
import { answerOfChangeSet } from "../domain/target-wire-plan.ts";
import type { CallAnswer } from "./target-call.ts";

/** What the answers of an HTTP target come to, for each that was asked for. */

export function applied(
  registry: Registry,
  { changeSet }: TargetApply["plan"],
  result: JsonObject | TargetError,
): ApplyAnswer {
  if (isTargetError(result)) return { outcome: "failed", error: result };
  const type = changeSet.changes.at(-1)?.type ?? "";
  const error = errorOf(registry, { type }, result["errors"]);
  return error ? { outcome: "failed", error } : { outcome: "applied" };
}

/** The target has no such call: another way must be gone. Nothing happened. */
export class CallAbsent extends Error {
  override readonly name = "CallAbsent";
  constructor(path: string) {
    super(`the target has no ${path}`);
  }
}

export function planApplyAnswer(
  registry: Registry,
  entity: TargetEntity,
  result: JsonObject | TargetError,
): PlanApplyAnswer {
  if (isTargetError(result)) return { outcome: "failed", error: result };
  const errors = result["errors"];
  const split = isObject(errors) ? errors : undefined;
  const ofPlan = errorOf(registry, entity, split && "plan" in split ? split["plan"] : undefined);
  if (ofPlan) return { outcome: "failed", error: ofPlan };
  const ofApply =
    errorOf(registry, entity, split && "apply" in split ? split["apply"] : undefined) ??
    (split && ("plan" in split || "apply" in split)
      ? undefined
      : errorOf(registry, entity, errors));
  const planned = answerOfChangeSet(registry, entity, result["change_set"] ?? null);
  const changeSet = planned.outcome === "planned" ? planned.changeSet : undefined;
  if (ofApply) return { outcome: "failed", error: ofApply, ...(changeSet && { changeSet }) };
  if (planned.outcome === "planned") return { outcome: "applied", changeSet: planned.changeSet };
  // It may have been applied, and what it was is not told.
  if (planned.outcome === "failed")
    return { outcome: "failed", error: { ...planned.error, unknown: true } };
  return { outcome: "unchanged" };
}

export function found(
  { body }: CallAnswer,
  ids: readonly string[],
  path: string,
  harmless: boolean,
): Map<string, JsonObject | TargetError> {
  try {
    return resultsById(body, ids);
  } catch (cause) {
    const what = `the target broke the contract at ${path}: ${(cause as Error).message}`;
    throw new TargetFault("refused", what, { mayHaveHappened: !harmless, cause });
  }
}

/** The answer to a call for one, whose id is the target's own to choose. */
export function single(path: string, body: Json, id: string): JsonObject | TargetError {
  if (isObject(body)) return { ...body, id };
  const message = `the target broke the contract: ${path} answered ${shortly(body)}`;
  return { message, retry: true, unknown: true };
}
