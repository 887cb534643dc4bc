import type {
  ChangeSet,
  Entity,
  Fields,
  ObjectId,
  PlanDecision,
  PlanError,
} from "../contracts/inventory.ts";
import { changeSetOf, titleOfFields } from "./plan-change-set.ts";
import { mergeDuplicates } from "./plan-duplicates.ts";
import { planEntity, type DraftPlan } from "./plan-entity.ts";
import { arrivalKeys } from "./plan-identity.ts";
import { objectKeys } from "./plan-keys.ts";
import { lookUpAll } from "./plan-look-up.ts";
import { createLateEntities } from "./plan-late.ts";
import { changedFields } from "./plan-merge.ts";
import { createBatchNodes, layOut, type EntityNodes } from "./plan-nodes.ts";
import {
  commit,
  createDraft,
  createOverlay,
  learn,
  type Draft,
  type Found,
  type KnownObject,
  type Overlay,
  type Wanted,
} from "./plan-overlay.ts";
import { findSuperseded } from "./plan-supersede.ts";
import type { Registry } from "./registry.ts";

export interface PlanOptions {
  registry: Registry;
  /** In order of acceptance. */
  entities: readonly Pick<Entity, "type" | "fields" | "warnings">[];
  /** Ids for what is created; without blanks. Some are never used. */
  newId: () => ObjectId;
  /** What becomes of a change set. Later entities see only what is applied. */
  decide: (entity: number, changeSet: ChangeSet) => PlanDecision;
  /** Hears of an entity without a plan before the next one is decided. */
  onFailed?: (entity: number, error: PlanError) => void;
  /** The same of one that changes nothing. */
  onUnchanged?: (entity: number) => void;
  /**
   * Entities that may be left out when a newer one of the batch says all that they say, and is applied.
   * Absent: none.
   */
  mayLeaveOut?: ReadonlySet<number>;
  /** What refers to something that a later entity brings is planned after that one. Else it fails. */
  inAnyOrder?: boolean;
}

export type PlannedEntity =
  /** Everything is as it should be. */
  | { outcome: "unchanged"; objectId: ObjectId; warnings: readonly string[] }
  | { outcome: "planned"; objectId: ObjectId; changeSet: ChangeSet; decision: PlanDecision }
  | { outcome: "failed"; error: PlanError; title: string; warnings: readonly string[] }
  /** A newer entity of the batch, applied, says all that this one says. */
  | { outcome: "superseded"; by: number };

/** The end of one object that the batch changes, however often it did. */
export interface ObjectWrite {
  id: ObjectId;
  type: string;
  /** The version that the plan saw; 0: the object is new. */
  version: number;
  data: Fields;
  /** Names of the fields that end otherwise than they began. */
  fields: readonly string[];
  addedKeys: readonly string[];
  droppedKeys: readonly string[];
  /** What it refers to, each once. */
  refs: readonly ObjectId[];
}

export interface PlannedBatch {
  /** One for each entity, in order. */
  entities: readonly PlannedEntity[];
  /** Entities as they were planned one after another. */
  order: readonly number[];
  /** What applying comes to; created objects after those they refer to, but for closed cycles. */
  writes: readonly ObjectWrite[];
  /** By what those who wait for an applied object know it: digests as in `waitsFor` of an error. */
  arrivals: () => readonly string[];
}

/** Entities that are planned in one go, a few milliseconds each at worst. */
const AT_ONCE = 250;
/** A question for nothing: whoever drives the plan may let others run before it answers. */
const PAUSE: Wanted = { keys: [], ids: [] };

/**
 * Plans a batch against a target that it asks as it goes: each yield names what must be looked up, the
 * answer is what was found. Of a large batch some name nothing, so that others have a turn. Nearly everything is asked for before the first entity is planned, one
 * question for each step of references (site, device, interface); more only when an entity of the batch
 * changes what names an object. An entity is planned as if those before it that are applied had been.
 */
