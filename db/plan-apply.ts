import type {
  Change,
  ChangeSet,
  PlanDecision,
  PlanError,
  PlanMode,
} from "../contracts/inventory.ts";
import type { PlanGuard, PlanRule } from "../contracts/plan-rule.ts";
import { classify } from "../domain/faults.ts";
import { driveAsync, planBatch, type PlannedBatch } from "../domain/plan-batch.ts";
import { remainderOf } from "../domain/plan-hash.ts";
import { decideByRules, guardVerdict } from "../domain/plan-rules.ts";
import type { Registry } from "../domain/registry.ts";
import { countChanged, openWindow, type GuardWindow } from "./inventory-guard.ts";
import { lookUp, objectIds, type InventoryPlace } from "./inventory-look-up.ts";
import { appendJournal, StalePlan, writeObjects, type JournalEntry } from "./inventory-write.ts";
import { takeInventory } from "./locks.ts";
import { claimEntities, type ClaimedEntity } from "./plan-claim.ts";
import {
  approvedChanges,
  hasWaiting,
  insertChangeSets,
  KEPT_CHANGE_SETS,
  settleEntities,
  trimChangeSets,
  wakeWaiting,
  type NewChangeSet,
  type Settlement,
} from "./plan-settle.ts";
import type { Db, Tx } from "./pool.ts";

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
  limit?: number;
  retry?: RetryPolicy;
}

/** Of entities that wait for what they refer to. The wait doubles from one attempt to the next. */
export interface RetryPolicy {
  /** After so many attempts an entity is given up. 0: at once. */
  attempts: number;
  firstSeconds: number;
  mostSeconds: number;
}

export const DEFAULT_RETRY: RetryPolicy = { attempts: 12, firstSeconds: 5, mostSeconds: 600 };
const DEFAULT_LIMIT = 1_000;
const STALE_TRIES = 5;
const STATEMENT_MS = 60_000;

export interface PlanApplyBatch {
  /** Somebody else is at work in this branch; nothing was done. */
  busy: boolean;
  /** The branch is held until somebody has looked. */
  heldBecause?: string | undefined;
  claimed: number;
  applied: number;
  unchanged: number;
  open: number;
  ignored: number;
  failed: number;
  /** Wait for what they refer to. */
  waiting: number;
  /** Came after one that waits, or after the branch was held: still to come. */
  heldBack: number;
  /** Objects created, changed or removed. */
  objects: number;
  /** There may be more that is due. */
  more: boolean;
}

const nothing = (): PlanApplyBatch => ({
  busy: false,
  claimed: 0,
  applied: 0,
  unchanged: 0,
  open: 0,
  ignored: 0,
  failed: 0,
  waiting: 0,
  heldBack: 0,
  objects: 0,
  more: false,
});

const COUNTS = [
  "claimed",
  "applied",
  "unchanged",
  "open",
  "ignored",
  "failed",
  "waiting",
  "heldBack",
  "objects",
] as const;

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
  const done = nothing();
  /** So many of the oldest are known to fail together. */
  let bad: number | undefined;
  for (let stale = 0; ;) {
    const limit = bad === undefined ? (options.limit ?? DEFAULT_LIMIT) : Math.ceil(bad / 2);
    let claimed: readonly ClaimedEntity[] = [];
    const onClaimed = (them: readonly ClaimedEntity[]) => (claimed = them);
    try {
      const part = await db.transaction(
        (tx) => batch(tx, registry, place, { ...options, limit, onClaimed }),
        { statementTimeoutMs: STATEMENT_MS, withoutJit: true },
      );
      add(done, part);
      if (bad === undefined || part.claimed < limit || part.claimed === bad) return done;
      bad -= part.claimed;
    } catch (error) {
      if (error instanceof StalePlan) {
        if (++stale === STALE_TRIES) throw error;
      } else if (classify(error) !== "domain" || claimed.length === 0) throw error;
      else if (claimed.length > 1) bad = claimed.length;
      else {
        const { id } = claimed[0]!;
        add(done, await db.transaction((tx) => failAlone(tx, place, id, error as Error)));
        return done;
      }
    }
  }
}

function add(done: PlanApplyBatch, part: PlanApplyBatch): void {
  for (const name of COUNTS) done[name] += part[name];
  const { busy, more, heldBecause } = part;
  Object.assign(done, { busy, more, heldBecause });
}

