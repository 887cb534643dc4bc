import type { JsonObject } from "../domain/target-wire.ts";

/** What can go wrong with a target on request. */

export const FAULTS = [
  /** Answers 500, nothing done. */
  "status-500",
  "status-503",
  /** With Retry-After: 1. */
  "status-429",
  "status-400",
  /** Does it, and never answers. */
  "timeout-after",
  /** Never answers, and does nothing. */
  "timeout-before",
  /** Does it, and breaks the connection in the middle of the answer. */
  "reset",
  /** Leaves one result out, though it was done. */
  "missing-result",
  "wrong-order",
  "duplicate-ids",
  /** Neither a change set nor an error. */
  "null-change-set",
  "not-json",
  /** Refuses with the code of a deadlock, entity by entity. */
  "deadlock",
  "slow",
  /** No calls for many. */
  "no-bulk",
  "no-default-branch",
  /** Every token is refused once. */
  "stale-token",
] as const;
export type FaultName = (typeof FAULTS)[number];

export interface Fault {
  fault: FaultName;
  /** Only calls whose path begins so: `bulk-apply`. Default: any but tokens and the branch. */
  path?: string;
  /** Calls that it happens to. Default: all from now on. */
  times?: number;
  /** Only calls whose body holds this text. */
  holding?: string;
}

/** What goes wrong from now on. */
export class Faults {
  #all: { fault: Fault; left: number }[] = [];

  /** The fault of this call, if there is one; each that happens so often only is used up. */
  of(path: string, text: string, names: readonly FaultName[]): FaultName | undefined {
    const found = this.#all.find(
      ({ fault, left }) =>
        left > 0 &&
        names.includes(fault.fault) &&
        path.startsWith(fault.path ?? "") &&
        text.includes(fault.holding ?? ""),
    );
    if (found) found.left--;
    return found?.fault.fault;
  }

  isBranchAway(): boolean {
    return this.#all.some(
      ({ fault }) => fault.path === "default-branch" && fault.fault === "status-500",
    );
  }

  add(more: readonly Fault[]): void {
    this.#all.push(...more.map((fault) => ({ fault, left: fault.times ?? Infinity })));
  }

  clear(): void {
    this.#all = [];
  }
}

/** An answer as a target gives it that does not keep to the contract. */
export function spoilt(body: JsonObject, fault: FaultName): JsonObject {
  const results = body["results"] as readonly JsonObject[];
  switch (fault) {
    case "missing-result":
      return { results: results.slice(1) };
    case "wrong-order":
      return { results: results.toReversed() };
    case "duplicate-ids":
      return {
        results: [...results, { ...results[0]!, errors: { request: { __all__: ["twice"] } } }],
      };
    case "null-change-set":
      return { results: results.map((one) => ({ ...one, change_set: null, errors: null })) };
    default:
      return body;
  }
}
