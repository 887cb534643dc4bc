import type { ChangeKind, Fields, ObjectId, PlanError } from "../contracts/inventory.ts";
import { contradiction, nestedInItself } from "./plan-contradiction.ts";
import { conflictError, cycleError, uniteValue } from "./plan-duplicates.ts";
import { arrivalKeys } from "./plan-identity.ts";
import { matchKey, objectKeys } from "./plan-keys.ts";
import { completed, observe } from "./plan-merge.ts";
import type { EntityNodes, NodeRefs, PlanNode } from "./plan-nodes.ts";
import { holderOf, mustBeNew, objectIn, type Draft, type KnownObject } from "./plan-overlay.ts";
import type { Matcher } from "./registry.ts";

/** A change as the planner sees it: images with ids. */
interface DraftChange {
  kind: Exclude<ChangeKind, "delete">;
  object: KnownObject;
  before: Fields;
  after: Fields;
}

export interface DraftPlan {
  changes: readonly DraftChange[];
  root: ObjectId;
  /** The object of each node, in order. */
  ids: ReadonlyMap<PlanNode, ObjectId>;
}

/**
 * Plans one entity into a draft. Answers undefined when the target must be asked first; what for is
 * noted in the draft, which is then of no other use.
 */
export function planEntity(
  draft: Draft,
  entity: EntityNodes,
  newId: () => ObjectId,
): DraftPlan | PlanError | undefined {
  const ids = new Map<PlanNode, ObjectId>();
  const idsOf = (refs: NodeRefs) => refs.to.map((node) => ids.get(node)!);
  const changes: DraftChange[] = [];
  const boundBy = new Map<ObjectId, PlanNode>();
  let waiting = false;

  for (const node of entity.nodes) {
    // What refers to something that must be asked for first cannot be told yet.
    if (node.refs.some((refs) => refs.to.some((to) => !ids.has(to)))) {
      waiting = true;
      continue;
    }
    const settled = settledId(draft, node, idsOf);
    if (settled !== undefined && !boundBy.has(settled)) {
      ids.set(node, settled);
      boundBy.set(settled, node);
      const object = draft.overlay.objects.get(settled)!;
      changes.push({ kind: "noop", object, before: object.data, after: object.data });
      continue;
    }
    const match = findMatch(draft, node, idsOf);
    if (match === "ask") {
      waiting = true;
      continue;
    }
    if ("fault" in match) return match;
    const other = match.object && boundBy.get(match.object.id);
    if (other) {
      const conflict = contradiction(other, node, idsOf);
      if (conflict) return conflict;
    }
    const change = match.object
      ? changed(match.object, node, idsOf, match.matcher)
      : created(draft, node, idsOf, node === entity.root, newId);
    if ("fault" in change) return change;
    const taken = stage(draft, change);
    if (taken === "ask") waiting = true;
    else if (taken) return taken;
    ids.set(node, change.object.id);
    if (!other) boundBy.set(change.object.id, node);
    if (!other || change.kind !== "noop") changes.push(change);
  }
  if (waiting) return undefined;
  if (boundBy.size < entity.nodes.length && nestedInItself(entity, ids))
    return cycleError(entity.root);

  const set = new Map<string, ObjectId>();
  for (const { of, field, to } of entity.late) {
    const object = objectIn(draft, ids.get(of)!)!;
    if (object.type.matchOnly) continue;
    const target = ids.get(to[0]!)!;
    const other = set.get(`${object.id} ${field.name}`);
    const cleared = () =>
      entity.nodes.some((node) => node.clear.includes(field.name) && ids.get(node) === object.id);
    if ((other !== undefined && other !== target) || cleared())
      return conflictError(of, field.name);
    set.set(`${object.id} ${field.name}`, target);
    const change = changeTo(object, { ...object.data, [field.name]: target });
    stage(draft, change);
    if (change.kind !== "noop") changes.push(change);
  }
  return { changes, root: ids.get(entity.root)!, ids };
}

/** The object of a node that was looked at before, when nothing has changed since. */
function settledId(
  draft: Draft,
  node: PlanNode,
  idsOf: (refs: NodeRefs) => ObjectId[],
): ObjectId | undefined {
  const settled = draft.overlay.settled.get(node);
  if (!settled) return undefined;
  const { id } = settled.object;
  if (draft.objects.has(id) || draft.overlay.objects.get(id) !== settled.object) return undefined;
  for (let at = 0; at < node.refs.length; at++) {
    const to = node.refs[at]!.to;
    if (to.length > 1) {
      if (idsOf(node.refs[at]!).join() !== settled.refs[at]!.join()) return undefined;
    } else if (idsOf(node.refs[at]!)[0] !== settled.refs[at]![0]) return undefined;
  }
  return id;
}

interface Match {
  object?: KnownObject;
  matcher?: Matcher;
}