async function batch(
  tx: Tx,
  registry: Registry,
  place: InventoryPlace,
  options: PlanApplyOptions & { limit: number; onClaimed: (claimed: ClaimedEntity[]) => void },
): Promise<PlanApplyBatch> {
  if (!(await takeInventory(tx, place.tenant, place.branch))) return { ...nothing(), busy: true };
  const window = options.guard && (await openWindow(tx, place));
  if (window?.heldBecause !== undefined) return { ...nothing(), heldBecause: window.heldBecause };
  const claimed = await claimEntities(tx, place, options.limit);
  options.onClaimed(claimed);
  if (claimed.length === 0) return nothing();

  const decisions = await decider(tx, place, options, claimed, window);
  const planned = await driveAsync(
    planBatch({
      registry,
      entities: claimed,
      newId: await objectIds(tx),
      decide: decisions.decide,
      onFailed: decisions.onFailed,
    }),
    (wanted) => lookUp(tx, place, wanted),
  );
  await writeObjects(tx, place, planned.writes);
  const settled = claimed.flatMap((entity, no) =>
    decisions.isHeldBack(no)
      ? []
      : settlementOf(entity, planned.entities[no]!, decisions.of(no), options),
  );
  await insertChangeSets(tx, changeSetsOf(claimed, planned, decisions));
  await settleEntities(tx, settled);
  await trimChangeSets(
    tx,
    claimed.flatMap(({ id, plans }) => (plans >= KEPT_CHANGE_SETS ? id : [])),
  );
  await appendJournal(tx, journalOf(claimed, planned));
  if (planned.writes.length > 0 && (await hasWaiting(tx, place))) {
    await wakeWaiting(tx, place, planned.arrivals());
  }
  if (window) await countChanged(tx, place, decisions.changed(), decisions.heldBecause());
  return tally(settled, {
    claimed: claimed.length,
    objects: planned.writes.length,
    more: claimed.length === options.limit,
    heldBecause: decisions.heldBecause(),
  });
}

type Decided = { by: "rules"; rule: string | undefined } | { by: "person" | "changed" };

interface Decider {
  decide: (no: number, changeSet: ChangeSet) => PlanDecision;
  onFailed: (no: number, error: PlanError) => void;
  of: (no: number) => Decided | undefined;
  /** True for what came after one that waits, or after the hold: whatever its plan says is not yet so. */
  isHeldBack: (no: number) => boolean;
  heldBecause: () => string | undefined;
  /** Existing objects that rules let change, as the guard counts. */
  changed: () => number;
}

/** Approvals first, then the guard, then rules. */
async function decider(
  tx: Tx,
  place: InventoryPlace,
  { mode, rules, guard, retry = DEFAULT_RETRY }: PlanApplyOptions,
  claimed: readonly ClaimedEntity[],
  window: GuardWindow | undefined,
): Promise<Decider> {
  const approved = await approvedChanges(
    tx,
    claimed.flatMap(({ id, approved }) => (approved === undefined ? [] : id)),
  );
  const decided = new Map<number, Decided>();
  /** The first of each identity that waits. */
  const waiting = new Map<string, number>();
  let heldFrom = claimed.length;
  let heldBecause: string | undefined;
  let changed = 0;
  const isHeldBack = (no: number) =>
    no >= heldFrom || (waiting.get(claimed[no]!.identity) ?? no) < no;

  const decide = (no: number, changeSet: ChangeSet): PlanDecision => {
    const entity = claimed[no]!;
    if (isHeldBack(no)) return "review";
    if (entity.approved !== undefined) {
      const stands =
        entity.approved === changeSet.hash ||
        ["same", "part"].includes(remainderOf(approved.get(entity.id) ?? [], changeSet.changes));
      decided.set(no, { by: stands ? "person" : "changed" });
      return stands ? "apply" : "review";
    }
    const facts = { type: entity.type, entity, branch: place.branch, changeSet };
    const { decision, rule } = decideByRules(rules, mode, facts);
    if (decision === "apply" && guard && window) {
      const more = countTouched(changeSet.changes);
      const radius = { objects: window.objects, changed: window.changed + changed };
      const verdict = guardVerdict(guard, radius, more);
      if (verdict.verdict === "hold") {
        heldBecause = verdict.reason;
        heldFrom = no;
        return "review";
      }
      changed += more;
    }
    decided.set(no, { by: "rules", rule });
    return decision;
  };
  return {
    decide,
    onFailed(no, { fault }) {
      const { identity, attempt } = claimed[no]!;
      if (fault !== "missing-reference" || attempt >= retry.attempts) return;
      if (!waiting.has(identity)) waiting.set(identity, no);
    },
    of: (no) => decided.get(no),
    isHeldBack,
    heldBecause: () => heldBecause,
    changed: () => changed,
  };
}