export function* planBatch(options: PlanOptions): Generator<Wanted, PlannedBatch, Found> {
  const { registry, entities, newId, decide } = options;
  const overlay = createOverlay(registry);
  const batch = createBatchNodes(registry);
  const laidOut: (EntityNodes | PlanError)[] = [];
  for (const [no, { type: name, fields }] of entities.entries()) {
    if (isLongSince(no)) yield PAUSE;
    const type = registry.types.get(name);
    laidOut.push(type ? mergeDuplicates(batch, layOut(batch, type, fields)) : unknownType(name));
  }
  yield* lookUpAll(overlay, batch, laidOut);

  const leftOut = leaveOut(laidOut, options.mayLeaveOut);
  const planned: PlannedEntity[] = [];
  const late = options.inAnyOrder ? createLateEntities() : undefined;
  const order = new Set<number>();
  const isLate = (no: number, outcome: PlannedDraft | PlanError) => {
    if (!late || !("fault" in outcome) || outcome.fault !== "missing-reference") return false;
    late.lacks(no, outcome.waitsFor ?? []);
    return true;
  };
  const planAt = function* (no: number): Generator<Wanted, PlannedEntity, Found> {
    const nodes = laidOut[no]!;
    const { type: name, fields, warnings } = entities[no]!;
    const type = registry.types.get(name);
    const outcome = "fault" in nodes ? nodes : yield* planOne(overlay, nodes, warnings, newId);
    const waits = isLate(no, outcome);
    order.delete(no);
    if (!waits) order.add(no);
    if ("fault" in outcome) {
      const title = type ? titleOfFields(type, fields, "failed") : name;
      if (!waits) options.onFailed?.(no, outcome);
      return { outcome: "failed", error: outcome, title, warnings };
    }
    const { draft, plan, changeSet } = outcome;
    const objectId = plan.root;
    if (!changeSet) {
      settle(overlay, plan);
      options.onUnchanged?.(no);
      return { outcome: "unchanged", objectId, warnings };
    }
    const decision = decide(no, changeSet);
    if (decision === "apply") {
      commit(draft);
      settle(overlay, plan);
      if (late && !late.isEmpty()) late.arrived(arrivalsOf(overlay, draft.objects.values()));
    }
    return { outcome: "planned", objectId, changeSet, decision };
  };
  const planLate = function* (): Generator<Wanted, void, Found> {
    for (let again = 1, no = late!.next(); no !== undefined; again++, no = late!.next()) {
      if (isLongSince(again)) yield PAUSE;
      planned[no] = yield* planAt(no);
    }
  };
  for (const no of entities.keys()) {
    if (isLongSince(no)) yield PAUSE;
    if (leftOut.isLeftOut(no)) continue;
    planned[no] = yield* planAt(no);
    if (late) yield* planLate();
    const older = leftOut.by(no);
    if (older.length === 0) continue;
    if (isThere(planned[no])) {
      for (const one of older) {
        planned[one] = { outcome: "superseded", by: no };
        order.add(one);
      }
      continue;
    }
    // Nothing between them speaks of their objects, so the older ones are not too late here.
    for (const one of older) planned[one] = yield* planAt(one);
    planned[no] = yield* planAt(no);
  }
  while (late?.again()) yield* planLate();
  for (const no of late?.rest() ?? []) {
    order.add(no);
    const { error } = planned[no] as PlannedEntity & { outcome: "failed" };
    options.onFailed?.(no, error);
  }
  const writes = writesOf(overlay);
  const typed = () => writes.map(({ type, data }) => ({ type: registry.types.get(type)!, data }));
  const arrivals = () => arrivalsOf(overlay, typed());
  return { entities: planned, order: [...order], writes, arrivals };
}

function isLongSince(no: number): boolean {
  return no > 0 && no % AT_ONCE === 0;
}

function isThere(planned: PlannedEntity): boolean {
  if (planned.outcome === "planned") return planned.decision === "apply";
  return planned.outcome === "unchanged";
}

interface LeftOut {
  isLeftOut(entity: number): boolean;
  /** The older ones that an entity stands for, oldest first. */
  by(entity: number): readonly number[];
}

function leaveOut(
  laidOut: readonly (EntityNodes | PlanError)[],
  may: ReadonlySet<number> | undefined,
): LeftOut {
  if (!may || may.size === 0) return { isLeftOut: () => false, by: () => [] };
  const sound = [...laidOut.keys()].filter((no) => !("fault" in laidOut[no]!));
  const found = findSuperseded(
    sound.map((no) => laidOut[no] as EntityNodes),
    (at) => may.has(sound[at]!),
  );
  const newerOf = new Map([...found].map(([older, newer]) => [sound[older]!, sound[newer]!]));
  const olderOf = new Map<number, number[]>();
  for (const older of newerOf.keys()) {
    // The newest of a chain stands for all of it.
    let newer = newerOf.get(older)!;
    while (newerOf.has(newer)) newer = newerOf.get(newer)!;
    olderOf.set(newer, [...(olderOf.get(newer) ?? []), older]);
  }
  return { isLeftOut: (no) => newerOf.has(no), by: (no) => olderOf.get(no) ?? [] };
}

