import { randomUUID } from "node:crypto";
import type { InventorySettings } from "../contracts/inventory-settings.ts";
import { TargetFault, type TargetPlan } from "../contracts/target.ts";
import { intendAtOnce, type ToApply } from "../db/target-intents.ts";
import { settlePlanned, settleTarget, type TargetEnd } from "../db/target-settle.ts";
import type { InventoryPlace } from "../db/inventory-look-up.ts";
import type { RetryPolicy } from "../db/plan-apply.ts";
import type { Leased, LeasedEntity } from "../db/plan-lease.ts";
import type { Db } from "../db/pool.ts";
import type { Registry } from "../domain/registry.ts";
import { appliesEverything } from "../domain/target-decide.ts";
import type { Target } from "../domain/target.ts";
import { arrivalsOf, together } from "../domain/target-said.ts";
import { applyEach, planEach, type ApplyOne, type Asking } from "./target-ask.ts";
import { CallAbsent } from "./target-answers.ts";
import { endOfError, endWithoutPlan } from "./target-ends.ts";
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
  /** Entities that were planned and whose turn it was not: with fewer in a call less is planned in vain. */
  waiting: number;
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
    waiting: 0,
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
      left.every(isNew);
    await planThenApply(work, atOnce ? await planAndApplyAtOnce(work, left) : left);
  } catch (error) {
    if (!(error instanceof TargetFault)) throw error;
    report.away = error;
  }
  return report;
}

/** Nobody has decided about it or an older version of it, it was never sent, and no newer one was either. */
function isNew({ approved, open, judged, adopted }: LeasedEntity): boolean {
  return approved === undefined && open === undefined && !judged && !adopted;
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
      ends.push(endWithoutPlan(batch, entity, answer));
    }
  }
  const done = await settlePlanned(batch.db, {
    ...batch,
    token: lease.token,
    leaseSeconds: lease.seconds,
    ends,
    planned: planned.map(({ entity, plan }) => ({ entity, changeSet: plan.changeSet })),
    asked: entities,
    arrivals: arrivalsOfEnds(work, ends),
  });
  settled(work, done.settled);
  const isApplied = new Set(
    ends.flatMap(({ entity, state }) => (state === "applied" ? entity.id : [])),
  );
  report.applied += done.settled.filter((id) => isApplied.has(id)).length;
  report.waiting += entities.length - done.settled.length - done.toApply.length;
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
    if (end.outcome === "failed") return [endOfError(work.batch, entity, end.error, { rule })];
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
    if (!error.unknown) return [endOfError(work.batch, entity, error, { rule, changeSet })];
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
