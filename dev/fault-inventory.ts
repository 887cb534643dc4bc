import { randomUUID } from "node:crypto";
import type {
  Fields,
  FieldValue,
  InventoryObject,
  ObjectId,
  PlanError,
} from "../contracts/inventory.ts";
import { parseExactJson, type Json } from "../domain/exact-json.ts";
import { readEntity } from "../domain/inventory-line.ts";
import { drive, planBatch, type ObjectWrite } from "../domain/plan-batch.ts";
import { displayValue } from "../domain/plan-identity.ts";
import { objectKeys } from "../domain/plan-keys.ts";
import type { InventoryType, Registry } from "../domain/registry.ts";
import type { JsonObject } from "../domain/target-wire.ts";
import { createMemoryInventory } from "../test/support/memory-inventory.ts";

/**
 * An inventory in memory that plans and applies as a target outside does: plans speak of what is there,
 * each entity alone; change sets are applied one by one, each whole or not at all.
 */
export interface FaultInventory {
  readonly objects: ReadonlyMap<ObjectId, InventoryObject>;
  /** Times that an object was written, by its id: more than its changes means that one came twice. */
  readonly writes: ReadonlyMap<ObjectId, number>;
  plan(
    entity: Json,
  ): { change_set: JsonObject; errors: null } | { change_set: null; errors: JsonObject };
  /** Undefined: applied. */
  apply(changes: Json): JsonObject | undefined;
}

export function createFaultInventory(
  registry: Registry,
  seed: readonly InventoryObject[] = [],
): FaultInventory {
  const memory = createMemoryInventory();
  memory.seed(registry, seed);
  const writes = new Map<ObjectId, number>();
  return {
    objects: memory.objects,
    writes,
    plan(given) {
      const reading = readEntity(registry, given);
      if (reading.read !== "entity") {
        const text = reading.read === "rejection" ? reading.rejection.issues : "is nothing";
        return failed("entity", "__all__", JSON.stringify(text));
      }
      let last = 0;
      const planned = drive(
        planBatch({
          registry,
          entities: [reading.entity],
          newId: () => `new-${++last}`,
          decide: () => "apply",
        }),
        (wanted) => memory.known(wanted),
      );
      const [entity] = planned.entities;
      if (entity!.outcome === "failed") return ofFault(registry, entity!.error);
      const primary = "objectId" in entity! ? entity.objectId : "";
      const changes = toWire(registry, planned.writes, memory.objects, primary);
      return { change_set: { id: randomUUID(), changes, branch: null }, errors: null };
    },
    apply(changes) {
      const before = new Map(memory.objects);
      const keys = new Map(memory.keys);
      try {
        applyAll(registry, memory, changes as readonly JsonObject[], writes);
        return undefined;
      } catch (error) {
        memory.objects.clear();
        memory.keys.clear();
        for (const [id, object] of before) memory.objects.set(id, object);
        for (const [key, id] of keys) memory.keys.set(key, id);
        return { change: { __all__: [(error as Error).message] } };
      }
    },
  };
}

function failed(type: string, field: string, text: string) {
  return { change_set: null, errors: { [type]: { [field]: [text] } } };
}

function ofFault(registry: Registry, { fault, type, field, message }: PlanError) {
  const name = registry.types.get(type)?.targetName ?? type;
  const text = fault === "missing-reference" ? `This field is required: ${message}` : message;
  return failed(name, field ?? "__all__", text);
}

function toWire(
  registry: Registry,
  writes: readonly ObjectWrite[],
  objects: ReadonlyMap<ObjectId, InventoryObject>,
  primary: ObjectId,
): JsonObject[] {
  const created = new Map<ObjectId, { ref: string; type: string }>();
  for (const { id, type, version } of writes) {
    if (version === 0) created.set(id, { ref: randomUUID(), type });
  }
  const token = (value: FieldValue): FieldValue => {
    if (Array.isArray(value)) return (value as readonly FieldValue[]).map(token);
    const made = typeof value === "string" ? created.get(value) : undefined;
    return made ? `new_object:${made.type}:${made.ref}` : value;
  };
  // The object that the entity is about comes last, as far as what refers to it allows.
  const ordered = [...writes].toSorted(
    (a, b) => Number(a.id === primary) - Number(b.id === primary),
  );
  return ordered.map(({ id, type: name, data, version, fields }): JsonObject => {
    const type = registry.types.get(name)!;
    const old = objects.get(id)?.data ?? {};
    const names = version === 0 ? Object.keys(data) : fields;
    const shown = (from: Fields) =>
      Object.fromEntries(names.map((field) => [field, field in from ? token(from[field]!) : null]));
    return {
      id: randomUUID(),
      change_type: version === 0 ? "create" : "update",
      object_type: type.targetName,
      object_id: version === 0 ? null : id,
      ref_id: created.get(id)?.ref ?? null,
      object_primary_value: displayValue(scalars(type, data)),
      before: version === 0 ? null : shown(old),
      data: shown(data),
      new_refs: names.filter((field) =>
        JSON.stringify(token(data[field] ?? ""), bigText).includes("new_object:"),
      ),
    };
  });
}

