import type { PlanMode } from "../contracts/inventory.ts";
import type { PlanGuard, PlanRule } from "../contracts/plan-rule.ts";
import { classify } from "../domain/faults.ts";
import { driveAsync, planBatch, type PlannedBatch } from "../domain/plan-batch.ts";
import type { Registry } from "../domain/registry.ts";
import { openWindow, type GuardWindow } from "./inventory-guard.ts";
import { namesAreKept } from "./inventory-keys.ts";
import { lookUp, objectIds, type InventoryPlace } from "./inventory-look-up.ts";
import { appendJournal, StalePlan, writeObjects } from "./inventory-write.ts";
import { takeInventory } from "./locks.ts";
import {
  add,
  changeSetsOf,
  DEFAULT_RETRY,
  journalOf,
  nothing,
  settlementOf,
  tally,
  type PlanApplyBatch,
  type RetryPolicy,
} from "./plan-batch-outcome.ts";
import { claimEntities, type ClaimedEntity } from "./plan-claim.ts";
import { decider, type Decider } from "./plan-decide.ts";
import { earlierDecisions, overtakenOf } from "./plan-earlier.ts";
import { holdBack } from "./plan-hold-back.ts";
import { countWindow, noteBatch } from "./plan-note.ts";
import { planAndRemove } from "./plan-remove.ts";
import { approvedChanges, settleEntities, type Settlement } from "./plan-settle.ts";
import { supersedeOlder, supersedeOvertaken } from "./plan-supersede.ts";
import type { Db, Tx } from "./pool.ts";

export { DEFAULT_RETRY, type PlanApplyBatch, type RetryPolicy };

/**
 * Planning and applying into the built-in inventory: a batch is claimed, planned, applied and settled in
 * one transaction, so that it happens once, whoever dies. One at a time in a branch, for what is nested
 * in entities is shared between all of them, and none may be applied before an older one.
 */

export interface PlanApplyOptions {
  mode: PlanMode;
  rules: readonly PlanRule[];
  guard?: PlanGuard | undefined;
  /** Entities of one batch. Default 1,000. */
  limit?: number | undefined;
  retry?: RetryPolicy | undefined;
}

/** How one batch is planned. */
export interface PlanHow extends PlanApplyOptions {
  registry: Registry;
  /** Told once, in the transaction of the batch that holds its branch. */
  onHeld?: (reason: string) => Promise<void>;
  /** Told of each batch, in its transaction. */
  onSettled?: (settled: readonly Settlement[]) => Promise<void>;
}

const DEFAULT_LIMIT = 1_000;
const STALE_TRIES = 5;
const STATEMENT_MS = 60_000;

/**
 * Works one batch of what is due in a branch. Safe to call again, from anywhere. What the inventory
 * refuses is found by halving the batch; only an entity that is refused alone ends failed.
 */
export async function planAndApply(
  db: Db,
  registry: Registry,
  place: InventoryPlace,
  options: PlanApplyOptions,
): Promise<PlanApplyBatch> {
  return planAndApplyAs(db, place, async () => ({ ...options, registry }));
}

/** The same, where how it is planned is read in the transaction of the batch; undefined: not at all. */
export async function planAndApplyAs(
  db: Db,
  place: InventoryPlace,
  read: (tx: Tx) => Promise<PlanHow | undefined>,
): Promise<PlanApplyBatch> {
  const done = nothing();
  /** So many of the oldest are known to fail together. */
  let bad: number | undefined;
  for (let stale = 0; ;) {
    let claimed: readonly ClaimedEntity[] = [];
    let looked = 0;
    let named = true;
    let limit = 0;
    const work = async (tx: Tx): Promise<PlanApplyBatch> => {
      if (!(await takeInventory(tx, place.tenant, place.branch)))
        return { ...nothing(), busy: true };
      const how = await read(tx);
      if (!how) return nothing();
      limit = bad === undefined ? (how.limit ?? DEFAULT_LIMIT) : Math.ceil(bad / 2);
      const window = how.guard && (await openWindow(tx, place));
      if (window?.heldBecause !== undefined) {
        return { ...nothing(), heldBecause: window.heldBecause };
      }
      named = await namesAreKept(tx, place, how.registry);
      if (!named) return nothing();
      const { entities, heldBack } = await claimEntities(tx, place, limit);
      claimed = entities;
      looked = claimed.length + heldBack;
      if (looked === 0) return nothing();
      const part =
        claimed.length === 0 ? nothing() : await workBatch(tx, place, how, claimed, window);
      return {
        ...part,
        claimed: part.claimed + heldBack,
        heldBack: part.heldBack + heldBack,
        more: part.more || looked === limit,
      };
    };
    try {
      const part = await db.transaction(work, {
        statementTimeoutMs: STATEMENT_MS,
        withoutJit: true,
      });
      if (!named) continue;
      add(done, part);
      if (bad === undefined || part.claimed < limit || part.claimed === bad) return done;
      bad -= part.claimed;
    } catch (error) {
      const isStale = error instanceof StalePlan;
      if (isStale && ++stale < STALE_TRIES) continue;
      if (!(isStale || classify(error) === "domain") || claimed.length === 0) throw error;
      if (looked > 1) bad = looked;
      else {
        const { id } = claimed[0]!;
        add(done, await db.transaction((tx) => failAlone(tx, place, id, error as Error)));
        return done;
      }
    }
  }
}

