import type { Entity } from "../contracts/inventory.ts";
import { mergeDuplicates } from "./plan-duplicates.ts";
import { createBatchNodes, layOut } from "./plan-nodes.ts";
import { saysAllOf } from "./plan-supersede.ts";
import type { Registry } from "./registry.ts";

type Saying = Pick<Entity, "type" | "fields">;

/** True when leaving out the older version, where the newer one has been applied, changes nothing. */
export function isSaidBy(registry: Registry, older: Saying, newer: Saying): boolean {
  const batch = createBatchNodes(registry);
  const [of, by] = [older, newer].map(({ type: name, fields }) => {
    const type = registry.types.get(name);
    return type && mergeDuplicates(batch, layOut(batch, type, fields));
  });
  if (!of || !by || "fault" in of || "fault" in by) return false;
  return saysAllOf(by, of);
}
