import type { OperationView, State } from "../contracts/operation.ts";

export interface StateFacts {
  state: State;
  cancelRequested: boolean;
  paused: boolean;
  braked: boolean;
  /** Nothing may happen before this: a start asked for later, or every open item waiting. */
  notBefore: Date | null;
  /** People have to decide before anything else can happen. */
  awaitsDecision?: boolean;
  workersOnline: number;
  now: Date;
}

/** What an operation is really doing, where the stored state says less. */
export function shownState(facts: StateFacts): OperationView["shown"] {
  if (facts.state !== "accepted" && facts.state !== "running") return facts.state;
  if (facts.cancelRequested) return "cancelling";
  if (facts.paused || facts.braked) return "paused";
  if (facts.notBefore !== null && facts.notBefore > facts.now) return "deferred";
  if (facts.awaitsDecision) return "waiting for a decision";
  if (facts.workersOnline === 0) return "waiting for a worker";
  return facts.state;
}
