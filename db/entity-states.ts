import { ENTITY_STATES, type EntityState } from "../contracts/inventory.ts";

const NAMES = new Map(
  Object.entries(ENTITY_STATES).map(([name, no]) => [no as number, name as EntityState]),
);

/** The name of a stored state. */
export function nameOf(state: number): EntityState {
  return NAMES.get(state)!;
}
