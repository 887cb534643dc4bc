import type { EntityState } from "../contracts/inventory.ts";
import type { ReviewAct } from "../contracts/review.ts";
import { insertAudit } from "./audit.ts";
import { findDueItems } from "./items.ts";
import { shareOperation } from "./locks.ts";
import { readOrders } from "./brakes.ts";
import { settleItems, type Settlement } from "./outcomes.ts";
import type { Tx } from "./pool.ts";
import { addDeltas } from "./progress.ts";
import { judge, wakePlans, writeDecisions, type PlansSeen } from "./review.ts";

/** A review operation: its items are entities that were found when it was accepted. */

export interface ReviewOperation {
  id: string;
  generation: number;
  tenant: string;
  /** Who submitted it: theirs are the decisions. */
  by: string;
  act: ReviewAct;
  reason?: string | undefined;
  /** Entities that were planned since are not decided: nobody has seen those plans. */
  seen: PlansSeen;
  filter: { states?: readonly EntityState[] | undefined };
}

export interface ReviewPage {
  stop?: "cancelled" | "paused" | "gone";
  settled: number;
  decided: number;
  /** Number of the last item looked at; absent when there was none. */
  last?: number;
}

/**
 * Decides about the next open items of a range of sub-batches. The ledger first: what somebody else has
 * settled is neither decided nor counted.
 */
export async function reviewPage(
  tx: Tx,
  operation: ReviewOperation,
  range: { from: number; to: number; afterItem: number },
  limit: number,
  by: string,
): Promise<ReviewPage> {
  const { id, generation, act } = operation;
  await shareOperation(tx, id);
  const orders = await readOrders(tx, id, generation);
  if (orders !== "go") return { stop: orders, settled: 0, decided: 0 };
  const items = await findDueItems(
    tx,
    { operationId: id, generation, fromBatch: range.from, toBatch: range.to },
    { limit, maxSize: limit + 1, afterItem: range.afterItem },
  );
  if (items.length === 0) return { settled: 0, decided: 0 };
  const named = items.map(({ key }) => ({ id: key }));
  await wakePlans(
    tx,
    operation.tenant,
    named.map(({ id }) => id),
  );
  const judged = await judge(tx, operation.tenant, act, named, operation.seen);
  const settlements = judged.map(({ refused }, index): Settlement => {
    const itemNo = items[index]!.no;
    if (refused === undefined) return { itemNo, outcome: "succeeded", attempt: 1 };
    return { itemNo, outcome: "blocked", reason: refused, attempt: 1 };
  });
  const settled = await settleItems(tx, operation, settlements, by);
  const mine = settlements.flatMap(({ itemNo, outcome }, index) =>
    settled.has(itemNo) ? [{ outcome, entity: items[index]!.key }] : [],
  );
  const decided = mine.flatMap(({ outcome, entity }) => (outcome === "succeeded" ? entity : []));
  await writeDecisions(tx, decided, operation);
  await note(tx, operation, items[0]!.no, mine.length, decided.length);
  return { settled: mine.length, decided: decided.length, last: items.at(-1)!.no };
}

async function note(
  tx: Tx,
  { id, generation, act, tenant, by, filter, reason }: ReviewOperation,
  first: number,
  settled: number,
  decided: number,
): Promise<void> {
  const counts = [
    { stage: "review", outcome: "succeeded", n: decided },
    { stage: "review", outcome: "blocked", n: settled - decided },
  ].filter(({ n }) => n > 0);
  // An item is settled once in a generation, so no other page begins with it.
  await addDeltas(tx, id, `page/${generation}/${first}`, counts);
  if (decided === 0) return;
  await insertAudit(tx, {
    actor: by,
    action: `review.${act}`,
    tenant,
    subject: `review/${tenant}`,
    after: { operation: id, filter, decided, reason },
  });
}
