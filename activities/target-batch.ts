import { randomUUID } from "node:crypto";
import type { ChangeSet } from "../contracts/inventory.ts";
import type { InventorySettings } from "../contracts/inventory-settings.ts";
import {
  TargetFault,
  type PlanAnswer,
  type TargetError,
  type TargetPlan,
} from "../contracts/target.ts";
import {
  intendAtOnce,
  settlePlanned,
  settleTarget,
  type TargetEnd,
  type ToApply,
} from "../db/target-settle.ts";
import type { InventoryPlace } from "../db/inventory-look-up.ts";
import type { RetryPolicy } from "../db/plan-apply.ts";
import type { Leased, LeasedEntity } from "../db/plan-lease.ts";
import type { Db } from "../db/pool.ts";
import type { Registry } from "../domain/registry.ts";
import { appliesEverything } from "../domain/target-decide.ts";
import type { Target } from "../domain/target.ts";
import { arrivalsOf, speakAlike, together, waitsFor } from "../domain/target-said.ts";
import { applyEach, planEach, type ApplyOne, type Asking } from "./target-ask.ts";
import { CallAbsent } from "./target-http.ts";
import type { TargetLease } from "./target-lease.ts";

/**
 * One claimed batch: planned by the target, decided, applied by the target, settled. What is sent is
 * written down before, so that a worker may die anywhere and nothing happens twice or unnoticed.
 */

export interface TargetBatch {
  db: Db;
  target: Target;
  registry: Registry;
  settings: InventorySettings;
  retry: RetryPolicy;
  place: InventoryPlace;
  /** Entities of one call, at most. */
  limit: number;
}

export interface TargetBatchReport {
  claimed: number;
  /** Entities whose end was written. The others are due again. */
  settled: number;
  applied: number;
  /** The target went away over it. */
  away: TargetFault | undefined;
}

export async function workTargetBatch(
  batch: TargetBatch,
  leased: Leased,
  lease: TargetLease,
): Promise<TargetBatchReport> {
  const { registry, settings, target, place } = batch;
  const report: TargetBatchReport = {
    claimed: leased.entities.length,
    settled: 0,
    applied: 0,
    away: undefined,
  };
  const asking: Asking = {
    target,
    scope: { registry, branch: place.branch, beforeSend: () => lease.assertHeld() },
    signal: lease.signal,
    beforeCall: () => lease.assertHeld(),
  };
  const work = { batch, lease, asking, report };
  const entities = together(registry, leased.entities, batch.limit);
  report.claimed = entities.length;
  await settleRemovals(
    work,
    entities.filter(({ removal }) => removal),
  );
  const left = entities.filter(({ removal }) => !removal);
  try {
    // Some may not be let, or have been sent: then all of them are planned first, in their order.
    const atOnce =
      target.settings.combined &&
      appliesEverything(settings) &&
      target.hasPlanApply() &&
      left.every(({ approved, open }) => approved === undefined && open === undefined);
    await planThenApply(work, atOnce ? await planAndApplyAtOnce(work, left) : left);
  } catch (error) {
    if (!(error instanceof TargetFault)) throw error;
    report.away = error;
  }
  return report;
}

interface Work {
  batch: TargetBatch;
  lease: TargetLease;
  asking: Asking;
  report: TargetBatchReport;
}

async function planThenApply(work: Work, entities: readonly LeasedEntity[]): Promise<void> {
  if (entities.length === 0) return;
  const { batch, lease, asking, report } = work;
  const answers = await planEach(asking, entities);
  const ends: TargetEnd[] = [];
  const planned: { entity: LeasedEntity; plan: TargetPlan }[] = [];
  for (const entity of entities) {
    const answer = answers.get(entity.id)!;
    if (answer.outcome === "planned") planned.push({ entity, plan: answer });
    else if (!(answer.outcome === "failed" && answer.error.away)) {
      ends.push(endWithoutPlan(work, entity, answer));
    }
  }
  const done = await settlePlanned(batch.db, {
    ...batch,
    token: lease.token,
    leaseSeconds: lease.seconds,
    ends,
    planned: planned.map(({ entity, plan }) => ({ entity, changeSet: plan.changeSet })),
    alike: speakAlike(batch.registry, entities),
    arrivals: arrivalsOfEnds(work, ends),
  });
  settled(work, done.settled);
  report.applied += ends.filter(({ state }) => state === "applied").length;
  await applyPlans(
    work,
    done.toApply,
    new Map(planned.map(({ entity, plan }) => [entity.id, plan])),
  );
}

