import type { ChangeSet, InventoryObject, ObjectId } from "../contracts/inventory.ts";
import { driveAsync } from "../domain/plan-batch.ts";
import { objectKeys } from "../domain/plan-keys.ts";
import { findRoots, type Root } from "../domain/plan-removal-roots.ts";
import { planRemovals, type PlannedRemoval } from "../domain/plan-removals.ts";
import { column } from "./columns.ts";
import type { GuardWindow } from "./inventory-guard.ts";
import { lookUp, type InventoryPlace } from "./inventory-look-up.ts";
import { referrersOf, removeObjects } from "./inventory-remove.ts";
import { appendJournal } from "./inventory-write.ts";
import type { PlanHow } from "./plan-apply.ts";
import {
  DEFAULT_RETRY,
  settlementOf,
  tally,
  waitOrGiveUp,
  type PlanApplyBatch,
} from "./plan-batch-outcome.ts";
import type { ClaimedEntity } from "./plan-claim.ts";
import { decider, type Decider } from "./plan-decide.ts";
import { earlierDecisions } from "./plan-earlier.ts";
import { countWindow, noteBatch } from "./plan-note.ts";
import { approvedChanges, type NewChangeSet, type Settlement } from "./plan-settle.ts";
import type { Tx } from "./pool.ts";

/**
 * Removals: what snapshots no longer name is planned to go, reviewed unless a rule speaks of deleting,
 * and taken out with its names and references. What something refers to that stays, stays.
 */
export async function planAndRemove(
  tx: Tx,
  place: InventoryPlace,
  how: PlanHow,
  claimed: readonly ClaimedEntity[],
  window: GuardWindow | undefined,
): Promise<PlanApplyBatch> {
  const { registry, retry = DEFAULT_RETRY } = how;
  const seen = await seenAgain(tx, place, claimed);
  const roots = await driveAsync(findRoots(registry, claimed), (wanted) =>
    lookUp(tx, place, wanted),
  );
  const going = firstOfEach(roots, (no) => !seen.has(claimed[no]!.id));
  const objects = [...going.values()].map(({ object }) => object);
  const referrers = await referrersOf(
    tx,
    objects.map(({ id }) => id),
  );
  const planned = await driveAsync(planRemovals({ registry, objects, referrers }), (wanted) =>
    lookUp(tx, place, wanted),
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
  for (const one of planned) {
    if (one.outcome !== "planned") continue;
    const { no } = going.get(one.objectId)!;
    wanted.set(one.objectId, {
      no,
      changeSet: one.changeSet,
      decision: decisions.decide(no, one.changeSet),
    });
  }
  keepReferred(wanted, referrers);

  const settled = claimed.flatMap((entity, no): Settlement[] => {
    const { id, attempt } = entity;
    const root = roots[no]!;
    if (seen.has(id)) return [{ id, state: "superseded", attempt }];
    if (root.root === "gone") return [{ id, state: "no_changes", attempt }];
    if (root.root === "fault") return [{ id, state: "failed", error: root.error, attempt }];
    const first = going.get(root.object.id)!;
    // Two scopes miss one object.
    if (first.no !== no) return [{ id, state: "superseded", attempt }];
    const one = wanted.get(root.object.id);
    if (!one) {
      const error = planned.find((other) => other.objectId === root.object.id) as PlannedRemoval & {
        outcome: "failed";
      };
      return [waitOrGiveUp({ id, attempt, error: error.error }, retry)];
    }
    if (decisions.isHeldBack(no)) return [];
    const outcome = { outcome: "planned" as const, objectId: root.object.id, ...one };
    return [settlementOf(entity, outcome, decisions.of(no), retry)];
  });
  await removeObjects(
    tx,
    place,
    objects.flatMap((object) => removalOf(object, wanted, registry)),
  );
  await noteBatch(tx, place, {
    claimed,
    settled,
    changeSets: changeSetsOf(claimed, wanted, decisions),
    arrivals: undefined,
  });
  const applied = [...wanted.values()].filter(({ decision }) => decision === "apply");
  await appendJournal(
    tx,
    applied.map(({ no, changeSet }) => {
      const { objectId, version } = changeSet.changes[0]!;
      return { object: objectId, version: version + 1, kind: "delete", entity: claimed[no]!.id };
    }),
  );
  await forgetMembers(
    tx,
    settled.flatMap(({ id, state }) => (state === "applied" || state === "no_changes" ? id : [])),
  );
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

/** What is not applied stays, and so does what it refers to: that is looked at again with it. */
function keepReferred(
  wanted: Map<ObjectId, Wanted>,
  referrers: ReadonlyMap<ObjectId, readonly ObjectId[]>,
): void {
  for (let kept = true; kept;) {
    kept = false;
    for (const [id, one] of wanted) {
      if (one.decision !== "apply") continue;
      const stays = (from: ObjectId) => wanted.get(from)?.decision !== "apply";
      if (!(referrers.get(id) ?? []).some(stays)) continue;
      one.decision = "review";
      kept = true;
    }
  }
}

function removalOf(
  { id, type, version, data }: InventoryObject,
  wanted: ReadonlyMap<ObjectId, Wanted>,
  registry: PlanHow["registry"],
) {
  if (wanted.get(id)?.decision !== "apply") return [];
  const keys = new Set(objectKeys(registry.types.get(type)!, data).values());
  return [{ id, version, keys: [...keys] }];
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

/** Those of whose objects something newer has been said. */
async function seenAgain(
  tx: Tx,
  place: InventoryPlace,
  claimed: readonly ClaimedEntity[],
): Promise<Set<string>> {
  const { rows } = await tx.query<{ id: string }>(
    `select w.id
       from rows from (string_to_table($3, e'\\n'), string_to_table($4, e'\\n')) as w(id, identity)
      where exists (select from holdfast.entities e
                     where e.tenant = $1 and e.branch = $2
                       and e.identity = decode(w.identity, 'hex') and e.operation is null
                       and e.id > w.id::bigint and not e.removal)`,
    [
      place.tenant,
      place.branch,
      column(claimed.map(({ id }) => id)),
      column(claimed.map(({ identity }) => identity)),
    ],
  );
  return new Set(rows.map(({ id }) => id));
}

/** What is gone is no member of any scope. */
async function forgetMembers(tx: Tx, removals: readonly string[]): Promise<void> {
  if (removals.length === 0) return;
  await tx.query("delete from holdfast.scope_members where removal = any ($1::bigint[])", [
    removals,
  ]);
}
