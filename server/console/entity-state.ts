import type { EntityState } from "../../contracts/inventory.ts";

const WORDS: Partial<Record<EntityState, string>> = {
  open: "waits for a decision",
  no_changes: "no changes",
  pending_retry: "waits to be tried again",
};

/** The state of an entity as it is shown; `approved`: by somebody, and not applied yet. */
export function stateWords(state: EntityState, approved = false): string {
  if (state === "open" && approved) return "approved, to be applied";
  return WORDS[state] ?? state;
}
