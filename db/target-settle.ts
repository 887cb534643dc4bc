import type { ChangeSet, EntityState } from "../contracts/inventory.ts";
import type { InventorySettings } from "../contracts/inventory-settings.ts";
import type { Registry } from "../domain/registry.ts";
import { targetDecider } from "../domain/target-decide.ts";
import { Turns } from "../domain/target-turns.ts";
import { endAttempts, markApplied } from "./apply-attempts.ts";
import { countChanged, openWindow } from "./inventory-guard.ts";
import type { InventoryPlace } from "./inventory-look-up.ts";
import { WHY_LOOK } from "./plan-batch-outcome.ts";
import { earlierDecisions, overtakenOf } from "./plan-earlier.ts";
import type { LeasedEntity } from "./plan-lease.ts";
import { endLease, keepApproved } from "./plan-lease-hold.ts";
import {
  approvedChanges,
  hasWaiting,
  insertChangeSets,
  KEPT_CHANGE_SETS,
  settleEntities,
  trimChangeSets,
  wakeWaiting,
  type EntityError,
} from "./plan-settle.ts";
import type { Db, Tx } from "./pool.ts";
import { writeIntents, type Sending, type ToApply } from "./target-intents.ts";

/** What is written around calls of a target: before the call what is asked, after it what came of it. */

/** How one entity of a claim ended. */
export interface TargetEnd {
  entity: LeasedEntity;
  state: EntityState;
  rule?: string | undefined;
  error?: EntityError | undefined;
  /** One that is not stored yet. */
  changeSet?: ChangeSet | undefined;
  /** Id of one that is, and that the target now holds. */
  appliedSet?: string | undefined;
  delaySeconds?: number | undefined;
  waitsFor?: readonly string[] | undefined;
}

export interface PlannedStep {
  place: InventoryPlace;
  registry: Registry;
  settings: InventorySettings;
  token: string;
  leaseSeconds: number;
  /** Those that ended without a plan. */
  ends: readonly TargetEnd[];
  planned: readonly { entity: LeasedEntity; changeSet: ChangeSet }[];
  /** All that were asked for in the call, in its order. */
  asked: readonly LeasedEntity[];
  arrivals: readonly string[];
}

/**
 * Decides about plans, writes what ends with that, and the intent of what is to be sent.
 * @throws LeaseLost when somebody else has one of them by now; then nothing is written
 */
export async function settlePlanned(
  db: Db,
  step: PlannedStep,
): Promise<{ toApply: ToApply[]; settled: string[] }> {
  const { place, registry, settings, token } = step;
  return db.transaction(async (tx) => {
    const window = await openWindow(tx, place);
    const approved = await approvedChanges(
      tx,
      step.planned.flatMap(({ entity: { id, approved } }) => (approved === undefined ? [] : id)),
    );
    const unapproved = step.planned.flatMap(({ entity }) =>
      entity.approved === undefined && !entity.open ? entity : [],
    );
    const judged = unapproved.filter((entity) => entity.judged);
    const earlier = await earlierDecisions(tx, place, judged);
    // In the hands of a worker what was never planned looks as what was.
    const again = unapproved.filter(
      ({ plans, attempt, adopted }) => plans > 0 || attempt > 0 || adopted,
    );
    const overtaken = await overtakenOf(tx, place, again);
    const decider = targetDecider(registry, settings, place.branch, window, window.heldBecause);
    const turns = new Turns(registry, step.asked);
    const endOf = new Map(step.ends.map((end) => [end.entity.id, end]));
    const planOf = new Map(step.planned.map(({ entity, changeSet }) => [entity.id, changeSet]));
    const written: TargetEnd[] = [];
    const sending: Sending[] = [];
    for (const entity of step.asked) {
      const end = endOf.get(entity.id);
      const changeSet = planOf.get(entity.id);
      const nothingToDo = end?.state === "applied" || end?.state === "no_changes";
      if ((!end && !changeSet) || turns.mustWait(entity.id, changeSet, nothingToDo)) {
        turns.putOff(entity.id);
        continue;
      }
      if (!changeSet) {
        written.push(end!);
        continue;
      }
      const { type, fields, open, approved: hash } = entity;
      const decided = decider.decide({
        type,
        fields,
        changeSet,
        approved: hash === undefined ? undefined : { hash, changes: approved.get(entity.id) ?? [] },
        sent: open,
        overtaken: overtaken.has(entity.id),
        earlier: open ? undefined : earlier.of(entity, changeSet),
        reopened: entity.reopened,
      });
      switch (decided.decision) {
        case "apply":
          sending.push({ entity, changeSet, rule: decided.rule });
          turns.sent(entity.id, changeSet);
          break;
        case "review":
          written.push({ entity, state: "open", changeSet, rule: decided.rule });
          break;
        case "ignore":
          written.push({ entity, state: "ignored", changeSet, rule: decided.rule });
          break;
        case "changed":
        case "overtaken":
          written.push({ entity, state: "open", changeSet, error: WHY_LOOK[decided.decision] });
          break;
        case "later":
          turns.putOff(entity.id);
          break;
      }
    }
    await writeEnds(tx, place, token, written, step.arrivals, undefined);
    const toApply = await writeIntents(tx, token, sending, step.leaseSeconds);
    await countChanged(tx, place, decider.changed(), decider.heldBecause());
    return { toApply, settled: written.map(({ entity }) => entity.id) };
  });
}

/** Writes how entities of a claim ended. @throws LeaseLost when somebody else has one by now */
export async function settleTarget(
  db: Db,
  step: {
    place: InventoryPlace;
    token: string;
    ends: readonly TargetEnd[];
    /** By what those who wait know what was applied. */
    arrivals: readonly string[];
  },
): Promise<void> {
  await db.transaction((tx) =>
    writeEnds(tx, step.place, step.token, step.ends, step.arrivals, "apply"),
  );
}

async function writeEnds(
  tx: Tx,
  place: InventoryPlace,
  token: string,
  ends: readonly TargetEnd[],
  arrivals: readonly string[],
  failedAt: "apply" | undefined,
): Promise<void> {
  if (ends.length === 0) return;
  await endLease(
    tx,
    token,
    ends.map(({ entity }) => entity.id),
  );
  await insertChangeSets(
    tx,
    ends.flatMap(({ entity, changeSet, state }) =>
      changeSet ? [{ entity: entity.id, changeSet, applied: state === "applied" }] : [],
    ),
  );
  const applied = await markApplied(
    tx,
    ends.flatMap(({ appliedSet }) => appliedSet ?? []),
  );
  await settleEntities(
    tx,
    ends.map(({ entity, state, rule, error, changeSet, waitsFor, delaySeconds }) => ({
      id: entity.id,
      state,
      rule,
      error,
      planHash: changeSet?.hash,
      waitsFor,
      attempt: entity.attempt + (state === "pending_retry" ? 1 : 0),
      delaySeconds,
      failedAt,
      changes: changeSet?.changes ?? applied.get(entity.id),
    })),
  );
  await keepApproved(
    tx,
    ends.flatMap(({ entity: { id, approved }, state }) =>
      state === "pending_retry" && approved !== undefined ? [{ id, approved }] : [],
    ),
  );
  await endAttempts(
    tx,
    ends.map(({ entity, state, error }) => ({ entity: entity.id, answer: { state, ...error } })),
  );
  await trimChangeSets(
    tx,
    ends.flatMap(({ entity: { id, plans } }) => (plans >= KEPT_CHANGE_SETS ? id : [])),
  );
  if (arrivals.length > 0 && (await hasWaiting(tx, place))) await wakeWaiting(tx, place, arrivals);
}
