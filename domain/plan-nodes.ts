import { CLEAR, type Fields, type FieldValue } from "../contracts/inventory.ts";
import { canonicalJson } from "./exact-json.ts";
import type { InventoryField, InventoryType, Registry } from "./registry.ts";

/**
 * What one entity says of one object. Equal sayings of one batch are one node: a thousand lines name
 * about three hundred objects, and each is looked at once.
 */
export interface PlanNode {
  /** Unique in the batch; a node comes after what it refers to. */
  readonly no: number;
  readonly type: InventoryType;
  readonly values: ReadonlyMap<string, FieldValue>;
  /** References that are set at creation. */
  readonly refs: readonly NodeRefs[];
  /** Fields emptied before `values` and `refs` are set: so a list or map is replaced. */
  readonly clear: readonly string[];
}

export interface NodeRefs {
  readonly field: InventoryField;
  readonly to: readonly PlanNode[];
}

/** References that close a cycle, set when everything is there. */
export interface LateRefs extends NodeRefs {
  readonly of: PlanNode;
}

export interface EntityNodes {
  readonly root: PlanNode;
  /** What is referred to comes first; no node twice. */
  readonly nodes: readonly PlanNode[];
  readonly late: readonly LateRefs[];
}

/** The nodes of one batch. */
export interface BatchNodes {
  readonly registry: Registry;
  /** In order of `no`. */
  readonly all: PlanNode[];
  readonly byText: Map<string, PlanNode>;
  /** Nested objects that were laid out before, with all that is nested in them. */
  readonly nested: Map<string, readonly PlanNode[]>;
}

export function createBatchNodes(registry: Registry): BatchNodes {
  return { registry, all: [], byText: new Map(), nested: new Map() };
}

/**
 * An entity as a sequence of nodes. References that close a cycle wait until the rest of the entity is
 * laid out, so that what they lead back to is found and not made from the little they say.
 */
export function layOut(batch: BatchNodes, type: InventoryType, fields: Fields): EntityNodes {
  const nodes = new Set<PlanNode>();
  const late: LateRefs[] = [];
  const waiting: { of: PlanNode; field: InventoryField; value: FieldValue }[] = [];

  const visitAll = (field: InventoryField, value: FieldValue): PlanNode[] => {
    const given = field.kind === "references" ? (value as readonly Fields[]) : [value as Fields];
    return [...new Set(given.map((one) => visitOne(field, one)))];
  };
  const visitOne = (field: InventoryField, given: Fields): PlanNode => {
    if (!field.generic) return visitNested(batch.registry.types.get(field.targets[0]!)!, given);
    const [name] = Object.keys(given);
    return visitNested(batch.registry.types.get(name!)!, given[name!] as Fields);
  };
  // A device stands in the lines of all its ports, word for word: it is laid out once.
  const visitNested = (type: InventoryType, given: Fields): PlanNode => {
    const text = wordsOf(type, given);
    const known = text === undefined ? undefined : batch.nested.get(text);
    if (known) {
      for (const node of known) nodes.add(node);
      return known.at(-1)!;
    }
    const late = waiting.length;
    const node = visit(type, given);
    if (text !== undefined && waiting.length === late) batch.nested.set(text, within(node));
    return node;
  };
  const visit = (type: InventoryType, fields: Fields): PlanNode => {
    const values = new Map<string, FieldValue>();
    const refs: NodeRefs[] = [];
    let deferred: [InventoryField, FieldValue][] | undefined;
    let clear: readonly string[] = [];
    for (const name in fields) {
      const value = fields[name]!;
      if (name === CLEAR) {
        clear = value as readonly string[];
        continue;
      }
      const field = type.fields.get(name);
      // The entity may have been accepted under a registry that knew more.
      if (!field) continue;
      if (field.deferred) (deferred ??= []).push([field, value]);
      else if (field.kind === "reference" || field.kind === "references") {
        refs.push({ field, to: visitAll(field, value) });
      } else values.set(name, value);
    }
    const node = intern(
      batch,
      type,
      values,
      refs,
      clear.length > 0 ? clearedByHand(type, fields, clear) : clear,
    );
    nodes.add(node);
    for (const [field, value] of deferred ?? []) waiting.push({ of: node, field, value });
    return node;
  };

  const root = visit(type, fields);
  for (const { of, field, value } of waiting) late.push({ of, field, to: visitAll(field, value) });
  return { root, nodes: [...nodes], late };
}

/** Undefined when the words hold an integer that JSON.stringify cannot write. */
function wordsOf(type: InventoryType, given: Fields): string | undefined {
  try {
    return type.name + JSON.stringify(given);
  } catch {
    return undefined;
  }
}

/** A node and all it refers to, itself last. */
function within(node: PlanNode): readonly PlanNode[] {
  const all = new Set<PlanNode>();
  const add = (node: PlanNode) => {
    for (const { to } of node.refs) for (const one of to) add(one);
    all.add(node);
  };
  add(node);
  return [...all];
}

/** Setting one value needs no clearing first; only lists and maps differ by it. */
function clearedByHand(type: InventoryType, fields: Fields, clear: readonly string[]): string[] {
  return clear.filter((name) => {
    const field = type.fields.get(name);
    if (!field) return type.fields.has(name.slice(0, Math.max(0, name.indexOf("."))));
    const united = field.kind === "references" || field.kind === "map" || field.kind === "list";
    return united || fields[name] === undefined;
  });
}

/** The node that says exactly this, made if it is the first. */
export function intern(
  batch: BatchNodes,
  type: InventoryType,
  values: ReadonlyMap<string, FieldValue>,
  refs: readonly NodeRefs[],
  clear: readonly string[],
): PlanNode {
  const parts: string[] = [];
  for (const [name, value] of values) parts.push(`${name}=${canonicalJson(value)}`);
  for (const { field, to } of refs) {
    const nos = to.length > 1 ? to.map((node) => node.no).toSorted((a, b) => a - b) : [to[0]!.no];
    parts.push(`${field.name}@${nos.join(",")}`);
  }
  if (clear.length > 0) parts.push(`${CLEAR}=${clear.join(" ")}`);
  const text = `${type.name}\n${parts.toSorted().join("\n")}`;
  const known = batch.byText.get(text);
  if (known) return known;
  const node: PlanNode = { no: batch.all.length, type, values, refs, clear };
  batch.all.push(node);
  batch.byText.set(text, node);
  return node;
}
