import type { ChangeSet } from "../contracts/inventory.ts";
import type { PlanAnswer, TargetError } from "../contracts/target.ts";
import type { RetryPolicy } from "../db/plan-apply.ts";
import type { LeasedEntity } from "../db/plan-lease.ts";
import type { TargetEnd } from "../db/target-settle.ts";
import type { Registry } from "../domain/registry.ts";
import { waitsFor } from "../domain/target-said.ts";

/** What the answers of a target come to: how an entity ends. */

interface Ending {
  registry: Registry;
  retry: RetryPolicy;
}

/** Of what the target has planned, and there is nothing to apply. */
export function endWithoutPlan(
  batch: Ending,
  entity: LeasedEntity,
  answer: Exclude<PlanAnswer, { outcome: "planned" }>,
): TargetEnd {
  if (answer.outcome === "failed") return endOfError(batch, entity, answer.error, {});
  const { open } = entity;
  if (!open) return { entity, state: "no_changes" };
  // It was sent and nothing is left to do: it has happened.
  if (open.changeSet !== undefined) {
    return { entity, state: "applied", rule: open.rule, appliedSet: open.changeSet };
  }
  return { entity, state: "applied", rule: open.rule, changeSet: unseen(entity) };
}

/** Of what was planned and applied in one call whose answer never came. */
function unseen({ type, warnings }: LeasedEntity): ChangeSet {
  const lost = "the answer to the call that applied it was lost, and with it what it changed";
  return {
    title: `${type} applied`,
    changes: [],
    hash: "0".repeat(64),
    warnings: [...warnings, lost],
  };
}

/** Of what the target refused: for good, to be tried again, or waiting for what it refers to. */
export function endOfError(
  batch: Ending,
  entity: LeasedEntity,
  { message, type, field, missingReference, retry }: TargetError,
  more: { rule?: string | undefined; changeSet?: ChangeSet | undefined },
): TargetEnd {
  const fault = missingReference ? "missing-reference" : "refused";
  const error = {
    fault,
    message,
    ...(type !== undefined && { type }),
    ...(field !== undefined && { field }),
  };
  if (!missingReference && !retry) return { entity, state: "failed", error, ...more };
  const { attempts, firstSeconds, mostSeconds } = batch.retry;
  if (entity.attempt >= attempts) return { entity, state: "errored", error, ...more };
  const delaySeconds = Math.min(mostSeconds, firstSeconds * 2 ** entity.attempt);
  const waits = missingReference ? waitsFor(batch.registry, entity) : [];
  return { entity, state: "pending_retry", error, delaySeconds, waitsFor: waits, ...more };
}
