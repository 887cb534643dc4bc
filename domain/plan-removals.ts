import type { ChangeSet, InventoryObject, ObjectId, PlanError } from "../contracts/inventory.ts";
import { ask } from "./plan-batch.ts";
import { titleOf } from "./plan-change-set.ts";
import { planHash } from "./plan-hash.ts";
import { identityOf, shownFields } from "./plan-identity.ts";
import { createDraft, createOverlay, learn, type Found, type Wanted } from "./plan-overlay.ts";
import type { InventoryType, Registry } from "./registry.ts";

/** An object that earlier snapshots of a scope named, and how long the newest ones have not. */
export interface ScopeMember {
  object: InventoryObject;
  /** Time of the first snapshot without it, in milliseconds since the epoch. */
  missingSinceMs?: number | undefined;
}

/** The members that have been missing for longer than the grace period, and may be removed. */
export function removable(
  members: readonly ScopeMember[],
  graceMs: number,
  nowMs: number,
): InventoryObject[] {
  return members
    .filter(
      ({ missingSinceMs }) => missingSinceMs !== undefined && missingSinceMs + graceMs <= nowMs,
    )
    .map(({ object }) => object);
}

export interface RemovalOptions {
  registry: Registry;
  /** What is to go. */
  objects: readonly InventoryObject[];
  /** Ids of what refers to each of them, from anywhere in the inventory. */
  referrers: ReadonlyMap<ObjectId, readonly ObjectId[]>;
  /** Of what refers to them, what is to go by a removal that is not among these. Absent: nothing. */
  goingElsewhere?: ReadonlySet<ObjectId> | undefined;
}

export type PlannedRemoval =
  | { outcome: "planned"; objectId: ObjectId; changeSet: ChangeSet }
  | { outcome: "failed"; objectId: ObjectId; error: PlanError };

/**
 * One change set for each removal, what refers before what is referred to. What something refers to that
 * stays is not removed, and neither is what that one refers to in turn.
 */
export function* planRemovals(options: RemovalOptions): Generator<Wanted, PlannedRemoval[], Found> {
  const { registry, objects, referrers, goingElsewhere: elsewhere = new Set() } = options;
  const overlay = createOverlay(registry);
  learn(overlay, { keys: [], ids: [] }, { objects, keys: new Map() });
  const going = stillGoing(objects, referrers, elsewhere);
  const planned: PlannedRemoval[] = [];
  for (const object of inOrder(registry, objects)) {
    const type = registry.types.get(object.type)!;
    if (!going.has(object.id)) {
      const stay = (id: ObjectId) => !going.has(id) && !elsewhere.has(id);
      const error = referenced(type.name, referrers.get(object.id)!.filter(stay));
      planned.push({ outcome: "failed", objectId: object.id, error });
      continue;
    }
    const changeSet = yield* removalOf(overlay, object, type);
    planned.push({ outcome: "planned", objectId: object.id, changeSet });
  }
  return planned;
}

/** Takes out what something refers to that stays, until nothing more has to stay. */
function stillGoing(
  objects: readonly InventoryObject[],
  referrers: ReadonlyMap<ObjectId, readonly ObjectId[]>,
  elsewhere: ReadonlySet<ObjectId>,
): Set<ObjectId> {
  const going = new Set(objects.map(({ id }) => id));
  for (let before = -1; before !== going.size;) {
    before = going.size;
    for (const id of going) {
      const stays = (from: ObjectId) => !going.has(from) && !elsewhere.has(from);
      if ((referrers.get(id) ?? []).some(stays)) going.delete(id);
    }
  }
  return going;
}

function* removalOf(
  overlay: ReturnType<typeof createOverlay>,
  object: InventoryObject,
  type: InventoryType,
): Generator<Wanted, ChangeSet, Found> {
  for (;;) {
    const draft = createDraft(overlay);
    const identity = identityOf(draft, object.id);
    const before = shownFields(draft, type, object.data, Object.keys(object.data));
    if (draft.wantedIds.size > 0) {
      yield* ask(overlay, { keys: [], ids: [...draft.wantedIds] });
      continue;
    }
    const change = {
      no: 0,
      kind: "delete" as const,
      type: type.name,
      identity,
      objectId: object.id,
      version: object.version,
      before,
      after: {},
      newRefs: [],
      primary: true,
    };
    const changes = [change];
    return {
      title: titleOf(type, identity, "delete"),
      changes,
      hash: planHash(changes),
      warnings: [],
    };
  }
}

/** What refers comes before what it refers to; references that close cycles do not count. */
function inOrder(registry: Registry, objects: readonly InventoryObject[]): InventoryObject[] {
  const byId = new Map(objects.map((object) => [object.id, object]));
  const ordered = new Set<InventoryObject>();
  const open = new Set<InventoryObject>();
  const visit = (object: InventoryObject) => {
    if (ordered.has(object) || open.has(object)) return;
    open.add(object);
    for (const field of registry.types.get(object.type)?.fields.values() ?? []) {
      const value = object.data[field.name];
      if (value === undefined || field.deferred) continue;
      if (field.kind !== "reference" && field.kind !== "references") continue;
      const ids = field.kind === "reference" ? [value as ObjectId] : (value as readonly ObjectId[]);
      for (const id of ids) if (byId.has(id)) visit(byId.get(id)!);
    }
    open.delete(object);
    ordered.add(object);
  };
  for (const object of objects) visit(object);
  return [...ordered].toReversed();
}

/** Ids of what is waited for; more are waited for when these are gone. */
const MOST_WAITED_FOR = 100;

/** What refers to an object of this type is still there: once one of them goes, it is looked at again. */
export function referenced(type: string, by: readonly ObjectId[]): PlanError {
  const many =
    by.length === 1 ? "1 object that stays refers" : `${by.length} objects that stay refer`;
  return {
    fault: "referenced",
    type,
    message: `${many} to this ${type}: remove what refers first`,
    waitsFor: by.slice(0, MOST_WAITED_FOR).map(departureOf),
  };
}

/** By what those who wait know that an object is gone. */
export function departureOf(id: ObjectId): string {
  return `gone:${id}`;
}