/** Removals are worked by themselves: what comes before them, or the first of them. */
async function workBatch(
  tx: Tx,
  place: InventoryPlace,
  how: PlanHow,
  claimed: readonly ClaimedEntity[],
  window: GuardWindow | undefined,
): Promise<PlanApplyBatch> {
  const areRemovals = claimed[0]!.removal === true;
  const end = claimed.findIndex(({ removal }) => (removal === true) !== areRemovals);
  const part = end === -1 ? claimed : claimed.slice(0, end);
  const work = areRemovals ? planAndRemove : batch;
  const done = await work(tx, place, how, part, window);
  return { ...done, more: end !== -1 };
}

async function batch(
  tx: Tx,
  place: InventoryPlace,
  how: PlanHow,
  all: readonly ClaimedEntity[],
  window: GuardWindow | undefined,
): Promise<PlanApplyBatch> {
  const { registry, retry = DEFAULT_RETRY } = how;
  const overtaken = await overtakenOf(tx, place, all);
  const needless = await supersedeOvertaken(tx, registry, all, overtaken);
  const claimed = needless.size === 0 ? all : all.filter(({ id }) => !needless.has(id));
  const approved = claimed.flatMap(({ id, approved }) => (approved === undefined ? [] : id));
  const decisions = decider({
    place,
    how,
    claimed,
    window,
    approved: await approvedChanges(tx, approved),
    earlier: await earlierDecisions(tx, place, claimed),
    overtaken: new Set(overtaken.keys()),
  });
  const planned = await driveAsync(
    planBatch({
      registry,
      entities: claimed,
      newId: await objectIds(tx),
      decide: decisions.decide,
      onFailed: decisions.onFailed,
      onUnchanged: decisions.onUnchanged,
      mayLeaveOut: versionsBeforeOthers(claimed),
    }),
    (wanted) => lookUp(tx, place, wanted),
  );
  await writeObjects(tx, place, planned.writes);
  const settled = claimed.flatMap((entity, no): Settlement[] => {
    const one = planned.entities[no]!;
    if (decisions.isHeldBack(one.outcome === "superseded" ? one.by : no)) return [];
    return [settlementOf(entity, one, decisions.of(no), retry)];
  });
  await noteBatch(tx, place, {
    claimed,
    settled,
    changeSets: changeSetsOf(claimed, planned, decisions),
    arrivals: planned.writes.length > 0 ? planned.arrivals : undefined,
  });
  // What came after one that waits from now on waits with it.
  const ended = new Set(settled.map(({ id }) => id));
  await holdBack(
    tx,
    place,
    claimed.filter(({ id }) => !ended.has(id)),
  );
  await appendJournal(tx, journalOf(claimed, planned));
  await how.onSettled?.(settled);
  await supersedeOlder(tx, place, registry, thereOf(claimed, planned, decisions));
  if (window) await countWindow(tx, place, how, decisions);
  const done = tally(settled, {
    claimed: claimed.length,
    objects: planned.writes.length,
    more: false,
    heldBecause: decisions.heldBecause(),
  });
  return {
    ...done,
    claimed: all.length,
    superseded: done.superseded + needless.size,
  };
}

/** Those that a later one of the same identity follows, and that nobody has approved. */
function versionsBeforeOthers(claimed: readonly ClaimedEntity[]): ReadonlySet<number> {
  const newest = new Map(claimed.map(({ identity }, no) => [identity, no]));
  const before = new Set<number>();
  if (newest.size === claimed.length) return before;
  for (const [no, { identity, approved }] of claimed.entries()) {
    if (newest.get(identity) !== no && approved === undefined) before.add(no);
  }
  return before;
}

/** What the inventory now says. */
function thereOf(
  claimed: readonly ClaimedEntity[],
  planned: PlannedBatch,
  decisions: Pick<Decider, "isHeldBack">,
): ClaimedEntity[] {
  return claimed.filter((_, no) => {
    const one = planned.entities[no]!;
    if (decisions.isHeldBack(no)) return false;
    return one.outcome === "unchanged" || (one.outcome === "planned" && one.decision === "apply");
  });
}

/** The oldest entity that is due, which the inventory refuses with nothing beside it. */
async function failAlone(
  tx: Tx,
  place: InventoryPlace,
  id: string,
  cause: Error,
): Promise<PlanApplyBatch> {
  if (!(await takeInventory(tx, place.tenant, place.branch))) return { ...nothing(), busy: true };
  const { entities } = await claimEntities(tx, place, 1);
  const claimed = entities.filter((entity) => entity.id === id);
  const settled = claimed.map(({ id, attempt }): Settlement => {
    const error = { fault: "refused", message: cause.message.slice(0, 1_000) };
    return { id, state: "failed", error, attempt, failedAt: "apply" };
  });
  await settleEntities(tx, settled);
  return tally(settled, {
    claimed: claimed.length,
    objects: 0,
    more: true,
    heldBecause: undefined,
  });
}
