import type { EntityState } from "../contracts/inventory.ts";
import type { ReviewAct } from "../contracts/review.ts";
import { stateAfter } from "./inventory-state.ts";

/** Who may decide what about an entity as it stands. */

/** What may be decided about the entities of a plan operation; the rest is its own business. */
export const ACTS_IN_PLANS: readonly ReviewAct[] = ["approve", "reject", "ignore", "rediff"];

export interface ReviewFacts {
  state: EntityState;
  approved: boolean;
  decidedBy: string | null;
  decidedAt: Date | null;
  /** Hash of the newest plan; null: there is none. */
  planHash: string | null;
  /** Hash of the plan that was seen; undefined: not said. */
  seen?: string | undefined;
  /** The plan was made later than the decision. */
  plannedSince?: boolean;
  /** The plan operation it belongs to, and whether that is open. */
  operation?: { id: string; open: boolean } | undefined;
}

/** Why an act is refused, with the next step; undefined: it is not. */
export function refusalOf(act: ReviewAct, facts: ReviewFacts): string | undefined {
  const { state, operation } = facts;
  if (operation && !operation.open) {
    return `belongs to plan ${operation.id}, which has ended: run that again, or send the entity again`;
  }
  if (operation && (!ACTS_IN_PLANS.includes(act) || state !== "open")) {
    return `belongs to plan ${operation.id} and is ${worded(state)}: decide about what waits there`;
  }
  if (act === "approve" && state === "open" && facts.approved) {
    return `approved already${by(facts)}`;
  }
  if (stateAfter(state, act) === undefined) return notFrom(act, facts);
  if (facts.plannedSince || (facts.seen !== undefined && facts.seen !== facts.planHash)) {
    return "its plan is another now: look again";
  }
  if (act === "approve" && facts.planHash === null) return "has no plan: rediff it first";
  return undefined;
}

function notFrom(act: ReviewAct, facts: ReviewFacts): string {
  const { state } = facts;
  if (state === "ignored") return `rejected or ignored already${by(facts)}: reopen it first`;
  if (state === "queued" || state === "planning") return "is to be planned: look again after that";
  if (state === "applied" && facts.approved) return `applied already, approved${by(facts)}`;
  return `is ${worded(state)}: there is nothing to ${act}`;
}

function by({ decidedBy, decidedAt }: ReviewFacts): string {
  if (decidedBy === null) return "";
  return ` by ${decidedBy}${decidedAt ? ` at ${decidedAt.toISOString()}` : ""}`;
}

function worded(state: EntityState): string {
  return state.replaceAll("_", " ");
}
