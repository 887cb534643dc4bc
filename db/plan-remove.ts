import type { ChangeSet, InventoryObject, ObjectId, PlanError } from "../contracts/inventory.ts";
import { driveAsync } from "../domain/plan-batch.ts";
import { findRoots, type Root } from "../domain/plan-removal-roots.ts";
import { departureOf, planRemovals, referenced } from "../domain/plan-removals.ts";
import type { GuardWindow } from "./inventory-guard.ts";
import { lookUp, type InventoryPlace } from "./inventory-look-up.ts";
import { referrersOf, removeObjects } from "./inventory-remove.ts";
import { appendJournal } from "./inventory-write.ts";
import type { PlanHow } from "./plan-apply.ts";
import {
  DEFAULT_RETRY,
  settlementOf,
  tally,
  type PlanApplyBatch,
  type RetryPolicy,
} from "./plan-batch-outcome.ts";
import type { ClaimedEntity } from "./plan-claim.ts";
import { decider, type Decider } from "./plan-decide.ts";
import { earlierDecisions } from "./plan-earlier.ts";
import { keepApproved } from "./plan-lease-hold.ts";
import { countWindow, noteBatch } from "./plan-note.ts";
import { goingByThemselves, sparedOf, type Spared } from "./plan-remove-spared.ts";
import { approvedChanges, type NewChangeSet, type Settlement } from "./plan-settle.ts";
import type { Tx } from "./pool.ts";

/**
 * Removals: what snapshots no longer name is planned to go, reviewed unless a rule speaks of deleting,
 * and taken out with its names and references. What somebody still names, by whatever name, is spared.
 * What something refers to waits until that is gone, and stays approved meanwhile.
 */
export async function planAndRemove(
  tx: Tx,
  place: InventoryPlace,
  how: PlanHow,
  claimed: readonly ClaimedEntity[],
  window: GuardWindow | undefined,
): Promise<PlanApplyBatch> {
  const { registry, retry = DEFAULT_RETRY } = how;
  const roots = await driveAsync(findRoots(registry, claimed), (wanted) =>
    lookUp(tx, place, wanted),
  );
  const spared = await sparedOf(
    tx,
    place,
    registry,
    claimed.map(({ id, identity }, no) => ({ id, identity, object: objectOf(roots[no]!) })),
  );
  const isSpared = (id: string) => spared.byMember.has(id) || spared.saidSince.has(id);
  const going = firstOfEach(roots, (no) => !isSpared(claimed[no]!.id));
  const objects = [...going.values()].map(({ object }) => object);
  const referrers = await referrersOf(
    tx,
    objects.map(({ id }) => id),
  );
  const goingElsewhere = await goingByThemselves(
    tx,
    place,
    registry,
    othersOf(referrers, new Set(roots.flatMap((root) => objectOf(root)?.id ?? []))),
  );
  const planned = await driveAsync(
    planRemovals({ registry, objects, referrers, goingElsewhere }),
    (wanted) => lookUp(tx, place, wanted),
  );

  const approved = claimed.flatMap(({ id, approved }) => (approved === undefined ? [] : id));
  const decisions = decider({
    place,
    how,
    claimed,
    window,
    approved: await approvedChanges(tx, approved),
    earlier: await earlierDecisions(tx, place, claimed),
    overtaken: new Set(),
  });
  const wanted = new Map<ObjectId, Wanted>();
  const waiting = new Map<ObjectId, PlanError>();
  for (const one of planned) {
    if (one.outcome === "failed") {
      waiting.set(one.objectId, one.error);
      continue;
    }
    const { no } = going.get(one.objectId)!;
    const { changeSet } = one;
    wanted.set(one.objectId, { no, changeSet, decision: decisions.decide(no, changeSet) });
  }
  letWait(wanted, waiting, referrers);

  const settled = claimed.flatMap((entity, no): Settlement[] => {
    const { id, attempt } = entity;
    const root = roots[no]!;
    if (isSpared(id)) return [{ id, state: "superseded", attempt }];
    if (root.root === "gone") return [{ id, state: "no_changes", attempt }];
    if (root.root === "fault") return [{ id, state: "failed", error: root.error, attempt }];
    const { id: object } = root.object;
    // Two scopes miss one object.
    if (going.get(object)!.no !== no) return [{ id, state: "superseded", attempt }];
    if (decisions.isHeldBack(no)) return [];
    const error = waiting.get(object);
    if (error) return [waitForReferrers(entity, error, retry)];
    const outcome = { outcome: "planned" as const, objectId: object, ...wanted.get(object)! };
    return [settlementOf(entity, outcome, decisions.of(no), retry)];
  });
  const applied = [...wanted.values()].filter(({ decision }) => decision === "apply");
  const gone = applied.map(({ changeSet }) => changeSet.changes[0]!);
  await removeObjects(
    tx,
    gone.map(({ objectId: id, version }) => ({ id, version })),
  );
  await noteBatch(tx, place, {
    claimed,
    settled,
    changeSets: changeSetsOf(claimed, wanted, decisions),
    arrivals: gone.length > 0 ? () => gone.map(({ objectId }) => departureOf(objectId)) : undefined,
  });
  await keepApproved(tx, approvedThatWait(claimed, settled));
  await appendJournal(
    tx,
    applied.map(({ no, changeSet }) => {
      const { objectId, version } = changeSet.changes[0]!;
      return { object: objectId, version: version + 1, kind: "delete", entity: claimed[no]!.id };
    }),
  );
  await noteMembers(tx, settled, spared);
  await how.onSettled?.(settled);
  if (window) await countWindow(tx, place, how, decisions);
  return tally(settled, {
    claimed: claimed.length,
    objects: applied.length,
    more: false,
    heldBecause: decisions.heldBecause(),
  });
}

