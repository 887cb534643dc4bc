import type { InventoryObject, ObjectId } from "../../contracts/inventory.ts";
import { canonicalJson } from "../../domain/exact-json.ts";
import { objectKeys } from "../../domain/plan-keys.ts";
import type { Registry } from "../../domain/registry.ts";
import type { ObjectWrite } from "../../domain/plan-batch.ts";
import type { Found, Wanted } from "../../domain/plan-overlay.ts";

/** An inventory in memory that refuses what a database would: stale versions, keys held by two. */
export function createMemoryInventory() {
  const objects = new Map<ObjectId, InventoryObject>();
  const keys = new Map<string, ObjectId>();
  let last = 0;
  let questions = 0;
  return {
    objects,
    keys,
    newId: (): ObjectId => `o${++last}`,
    /** How often it was asked. */
    questions: () => questions,
    seed(registry: Registry, seed: readonly InventoryObject[]): void {
      for (const object of seed) {
        objects.set(object.id, object);
        const type = registry.types.get(object.type)!;
        for (const key of objectKeys(type, object.data).values()) keys.set(key, object.id);
      }
    },
    known({ keys: wanted, ids }: Wanted): Found {
      questions++;
      const held = new Map<string, ObjectId>();
      const found = new Set<ObjectId>(ids.filter((id) => objects.has(id)));
      for (const key of wanted) {
        const id = keys.get(key);
        if (id === undefined) continue;
        held.set(key, id);
        found.add(id);
      }
      return { keys: held, objects: [...found].map((id) => objects.get(id)!) };
    },
    apply(writes: readonly ObjectWrite[]): void {
      for (const write of writes) {
        const version = objects.get(write.id)?.version ?? 0;
        if (version !== write.version)
          throw new Error(`${write.id} is at ${version}, not ${write.version}`);
        for (const key of write.droppedKeys) {
          if (keys.get(key) === write.id) keys.delete(key);
          else throw new Error(`${write.id} does not hold ${key}`);
        }
      }
      for (const { id, type, version, data, addedKeys } of writes) {
        objects.set(id, { id, type, version: version + 1, data });
        for (const key of addedKeys) {
          if (keys.has(key)) throw new Error(`${key} is held by ${keys.get(key)!} and ${id}`);
          keys.set(key, id);
        }
      }
      for (const { id, refs } of writes) {
        for (const ref of refs) if (!objects.has(ref)) throw new Error(`${id} refers to ${ref}`);
      }
    },
  };
}

export type MemoryInventory = ReturnType<typeof createMemoryInventory>;

/** Everything in an inventory with references as what they refer to, sorted: ids and versions left out. */
export function contentOf(
  objects: ReadonlyMap<ObjectId, InventoryObject>,
  isRef: (type: string, field: string) => boolean,
): string[] {
  const shown = new Map<ObjectId, string>();
  const show = (id: ObjectId, depth: number): string => {
    const known = shown.get(id);
    if (known !== undefined) return known;
    const object = objects.get(id);
    if (!object) return `gone ${id}`;
    if (depth > 8) return object.type;
    const parts = Object.keys(object.data)
      .toSorted()
      .map((name) => {
        const value = object.data[name]!;
        if (!isRef(object.type, name)) return `${name}=${canonicalJson(value)}`;
        const all = Array.isArray(value) ? (value as ObjectId[]) : [value as ObjectId];
        return `${name}=(${all
          .map((one) => show(one, depth + 1))
          .toSorted()
          .join(", ")})`;
      });
    const text = `${object.type} ${parts.join(" ")}`;
    if (depth === 0) shown.set(id, text);
    return text;
  };
  return [...objects.keys()].map((id) => show(id, 0)).toSorted();
}
