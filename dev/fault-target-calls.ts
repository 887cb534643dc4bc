import type { Json } from "../domain/exact-json.ts";
import type { JsonObject } from "../domain/target-wire.ts";
import type { FaultInventory } from "./fault-inventory.ts";
import type { SeenCall } from "./fault-target.ts";

/** The calls of the contract, done rightly; those for many one after the other, in the order given. */
export function work(
  inventory: FaultInventory,
  path: string,
  body: JsonObject,
  seen: SeenCall,
  deadlock: boolean,
): { status: number; body: JsonObject } {
  const apply = (changes: Json): JsonObject | null =>
    deadlock
      ? { change: { __all__: ["db_deadlock_after_retries"] } }
      : (inventory.apply(changes) ?? null);
  const list = (body["entities"] ?? body["change_sets"] ?? [body]) as JsonObject[];
  seen.entities = list.length;
  if (path.startsWith("bulk-") && (!Array.isArray(list) || list.length === 0)) {
    return { status: 400, body: { errors: { request: { __all__: ["an empty list"] } } } };
  }
  switch (path) {
    case "bulk-plan/":
      return {
        status: 200,
        body: {
          results: list.map((one): JsonObject => ({ id: one["id"]!, ...inventory.plan(one) })),
        },
      };
    case "bulk-apply/": {
      const results = list.map((one): JsonObject => {
        return { id: one["id"]!, errors: apply(one["changes"]!) };
      });
      return {
        status: results.some((one) => one["errors"] !== null) ? 207 : 200,
        body: { results },
      };
    }
    case "bulk-plan-apply/": {
      const results = list.map((one): JsonObject => {
        const { change_set, errors } = inventory.plan(one);
        const id = one["id"]!;
        if (errors) return { id, change_set: null, errors: { plan: errors } };
        const refused = apply(change_set["changes"]!);
        return { id, change_set, errors: refused ? { apply: refused } : null };
      });
      return {
        status: results.some((one) => one["errors"] !== null) ? 207 : 200,
        body: { results },
      };
    }
    case "generate-diff/": {
      const planned = inventory.plan(body);
      return { status: planned.errors ? 400 : 200, body: { id: "1", ...planned } };
    }
    case "apply-change-set/": {
      const errors = apply(body["changes"]!);
      return { status: errors ? 400 : 200, body: { id: body["id"]!, errors } };
    }
    default:
      return { status: 404, body: { detail: "Not found." } };
  }
}
