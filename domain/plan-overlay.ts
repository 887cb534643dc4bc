import type { Fields, InventoryObject, ObjectId } from "../contracts/inventory.ts";
import type { PlanNode } from "./plan-nodes.ts";
import type { InventoryType, Matcher, Registry } from "./registry.ts";

/** What must be looked up in the target before planning can go on. Never both empty. */
export interface Wanted {
  keys: readonly string[];
  ids: readonly ObjectId[];
}

/** What a target answers: the wanted objects that are there, and which of the wanted keys they hold. */
export interface Found {
  objects: readonly InventoryObject[];
  keys: ReadonlyMap<string, ObjectId>;
}

/** An object as the batch sees it. A change makes a new one, so the same one means unchanged. */
export interface KnownObject {
  readonly id: ObjectId;
  readonly type: InventoryType;
  /** As it was in the target; 0 when the batch creates it. */
  readonly version: number;
  readonly base: Fields | undefined;
  readonly data: Fields;
  /** Its match keys, once they are known. */
  keys?: ReadonlyMap<number, string>;
}

/** The target as a batch knows it, with what the batch has decided to apply laid over it. */
export interface Overlay {
  readonly registry: Registry;
  readonly objects: Map<ObjectId, KnownObject>;
  /** Who holds a key; null: nobody. A key that is not here has not been asked for. */
  readonly keys: Map<string, ObjectId | null>;
  /** Ids that were asked for and are not there: a reference left hanging. */
  readonly gone: Set<ObjectId>;
  /** Nodes that would change nothing as long as their object, and what they refer to, stays the same. */
  readonly settled: Map<PlanNode, Settled>;
  /** What names each object; forgotten when an object that others may name changes its name. */
  readonly identities: Map<KnownObject, Fields>;
}

interface Settled {
  readonly object: KnownObject;
  readonly refs: readonly (readonly ObjectId[])[];
}

export function createOverlay(registry: Registry): Overlay {
  return {
    registry,
    objects: new Map(),
    keys: new Map(),
    gone: new Set(),
    settled: new Map(),
    identities: new Map(),
  };
}

/** Takes in an answer. What the batch has changed already stays as changed. */
export function learn(overlay: Overlay, wanted: Wanted, found: Found): void {
  for (const { id, type: name, version, data } of found.objects) {
    if (overlay.objects.has(id)) continue;
    const type = overlay.registry.types.get(name);
    if (!type) throw new Error(`object ${id} is a ${name}, which the registry does not know`);
    overlay.objects.set(id, { id, type, version, base: data, data });
  }
  for (const key of wanted.keys) {
    if (!overlay.keys.has(key)) overlay.keys.set(key, found.keys.get(key) ?? null);
  }
  for (const id of wanted.ids) if (!overlay.objects.has(id)) overlay.gone.add(id);
}

/** What an entity would change, kept apart until it is decided. */
export interface Draft {
  readonly overlay: Overlay;
  readonly objects: Map<ObjectId, KnownObject>;
  readonly keys: Map<string, ObjectId | null>;
  /** What was looked for in vain, because nobody has asked for it yet. */
  readonly wantedKeys: Set<string>;
  readonly wantedIds: Set<ObjectId>;
  /** What names an object that was there before has changed. */
  renames: boolean;
}

export function createDraft(overlay: Overlay): Draft {
  return {
    overlay,
    objects: new Map(),
    keys: new Map(),
    wantedKeys: new Set(),
    wantedIds: new Set(),
    renames: false,
  };
}

export function objectIn(draft: Draft, id: ObjectId): KnownObject | undefined {
  return draft.objects.get(id) ?? draft.overlay.objects.get(id);
}

/** Who holds a key: an id, null for nobody, undefined when the target must be asked, which is noted. */
export function holderOf(
  draft: Draft,
  key: string,
  mustBeNew: boolean,
): ObjectId | null | undefined {
  const drafted = draft.keys.get(key);
  if (drafted !== undefined) return drafted;
  const known = draft.overlay.keys.get(key);
  if (known !== undefined) return known;
  if (mustBeNew) return null;
  draft.wantedKeys.add(key);
  return undefined;
}

/** True when a part of the key refers to an object that the batch creates: the target cannot hold it. */
export function mustBeNew(
  draft: Draft,
  matcher: Matcher,
  idsOf: (field: string) => readonly ObjectId[],
): boolean {
  return matcher.parts.some(
    ({ field }) =>
      (field.kind === "reference" || field.kind === "references") &&
      idsOf(field.name).some((id) => {
        const object = objectIn(draft, id);
        return object !== undefined && object.base === undefined;
      }),
  );
}

/** Lays a draft over the target: later entities see it. */
export function commit(draft: Draft): void {
  if (draft.renames) draft.overlay.identities.clear();
  for (const [id, object] of draft.objects) draft.overlay.objects.set(id, object);
  for (const [key, holder] of draft.keys) draft.overlay.keys.set(key, holder);
}