/** By matchers in order; the first that is complete and finds somebody binds. */
function findMatch(
  draft: Draft,
  node: PlanNode,
  idsOf: (refs: NodeRefs) => ObjectId[],
): Match | PlanError | "ask" {
  let complete = false;
  let ask = false;
  let match: Match = {};
  for (const matcher of node.type.matchers) {
    const key = nodeKey(node, matcher, idsOf);
    if (key === undefined) continue;
    complete = true;
    const fresh = mustBeNew(draft, matcher, (name) => {
      const refs = node.refs.find(({ field }) => field.name === name);
      return refs ? idsOf(refs) : [];
    });
    const holder = holderOf(draft, key, fresh);
    if (holder === undefined) ask = true;
    else if (holder !== null && !match.object)
      match = { object: objectIn(draft, holder)!, matcher };
  }
  if (ask) return "ask";
  if (complete) return match;
  const ways = node.type.matchers.map(({ parts }) =>
    parts.flatMap(({ field, optional }) => (optional ? [] : field.name)).join(" and "),
  );
  return {
    fault: "missing-identity",
    type: node.type.name,
    message: `nothing names this ${node.type.name}: give ${ways.join(", or ")}`,
  };
}

/** The key that a matcher gives a node, its references being these objects. */
export function nodeKey(
  node: PlanNode,
  matcher: Matcher,
  idsOf: (refs: NodeRefs) => readonly ObjectId[],
): string | undefined {
  return matchKey(node.type, matcher, (field) => {
    const value = node.values.get(field.name);
    if (value !== undefined) return value;
    const refs = node.refs.find((refs) => refs.field === field);
    if (!refs) return undefined;
    const ids = idsOf(refs);
    return field.kind === "reference" ? ids[0]! : [...new Set(ids)].toSorted();
  });
}

function changed(
  object: KnownObject,
  node: PlanNode,
  idsOf: (refs: NodeRefs) => ObjectId[],
  matched: Matcher | undefined,
): DraftChange {
  if (object.type.matchOnly) return changeTo(object, object.data);
  return changeTo(object, observe(object.data, node, idsOf, matched));
}

function changeTo(object: KnownObject, after: Fields): DraftChange {
  const before = object.data;
  // A new image of equal content is no change.
  const same = after === before || sameImage(before, after);
  if (same) return { kind: "noop", object, before, after: before };
  const { id, type, version, base } = object;
  return { kind: "update", object: { id, type, version, base, data: after }, before, after };
}

function sameImage(before: Fields, after: Fields): boolean {
  const names = Object.keys(after);
  if (names.length !== Object.keys(before).length) return false;
  return names.every((name) => {
    const [a, b] = [before[name], after[name]!];
    return (
      a === b || (a !== undefined && typeof b === "object" && uniteValue(a, b, false) !== undefined)
    );
  });
}

function created(
  draft: Draft,
  node: PlanNode,
  idsOf: (refs: NodeRefs) => ObjectId[],
  isRoot: boolean,
  newId: () => ObjectId,
): DraftChange | PlanError {
  const { type } = node;
  const after = completed(type, observe({}, node, idsOf), node.clear);
  const lacking = type.need.find((field) => after[field.name] === undefined);
  if (lacking === undefined && !type.matchOnly) {
    const object: KnownObject = { id: newId(), type, version: 0, base: undefined, data: after };
    return { kind: "create", object, before: {}, after };
  }
  const why = type.matchOnly
    ? `there is no such ${type.name}, and none is ever made: create it in the target`
    : `there is no such ${type.name}, and ${lacking!.name} is needed to make it: give ${lacking!.name}`;
  const error = { type: type.name, ...(lacking && { field: lacking.name }) };
  if (isRoot && !type.matchOnly) return { fault: "required", message: why, ...error };
  return {
    fault: "missing-reference",
    message: `${why}, or send the ${type.name} itself`,
    waitsFor: arrivalKeys(draft, type, after),
    ...error,
  };
}

/** Puts a change into the draft, unless what names the object now names another. */
function stage(
  draft: Draft,
  { kind, object, before, after }: DraftChange,
): PlanError | "ask" | undefined {
  if (kind === "noop") return undefined;
  const { type, id } = object;
  const old = kind === "create" ? new Map<number, string>() : objectKeys(type, before);
  const now = objectKeys(type, after);
  object.keys = now;
  let ask = false;
  for (const [no, key] of now) {
    if (kind === "update" && old.get(no) === key) continue;
    const matcher = type.matchers[no]!;
    const fresh = mustBeNew(draft, matcher, (name) => {
      const value = after[name];
      return value === undefined
        ? []
        : Array.isArray(value)
          ? (value as ObjectId[])
          : [value as ObjectId];
    });
    const holder = holderOf(draft, key, fresh);
    if (holder === undefined) ask = true;
    else if (holder !== null && holder !== id) {
      const names = matcher.parts.map(({ field }) => field.name);
      return {
        fault: "taken",
        type: type.name,
        field: names[0]!,
        message: `${names.join(" and ")} name another ${type.name} already: change that one first`,
      };
    }
  }
  const held = new Set(now.values());
  for (const key of old.values()) {
    if (held.has(key)) continue;
    draft.keys.set(key, null);
    draft.renames = true;
  }
  if (kind === "update" && now.size !== old.size) draft.renames = true;
  for (const key of held) draft.keys.set(key, id);
  draft.objects.set(id, object);
  return ask ? "ask" : undefined;
}