interface Wanted {
  no: number;
  changeSet: ChangeSet;
  decision: "apply" | "review" | "ignore";
}

function objectOf(root: Root): InventoryObject | undefined {
  return root.root === "object" ? root.object : undefined;
}

function firstOfEach(
  roots: readonly Root[],
  isOpen: (no: number) => boolean,
): Map<ObjectId, { no: number; object: InventoryObject }> {
  const going = new Map<ObjectId, { no: number; object: InventoryObject }>();
  for (const [no, root] of roots.entries()) {
    if (root.root !== "object" || !isOpen(no) || going.has(root.object.id)) continue;
    going.set(root.object.id, { no, object: root.object });
  }
  return going;
}

/** What refers to these is looked at up to so many a batch; what is beyond stays for now. */
const MOST_REFERRERS = 5_000;

function othersOf(
  referrers: ReadonlyMap<ObjectId, readonly ObjectId[]>,
  here: ReadonlySet<ObjectId>,
): ObjectId[] {
  const others = new Set<ObjectId>();
  for (const ids of referrers.values()) {
    for (const id of ids) {
      if (others.size === MOST_REFERRERS) return [...others];
      if (!here.has(id)) others.add(id);
    }
  }
  return [...others];
}

/** What would be applied while something that is not refers to it waits for that, as does what it refers to. */
function letWait(
  wanted: Map<ObjectId, Wanted>,
  waiting: Map<ObjectId, PlanError>,
  referrers: ReadonlyMap<ObjectId, readonly ObjectId[]>,
): void {
  for (let more = true; more;) {
    more = false;
    for (const [id, { decision, changeSet }] of wanted) {
      if (decision !== "apply") continue;
      const stays = (from: ObjectId) => wanted.get(from)?.decision !== "apply";
      const staying = (referrers.get(id) ?? []).filter(stays);
      if (staying.length === 0) continue;
      waiting.set(id, referenced(changeSet.changes[0]!.type, staying));
      wanted.delete(id);
      more = true;
    }
  }
}

/** Without a budget: what refers may be there for as long as it likes. */
function waitForReferrers(
  { id, attempt }: ClaimedEntity,
  { waitsFor, ...error }: PlanError,
  { attempts, firstSeconds, mostSeconds }: RetryPolicy,
): Settlement {
  return {
    id,
    state: "pending_retry",
    error,
    waitsFor,
    attempt: Math.min(attempt + 1, attempts),
    delaySeconds: Math.min(mostSeconds, firstSeconds * 2 ** attempt),
  };
}

function approvedThatWait(claimed: readonly ClaimedEntity[], settled: readonly Settlement[]) {
  const waits = new Set(settled.flatMap(({ id, state }) => (state === "pending_retry" ? id : [])));
  return claimed.flatMap(({ id, approved }) =>
    approved !== undefined && waits.has(id) ? [{ id, approved }] : [],
  );
}

function changeSetsOf(
  claimed: readonly ClaimedEntity[],
  wanted: ReadonlyMap<ObjectId, Wanted>,
  decisions: Pick<Decider, "isHeldBack">,
): NewChangeSet[] {
  return [...wanted.values()].flatMap(({ no, changeSet, decision }) =>
    decisions.isHeldBack(no)
      ? []
      : [{ entity: claimed[no]!.id, changeSet, applied: decision === "apply" }],
  );
}

/**
 * What is gone is no member of any scope. Of what is spared another member speaks from now on, or nobody
 * misses it until a snapshot is without it once more.
 */
async function noteMembers(
  tx: Tx,
  settled: readonly Settlement[],
  { byMember, saidSince }: Spared,
): Promise<void> {
  const isGone = ({ id, state }: Settlement) =>
    state === "applied" || state === "no_changes" || byMember.has(id);
  const forgotten = settled.filter(isGone).map(({ id }) => id);
  await forgetMembers(tx, forgotten);
  await seeMembers(
    tx,
    [...saidSince].filter((id) => !byMember.has(id)),
  );
}

async function forgetMembers(tx: Tx, removals: readonly string[]): Promise<void> {
  if (removals.length === 0) return;
  await tx.query("delete from holdfast.scope_members where removal = any ($1::bigint[])", [
    removals,
  ]);
}

async function seeMembers(tx: Tx, removals: readonly string[]): Promise<void> {
  if (removals.length === 0) return;
  await tx.query(
    `update holdfast.scope_members set missing_since = null, removal = null
      where removal = any ($1::bigint[])`,
    [removals],
  );
}
