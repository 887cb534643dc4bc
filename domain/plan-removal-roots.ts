import type { Entity, InventoryObject, PlanError } from "../contracts/inventory.ts";
import { ask } from "./plan-batch.ts";
import { mergeDuplicates } from "./plan-duplicates.ts";
import { planEntity } from "./plan-entity.ts";
import { lookUpAll } from "./plan-look-up.ts";
import { createBatchNodes, layOut, type EntityNodes } from "./plan-nodes.ts";
import {
  createDraft,
  createOverlay,
  type Found,
  type Overlay,
  type Wanted,
} from "./plan-overlay.ts";
import type { Registry } from "./registry.ts";

/** The object an entity is about, as it is in the target; `gone`: there is none. */
export type Root =
  | { root: "object"; object: InventoryObject }
  | { root: "gone" }
  | { root: "fault"; error: PlanError };

/** An object that could not be made is not there either. */
const ABSENT: ReadonlySet<PlanError["fault"]> = new Set(["required", "missing-reference"]);

/** Finds what removals are about: one answer for each, in order. */
export function* findRoots(
  registry: Registry,
  entities: readonly Pick<Entity, "type" | "fields">[],
): Generator<Wanted, Root[], Found> {
  const overlay = createOverlay(registry);
  const batch = createBatchNodes(registry);
  const laidOut = entities.map(({ type: name, fields }): EntityNodes | PlanError | undefined => {
    const type = registry.types.get(name);
    return type && mergeDuplicates(batch, layOut(batch, type, fields));
  });
  yield* lookUpAll(
    overlay,
    batch,
    laidOut.filter((nodes) => nodes !== undefined),
  );
  const roots: Root[] = [];
  for (const nodes of laidOut) {
    if (!nodes) roots.push({ root: "gone" });
    else if ("fault" in nodes) roots.push({ root: "fault", error: nodes });
    else roots.push(yield* findRoot(overlay, nodes));
  }
  return roots;
}

function* findRoot(overlay: Overlay, nodes: EntityNodes): Generator<Wanted, Root, Found> {
  // Every question makes something known, so this ends.
  for (let made = 0; ;) {
    const draft = createDraft(overlay);
    const plan = planEntity(draft, nodes, () => `new ${++made}`);
    if (plan && draft.wantedIds.size === 0) {
      if ("fault" in plan) {
        return ABSENT.has(plan.fault) ? { root: "gone" } : { root: "fault", error: plan };
      }
      const known = overlay.objects.get(plan.root);
      if (!known?.base || known.type.matchOnly) return { root: "gone" };
      const { id, type, version, base } = known;
      return { root: "object", object: { id, type: type.name, version, data: base } };
    }
    yield* ask(overlay, { keys: [...draft.wantedKeys], ids: [...draft.wantedIds] });
  }
}
