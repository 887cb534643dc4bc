import { countChanged } from "./inventory-guard.ts";
import type { InventoryPlace } from "./inventory-look-up.ts";
import type { PlanHow } from "./plan-apply.ts";
import type { ClaimedEntity } from "./plan-claim.ts";
import type { Decider } from "./plan-decide.ts";
import {
  hasWaiting,
  insertChangeSets,
  KEPT_CHANGE_SETS,
  settleEntities,
  trimChangeSets,
  wakeWaiting,
  type NewChangeSet,
  type Settlement,
} from "./plan-settle.ts";
import type { Tx } from "./pool.ts";

export interface BatchNotes {
  claimed: readonly ClaimedEntity[];
  settled: readonly Settlement[];
  changeSets: readonly NewChangeSet[];
  /** By what those who wait know the objects that came or changed; absent: none did. */
  arrivals: (() => readonly string[]) | undefined;
}

/** Notes what came of a batch: change sets, states, and who may go on. */
export async function noteBatch(tx: Tx, place: InventoryPlace, notes: BatchNotes): Promise<void> {
  await insertChangeSets(tx, notes.changeSets);
  await settleEntities(tx, notes.settled);
  await trimChangeSets(
    tx,
    notes.claimed.flatMap(({ id, plans }) => (plans >= KEPT_CHANGE_SETS ? id : [])),
  );
  if (notes.arrivals && (await hasWaiting(tx, place))) {
    await wakeWaiting(tx, place, notes.arrivals());
  }
}

/** Counts what a batch has changed of its window, and tells of a hold. */
export async function countWindow(
  tx: Tx,
  place: InventoryPlace,
  how: Pick<PlanHow, "onHeld">,
  decisions: Pick<Decider, "changed" | "heldBecause">,
): Promise<void> {
  const reason = decisions.heldBecause();
  await countChanged(tx, place, decisions.changed(), reason);
  if (reason !== undefined) await how.onHeld?.(reason);
}
