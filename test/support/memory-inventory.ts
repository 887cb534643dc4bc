import { createHash } from "node:crypto";
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

/**
 * Everything in an inventory, sorted, ids and versions left out: an object is its values and what it
 * refers to, that again by what it refers to, further than any chain of these tests goes.
 */
export function contentOf(
  objects: ReadonlyMap<ObjectId, InventoryObject>,
  isReference: (type: string, field: string) => boolean,
): string[] {
  const show = ({ type, data }: InventoryObject, one: (id: ObjectId) => string) => {
    const parts = Object.keys(data)
      .toSorted()
      .map((name) => {
        const value = data[name]!;
        if (!isReference(type, name)) return `${name}=${canonicalJson(value)}`;
        const ids = Array.isArray(value) ? (value as ObjectId[]) : [value as ObjectId];
        return `${name}=(${ids.map(one).toSorted().join(", ")})`;
      });
    return `${type} ${parts.join(" ")}`;
  };
  let known = new Map<ObjectId, string>();
  for (let round = 0; round < 8; round++) {
    const next = new Map<ObjectId, string>();
    for (const [id, object] of objects) {
      const text = show(object, (to) => (objects.has(to) ? (known.get(to) ?? "") : `gone ${to}`));
      next.set(id, createHash("sha256").update(text).digest("base64").slice(0, 12));
    }
    known = next;
  }
  return [...objects.values()]
    .map((object) => show(object, (to) => known.get(to) ?? "gone"))
    .toSorted();
}