interface PlannedDraft {
  draft: Draft;
  plan: DraftPlan;
  /** Absent when nothing changes. */
  changeSet?: ChangeSet;
}

function* planOne(
  overlay: Overlay,
  nodes: EntityNodes,
  warnings: readonly string[],
  newId: () => ObjectId,
): Generator<Wanted, PlannedDraft | PlanError, Found> {
  // Every question makes something known, so this ends.
  for (;;) {
    const draft = createDraft(overlay);
    const plan = planEntity(draft, nodes, newId);
    if (plan && "fault" in plan && draft.wantedIds.size === 0) return plan;
    if (plan && !("fault" in plan)) {
      if (plan.changes.every(({ kind }) => kind === "noop")) return { draft, plan };
      const changeSet = changeSetOf(draft, plan, warnings);
      if (draft.wantedIds.size === 0) return { draft, plan, changeSet };
    }
    yield* ask(overlay, { keys: [...draft.wantedKeys], ids: [...draft.wantedIds] });
  }
}

/** Asks the target, unless there is nothing to ask. */
export function* ask(overlay: Overlay, wanted: Wanted): Generator<Wanted, void, Found> {
  if (wanted.keys.length + wanted.ids.length > 0) learn(overlay, wanted, yield wanted);
}

/** Notes what every node came to, so that the next entity with it need not look again. */
function settle(overlay: Overlay, plan: DraftPlan): void {
  for (const [node, id] of plan.ids) {
    const object = overlay.objects.get(id)!;
    if (overlay.settled.get(node)?.object === object) continue;
    const refs = node.refs.map(({ to }) => to.map((one) => plan.ids.get(one)!));
    overlay.settled.set(node, { object, refs });
  }
}

function arrivalsOf(
  overlay: Overlay,
  objects: Iterable<Pick<KnownObject, "type" | "data">>,
): string[] {
  const draft = createDraft(overlay);
  return [...objects].flatMap(({ type, data }) => arrivalKeys(draft, type, data));
}

function writesOf(overlay: Overlay): ObjectWrite[] {
  const writes: ObjectWrite[] = [];
  for (const { id, type, version, base, data, keys } of overlay.objects.values()) {
    if (base === data) continue;
    const fields = changedFields(base ?? {}, data);
    if (base && fields.length === 0) continue;
    const old = new Set(base ? objectKeys(type, base).values() : []);
    const now = new Set((keys ?? objectKeys(type, data)).values());
    const refs = new Set<ObjectId>();
    for (const { name, kind } of type.fields.values()) {
      const value = data[name];
      if (value === undefined) continue;
      if (kind === "reference") refs.add(value as ObjectId);
      else if (kind === "references") for (const to of value as readonly ObjectId[]) refs.add(to);
    }
    writes.push({
      id,
      type: type.name,
      version,
      data,
      fields,
      addedKeys: [...now].filter((key) => !old.has(key)),
      droppedKeys: [...old].filter((key) => !now.has(key)),
      refs: [...refs],
    });
  }
  return writes;
}

function unknownType(name: string): PlanError {
  return {
    fault: "missing-identity",
    type: name,
    message: `${name} is no type of the registry any more: put it back, or drop these entities`,
  };
}

/** Runs a plan against a target that answers at once. */
export function drive<T>(plan: Generator<Wanted, T, Found>, known: (wanted: Wanted) => Found): T {
  let step = plan.next();
  while (!step.done) step = plan.next(known(step.value));
  return step.value;
}

/** Runs a plan against a target that answers in time. */
export async function driveAsync<T>(
  plan: Generator<Wanted, T, Found>,
  known: (wanted: Wanted) => Promise<Found>,
): Promise<T> {
  let step = plan.next();
  while (!step.done) step = plan.next(await known(step.value));
  return step.value;
}