const bigText = (_: string, value: unknown) => (typeof value === "bigint" ? String(value) : value);

function scalars(type: InventoryType, data: Fields): Fields {
  const matcher = type.matchers.find(({ parts }) =>
    parts.every(({ field, optional }) => optional || data[field.name] !== undefined),
  );
  const entries = (matcher?.parts ?? []).flatMap(({ field: { name, kind } }) =>
    kind.startsWith("reference") || data[name] === undefined ? [] : [[name, data[name]] as const],
  );
  return Object.fromEntries(entries);
}

type Memory = ReturnType<typeof createMemoryInventory>;

function applyAll(
  registry: Registry,
  memory: Memory,
  changes: readonly JsonObject[],
  writes: Map<ObjectId, number>,
): void {
  const made = new Map<string, ObjectId>();
  const resolved = (value: Json): Json | undefined => {
    if (Array.isArray(value)) {
      const parts = (value as readonly Json[]).map(resolved);
      return parts.includes(undefined) ? undefined : (parts as Json[]);
    }
    if (typeof value !== "string" || !value.startsWith("new_object:")) return value;
    return made.get(value.slice(value.lastIndexOf(":") + 1));
  };
  const late: { id: ObjectId; field: string; value: Json }[] = [];
  const touched = new Set<ObjectId>();
  const left = changes.filter((change) => change["change_type"] !== "noop");
  while (left.length > 0) {
    // What it refers to comes first; in a cycle nothing does.
    const ready = left.findIndex((change) =>
      Object.values((change["data"] ?? {}) as JsonObject).every(
        (value) => value === null || resolved(value) !== undefined,
      ),
    );
    const [change] = left.splice(Math.max(0, ready), 1) as [JsonObject];
    const type = registry.find(String(change["object_type"]))!;
    const said = parseExactJson(JSON.stringify(change["data"] ?? {}, bigText)) as JsonObject;
    const data: Record<string, FieldValue> = {};
    const waiting: [string, Json][] = [];
    for (const [field, value] of Object.entries(said)) {
      const known = value === null ? null : resolved(value);
      if (known === undefined) waiting.push([field, value]);
      else if (known !== null) data[field] = sortedIds(type, field, known as FieldValue);
    }
    let id: ObjectId;
    if (change["change_type"] === "create") {
      // What another change set made meanwhile is found, and brought to what was planned.
      const found = [...objectKeys(type, data).values()].flatMap(
        (key) => memory.keys.get(key) ?? [],
      );
      id = found[0] ?? memory.newId();
      made.set(String(change["ref_id"]), id);
      put(memory, type, id, { ...memory.objects.get(id)?.data, ...data });
    } else {
      id = String(change["object_id"]);
      const object = memory.objects.get(id);
      if (!object) throw new Error(`there is no ${type.name} ${id}`);
      const next: Record<string, FieldValue> = { ...object.data, ...data };
      for (const [field, value] of Object.entries(said)) if (value === null) delete next[field];
      put(memory, type, id, next);
    }
    touched.add(id);
    for (const [field, value] of waiting) late.push({ id, field, value });
  }
  for (const { id, field, value } of late) {
    const known = resolved(value);
    if (known === undefined || known === null) throw new Error(`${field} refers to nothing`);
    const { type, data } = memory.objects.get(id)!;
    const ready = registry.types.get(type)!;
    put(memory, ready, id, { ...data, [field]: sortedIds(ready, field, known as FieldValue) });
  }
  for (const id of touched) writes.set(id, (writes.get(id) ?? 0) + 1);
}

/** Lists of references are sets of ids. */
function sortedIds(type: InventoryType, field: string, value: FieldValue): FieldValue {
  if (type.fields.get(field)?.kind !== "references") return value;
  return [...new Set(value as readonly string[])].toSorted();
}

function put(memory: Memory, type: InventoryType, id: ObjectId, data: Fields): void {
  const old = memory.objects.get(id);
  for (const key of old ? objectKeys(type, old.data).values() : []) memory.keys.delete(key);
  for (const key of objectKeys(type, data).values()) {
    const holder = memory.keys.get(key);
    if (holder !== undefined && holder !== id) throw new Error(`${key} is held by ${holder}`);
    memory.keys.set(key, id);
  }
  memory.objects.set(id, { id, type: type.name, version: (old?.version ?? 0) + 1, data });
}
