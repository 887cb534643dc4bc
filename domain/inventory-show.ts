import type { Fields, FieldValue, InventoryObject, ObjectId } from "../contracts/inventory.ts";
import { displayValue, identityOf, shownFields } from "./plan-identity.ts";
import {
  createDraft,
  createOverlay,
  learn,
  objectIn,
  type Found,
  type Overlay,
  type Wanted,
} from "./plan-overlay.ts";
import type { InventoryField, InventoryType, Registry } from "./registry.ts";

/** Objects as people and other programs read them: references by what names them, never by id. */

export interface ShownObject {
  /** `Device sw1`. */
  title: string;
  identity: Fields;
  /** Every field, in order of name. */
  attributes: Fields;
}

/** What is known of objects that others refer to; may be used for one page after the other. */
export type Acquaintance = Overlay;

export function newAcquaintance(registry: Registry): Acquaintance {
  return createOverlay(registry);
}

/** Bounds what is kept from page to page. */
export function knowsMany({ objects }: Acquaintance): boolean {
  return objects.size > 20_000;
}

/**
 * Shows objects; yields what must be looked up for it, as often as names are nested. An object of a type
 * that the registry no longer has is shown as it is stored.
 */
export function* showObjects(
  known: Acquaintance,
  objects: readonly InventoryObject[],
): Generator<Wanted, ShownObject[], Found> {
  const { types } = known.registry;
  meet(known, { keys: [], ids: [] }, { objects, keys: new Map() });
  const shown = new Map<ObjectId, ShownObject>();
  for (const object of objects) if (!types.has(object.type)) shown.set(object.id, raw(object));
  for (let left = objects.filter(({ id }) => !shown.has(id)); left.length > 0;) {
    const ids = new Set<ObjectId>();
    left = left.filter(({ id, type, data }) => {
      const draft = createDraft(known);
      const one = shownOf(draft, types.get(type)!, id, data);
      if (draft.wantedIds.size === 0) shown.set(id, one);
      for (const wanted of draft.wantedIds) ids.add(wanted);
      return draft.wantedIds.size > 0;
    });
    if (left.length === 0) break;
    const wanted = { keys: [], ids: [...ids] };
    meet(known, wanted, yield wanted);
    // Kept for all that refer to them, where it can be said already.
    const draft = createDraft(known);
    for (const id of ids) identityOf(draft, id);
  }
  return objects.map(({ id }) => shown.get(id)!);
}

function shownOf(
  draft: ReturnType<typeof createDraft>,
  type: InventoryType,
  id: ObjectId,
  data: Fields,
): ShownObject {
  const identity = identityOf(draft, id);
  return {
    title: titleOf(type, identity),
    identity,
    attributes: shownFields(draft, type, data, Object.keys(data)),
  };
}

function raw({ id, type, data }: InventoryObject): ShownObject {
  return { title: `${type} ${id}`, identity: { id }, attributes: data };
}

/** `Device sw1`. */
export function titleOf(type: InventoryType | undefined, identity: Fields): string {
  return `${type?.label ?? ""} ${displayValue(identity)}`.trim();
}

// Types that the registry no longer has name nothing: what refers to them shows their ids.
function meet(known: Acquaintance, wanted: Wanted, found: Found): void {
  const objects = found.objects.filter(({ type }) => known.registry.types.has(type));
  learn(known, wanted, { ...found, objects });
}

export interface Reference {
  field: string;
  to: ObjectId;
  /** Absent: gone, or of a type that the registry no longer has. */
  type?: string;
  identity?: Fields;
}

/** What an object refers to, in order of fields, once it has been shown. */
export function referencesOf(
  known: Acquaintance,
  { type: name, data }: InventoryObject,
): Reference[] {
  const type = known.registry.types.get(name);
  const draft = createDraft(known);
  return Object.keys(data)
    .toSorted()
    .flatMap((field) =>
      idsIn(type?.fields.get(field), data[field]!).map((to): Reference => {
        const object = objectIn(draft, to);
        if (!object) return { field, to };
        return { field, to, type: object.type.name, identity: identityOf(draft, to) };
      }),
    );
}

/** The fields by which an object refers to another. */
export function fieldsReferringTo(
  registry: Registry,
  { type: name, data }: InventoryObject,
  to: ObjectId,
): string[] {
  const type = registry.types.get(name);
  return Object.keys(data)
    .filter((field) => idsIn(type?.fields.get(field), data[field]!).includes(to))
    .toSorted();
}

function idsIn(field: InventoryField | undefined, value: FieldValue): readonly ObjectId[] {
  if (field?.kind === "reference") return [value as ObjectId];
  return field?.kind === "references" ? (value as readonly ObjectId[]) : [];
}