async function applyPlans(
  work: Work,
  toApply: readonly ToApply[],
  plans: ReadonlyMap<string, TargetPlan>,
): Promise<void> {
  if (toApply.length === 0) return;
  const { asking, report } = work;
  const applies = toApply.map(({ entity, key }): ApplyOne => ({
    entity,
    key,
    plan: plans.get(entity.id)!,
  }));
  const { ends, away } = await applyEach(asking, applies);
  const settlements = toApply.flatMap(({ entity, rule, changeSet }): TargetEnd[] => {
    const end = ends.get(entity.id)!;
    if (end.outcome === "unknown") return [];
    if (end.outcome === "failed") return [endOfError(work, entity, end.error, { rule })];
    return [{ entity, state: "applied", rule, appliedSet: changeSet }];
  });
  await settle(work, settlements);
  if (away) report.away = away;
}

/** One call for both. Answers those that must be asked for step by step, because its answer is lost. */
async function planAndApplyAtOnce(
  work: Work,
  entities: readonly LeasedEntity[],
): Promise<LeasedEntity[]> {
  if (entities.length === 0) return [];
  const { batch, lease, asking } = work;
  const rule = batch.settings.rules.find(({ enabled }) => enabled)?.name;
  const key = randomUUID();
  await intendAtOnce(batch.db, lease.token, entities, { key, rule, leaseSeconds: lease.seconds });
  const open = { changeSet: undefined, hash: undefined, key, rule };
  const sent = (entity: LeasedEntity): LeasedEntity => ({ ...entity, open });
  lease.assertHeld();
  let answers;
  try {
    answers = await asking.target.planApply(entities, asking.scope, key, asking.signal);
  } catch (error) {
    if (error instanceof CallAbsent) return [...entities];
    if (!(error instanceof TargetFault) || error.kind === "away") throw error;
    return error.mayHaveHappened ? entities.map(sent) : [...entities];
  }
  const again: LeasedEntity[] = [];
  const ends = entities.flatMap((entity, no): TargetEnd[] => {
    const answer = answers[no]!;
    if (answer.outcome === "unchanged") return [{ entity, state: "no_changes" }];
    if (answer.outcome === "applied") {
      return [{ entity, state: "applied", rule, changeSet: answer.changeSet }];
    }
    const { error, changeSet } = answer;
    if (!error.unknown) return [endOfError(work, entity, error, { rule, changeSet })];
    again.push(sent(entity));
    return [];
  });
  await settle(work, ends);
  return again;
}

/** The targets' contract has no call that removes. */
async function settleRemovals(work: Work, removals: readonly LeasedEntity[]): Promise<void> {
  await settle(
    work,
    removals.map((entity): TargetEnd => {
      const message = "this target has no way to remove an object: remove it there";
      return { entity, state: "failed", error: { fault: "refused", message } };
    }),
  );
}

function endWithoutPlan(
  work: Work,
  entity: LeasedEntity,
  answer: Exclude<PlanAnswer, { outcome: "planned" }>,
): TargetEnd {
  if (answer.outcome === "failed") return endOfError(work, entity, answer.error, {});
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

function endOfError(
  { batch }: Work,
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

async function settle(work: Work, ends: readonly TargetEnd[]): Promise<void> {
  if (ends.length === 0) return;
  const { batch, lease, report } = work;
  await settleTarget(batch.db, {
    place: batch.place,
    token: lease.token,
    ends,
    arrivals: arrivalsOfEnds(work, ends),
  });
  settled(
    work,
    ends.map(({ entity }) => entity.id),
  );
  report.applied += ends.filter(({ state }) => state === "applied").length;
}

function settled({ lease, report }: Work, ids: readonly string[]): void {
  lease.drop(ids);
  report.settled += ids.length;
}

function arrivalsOfEnds({ batch }: Work, ends: readonly TargetEnd[]): string[] {
  const applied = ends.filter(({ state }) => state === "applied");
  return [...new Set(applied.flatMap(({ entity }) => arrivalsOf(batch.registry, entity)))];
}
