import { randomUUID } from "node:crypto";
import type { ChangeSet, EntityState } from "../contracts/inventory.ts";
import type { InventorySettings } from "../contracts/inventory-settings.ts";
import type { Registry } from "../domain/registry.ts";
import { targetDecider } from "../domain/target-decide.ts";
import { beginAttempts, endAttempts, markApplied, newestChangeSets } from "./apply-attempts.ts";
import { countChanged, openWindow } from "./inventory-guard.ts";
import type { InventoryPlace } from "./inventory-look-up.ts";
import { endLease, keepApproved, markApplying, type LeasedEntity } from "./plan-lease.ts";
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

/** What may be sent now. */
export interface ToApply {
  entity: LeasedEntity;
  key: string;
  rule: string | undefined;
  changeSet: string;
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
  /** By entity those before it that speak of the same objects: when one is applied, it is not its turn. */
  alike: ReadonlyMap<string, readonly string[]>;
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
    const decider = targetDecider(registry, settings, place.branch, window, window.heldBecause);
    const ends = [...step.ends];
    const sending: { entity: LeasedEntity; changeSet: ChangeSet; rule: string | undefined }[] = [];
    for (const { entity, changeSet } of step.planned) {
      const { type, fields, open } = entity;
      const decided = decider.decide({
        type,
        fields,
        changeSet,
        approved:
          entity.approved === undefined
            ? undefined
            : { hash: entity.approved, changes: approved.get(entity.id) ?? [] },
        sent: open,
      });
      switch (decided.decision) {
        case "apply":
          sending.push({ entity, changeSet, rule: decided.rule });
          break;
        case "review":
          ends.push({ entity, state: "open", changeSet, rule: decided.rule });
          break;
        case "ignore":
          ends.push({ entity, state: "ignored", changeSet, rule: decided.rule });
          break;
        case "changed": {
          const message = "the plan is another than the one that was approved: look again";
          const error = { fault: "changed-since-approval", message };
          ends.push({ entity, state: "open", changeSet, error });
          break;
        }
        case "later":
          break;
      }
    }
    const sent = new Set(sending.map(({ entity }) => entity.id));
    const isNow = ({ entity, state }: TargetEnd) =>
      state === "applied" ||
      state === "no_changes" ||
      !step.alike.get(entity.id)?.some((id) => sent.has(id));
    const written = ends.filter(isNow);
    await writeEnds(tx, place, token, written, step.arrivals, undefined);
    const toApply = await writeIntents(tx, token, sending, step.leaseSeconds);
    await countChanged(tx, place, decider.changed(), decider.heldBecause());
    return { toApply, settled: written.map(({ entity }) => entity.id) };
  });
}

async function writeIntents(
  tx: Tx,
  token: string,
  sending: readonly { entity: LeasedEntity; changeSet: ChangeSet; rule: string | undefined }[],
  leaseSeconds: number,
): Promise<ToApply[]> {
  const isSame = ({ entity, changeSet }: (typeof sending)[number]) =>
    entity.open?.changeSet !== undefined && entity.open.hash === changeSet.hash;
  const fresh = sending.filter((one) => !isSame(one));
  await markApplying(
    tx,
    token,
    sending.map((one) => ({
      id: one.entity.id,
      planHash: isSame(one) ? undefined : one.changeSet.hash,
      rule: one.rule,
    })),
    leaseSeconds,
  );
  await insertChangeSets(
    tx,
    fresh.map(({ entity, changeSet }) => ({ entity: entity.id, changeSet, applied: false })),
  );
  const made = await newestChangeSets(
    tx,
    fresh.map(({ entity }) => entity.id),
  );
  const toApply = sending.map((one): ToApply => {
    const { entity, rule } = one;
    const { open } = entity;
    if (isSame(one)) return { entity, rule, key: open!.key, changeSet: open!.changeSet! };
    return { entity, rule, key: randomUUID(), changeSet: made.get(entity.id)! };
  });
  await beginAttempts(
    tx,
    token,
    toApply.map(({ entity, key, changeSet }) => ({ entity: entity.id, key, changeSet })),
  );
  return toApply;
}

/** The intent of planning and applying these in one call. @throws LeaseLost */
export async function intendAtOnce(
  db: Db,
  token: string,
  entities: readonly LeasedEntity[],
  { key, rule, leaseSeconds }: { key: string; rule: string | undefined; leaseSeconds: number },
): Promise<void> {
  await db.transaction(async (tx) => {
    await markApplying(
      tx,
      token,
      entities.map(({ id }) => ({ id, planHash: undefined, rule })),
      leaseSeconds,
    );
    await beginAttempts(
      tx,
      token,
      entities.map(({ id }) => ({ entity: id, key, changeSet: undefined })),
    );
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