function countTouched(changes: readonly Change[]): number {
  return changes.filter(({ kind }) => kind === "update" || kind === "delete").length;
}

function settlementOf(
  { id, attempt }: ClaimedEntity,
  planned: PlannedBatch["entities"][number],
  decided: Decided | undefined,
  { retry = DEFAULT_RETRY }: PlanApplyOptions,
): Settlement {
  if (planned.outcome === "unchanged") return { id, state: "no_changes", attempt };
  if (planned.outcome === "failed") {
    const { waitsFor, ...fault } = planned.error;
    const error = { ...fault, title: planned.title };
    if (fault.fault !== "missing-reference") return { id, state: "failed", error, attempt };
    if (attempt >= retry.attempts) return { id, state: "errored", error, attempt };
    const delaySeconds = Math.min(retry.mostSeconds, retry.firstSeconds * 2 ** attempt);
    return { id, state: "pending_retry", error, waitsFor, attempt: attempt + 1, delaySeconds };
  }
  const planHash = planned.changeSet.hash;
  if (decided?.by === "changed") {
    const message = "the plan is another than the one that was approved: look again";
    const error = { fault: "changed-since-approval", message };
    return { id, state: "open", planHash, error, attempt };
  }
  const rule = decided?.by === "rules" ? decided.rule : undefined;
  const state = STATES[planned.decision];
  return { id, state, planHash, rule, attempt };
}

const STATES = { apply: "applied", review: "open", ignore: "ignored" } as const;

function changeSetsOf(
  claimed: readonly ClaimedEntity[],
  planned: PlannedBatch,
  decisions: Decider,
): NewChangeSet[] {
  return planned.entities.flatMap((one, no): NewChangeSet[] => {
    if (one.outcome !== "planned" || decisions.isHeldBack(no)) return [];
    const applied = one.decision === "apply";
    return [{ entity: claimed[no]!.id, changeSet: one.changeSet, applied }];
  });
}

/** The version an object ends the batch with stands for all that the batch did to it. */
function journalOf(claimed: readonly ClaimedEntity[], planned: PlannedBatch): JournalEntry[] {
  return planned.entities.flatMap((one, no): JournalEntry[] => {
    if (one.outcome !== "planned" || one.decision !== "apply") return [];
    return one.changeSet.changes.flatMap(({ kind, objectId, version }): JournalEntry[] =>
      kind === "noop"
        ? []
        : [{ object: objectId, version: version + 1, kind, entity: claimed[no]!.id }],
    );
  });
}

function tally(
  settled: readonly Settlement[],
  batch: Pick<PlanApplyBatch, "claimed" | "objects" | "more" | "heldBecause">,
): PlanApplyBatch {
  const count = (...states: Settlement["state"][]) =>
    settled.filter(({ state }) => states.includes(state)).length;
  return {
    ...nothing(),
    ...batch,
    applied: count("applied"),
    unchanged: count("no_changes"),
    open: count("open"),
    ignored: count("ignored"),
    failed: count("failed", "errored"),
    waiting: count("pending_retry"),
    heldBack: batch.claimed - settled.length,
  };
}

/** The oldest entity that is due, which the inventory refuses with nothing beside it. */
async function failAlone(
  tx: Tx,
  place: InventoryPlace,
  id: string,
  cause: Error,
): Promise<PlanApplyBatch> {
  if (!(await takeInventory(tx, place.tenant, place.branch))) return { ...nothing(), busy: true };
  const claimed = (await claimEntities(tx, place, 1)).filter((entity) => entity.id === id);
  const settled = claimed.map(({ id, attempt }): Settlement => {
    const error = { fault: "refused", message: cause.message.slice(0, 1_000) };
    return { id, state: "failed", error, attempt };
  });
  await settleEntities(tx, settled);
  return tally(settled, {
    claimed: claimed.length,
    objects: 0,
    more: true,
    heldBecause: undefined,
  });
}
