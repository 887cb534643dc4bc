import { isDeepStrictEqual } from "node:util";
import type {
  Entity,
  Fields,
  FieldValue,
  InventoryObject,
  ObjectId,
  PlanFault,
} from "../../contracts/inventory.ts";
import { slugOf } from "../../domain/plan-merge.ts";
import type { InventoryField, InventoryType, Matcher, Registry } from "../../domain/registry.ts";

/**
 * What an inventory must come to, told as simply as it can be: entities one by one, in the order of
 * acceptance, every object compared with every other. No keys, no batches, nothing remembered.
 */
export interface Oracle {
  readonly objects: ReadonlyMap<ObjectId, InventoryObject>;
  /** What became of the entity; nothing of a refused one stays. */
  apply(entity: Pick<Entity, "type" | "fields">): "changed" | "unchanged" | PlanFault;
}

class Refused extends Error {
  readonly fault: PlanFault;
  constructor(fault: PlanFault) {
    super(fault);
    this.fault = fault;
  }
}

interface Saying {
  type: InventoryType;
  values: Map<string, FieldValue>;
  refs: Map<string, Saying[]>;
  late: Map<string, Saying[]>;
  clear: string[];
  group: Group;
}

interface Group {
  members: Saying[];
}

type World = Map<ObjectId, { id: ObjectId; type: string; data: Record<string, FieldValue> }>;

export function createOracle(registry: Registry, seed: readonly InventoryObject[] = []): Oracle {
  let world: World = new Map(
    seed.map(({ id, type, data }) => [id, { id, type, data: { ...data } }]),
  );
  let last = 0;
  return {
    get objects() {
      return new Map([...world].map(([id, object]) => [id, { ...object, version: 1 }]));
    },
    apply({ type, fields }) {
      const trial: World = new Map(
        [...world].map(([id, o]) => [id, { ...o, data: { ...o.data } }]),
      );
      try {
        applyTo(trial, registry, type, fields, () => `x${++last}`);
      } catch (error) {
        if (error instanceof Refused) return error.fault;
        throw error;
      }
      const same = isDeepStrictEqual(trial, world);
      world = trial;
      return same ? "unchanged" : "changed";
    },
  };
}

function applyTo(
  world: World,
  registry: Registry,
  type: string,
  fields: Fields,
  newId: () => ObjectId,
) {
  const { root, sayings } = expand(registry, registry.types.get(type)!, fields);
  findSame(sayings);
  const groups = [...new Set(sayings.map(({ group }) => group))];
  for (const { members } of groups) agree(members);

  const placed = new Map<Group, ObjectId>();
  const open = new Set<Group>();
  const said = new Map<string, FieldValue | undefined>();
  const place = (group: Group): ObjectId => {
    const done = placed.get(group);
    if (done !== undefined) return done;
    if (open.has(group)) throw new Refused("cycle");
    open.add(group);
    for (const { refs } of group.members) {
      for (const to of refs.values()) for (const one of to) place(one.group);
    }
    const id = observe(
      world,
      group,
      (one) => placed.get(one.group)!,
      group === root.group,
      said,
      newId,
    );
    placed.set(group, id);
    return id;
  };
  // A cycle is one whatever else is wrong.
  refuseCycles(groups, (group) => group);
  for (const group of groups) place(group);
  refuseCycles(groups, (group) => placed.get(group)!);

  const set = new Map<string, ObjectId>();
  for (const { group, late } of sayings) {
    const object = world.get(placed.get(group)!)!;
    const type = registry.types.get(object.type)!;
    if (type.matchOnly) continue;
    for (const [name, to] of late) {
      const emptied = sayings.some(
        (o) => o.clear.includes(name) && placed.get(o.group) === object.id,
      );
      const other = set.get(`${object.id} ${name}`);
      const target = placed.get(to[0]!.group)!;
      if (emptied || (other !== undefined && other !== target)) throw new Refused("conflict");
      set.set(`${object.id} ${name}`, target);
      const ids = to.map((one) => placed.get(one.group)!);
      setRefs(object.data, type.fields.get(name)!, ids);
    }
  }
}

function expand(registry: Registry, type: InventoryType, fields: Fields) {
  const sayings: Saying[] = [];
  const waiting: (() => void)[] = [];
  const say = (type: InventoryType, fields: Fields): Saying => {
    const saying = {
      type,
      values: new Map(),
      refs: new Map(),
      late: new Map(),
      clear: [],
    } as unknown as Saying;
    saying.group = { members: [saying] };
    const nested = (field: InventoryField, value: FieldValue) =>
      (field.kind === "references" ? (value as readonly Fields[]) : [value as Fields]).map(
        (one) => {
          if (!field.generic) return say(registry.types.get(field.targets[0]!)!, one);
          const [name, inner] = Object.entries(one)[0]!;
          return say(registry.types.get(name)!, inner as Fields);
        },
      );
    for (const [name, value] of Object.entries(fields)) {
      if (name === "_clear") {
        saying.clear = [...(value as readonly string[])];
        continue;
      }
      const field = type.fields.get(name)!;
      if (field.deferred) waiting.push(() => saying.late.set(name, nested(field, value)));
      else if (field.kind.startsWith("reference")) saying.refs.set(name, nested(field, value));
      else saying.values.set(name, value);
    }
    // Setting a single value needs no clearing.
    saying.clear = saying.clear.filter((name) => {
      const field = type.fields.get(name);
      const single = field && !["references", "map", "list"].includes(field.kind);
      return !single || fields[name] === undefined;
    });
    sayings.push(saying);
    return saying;
  };
  const root = say(type, fields);
  while (waiting.length > 0) waiting.shift()!();
  return { root, sayings };
}

function findSame(sayings: readonly Saying[]): void {
  for (let merged = true; merged;) {
    merged = false;
    for (const a of sayings) {
      for (const b of sayings) {
        if (a.group === b.group || a.type !== b.type) continue;
        if (!a.type.matchers.some((matcher) => namedAlike(matcher, a, b))) continue;
        const members = [...a.group.members, ...b.group.members];
        const group = { members: sayings.filter((one) => members.includes(one)) };
        for (const one of members) one.group = group;
        merged = true;
      }
    }
  }
}

function namedAlike(matcher: Matcher, a: Saying, b: Saying): boolean {
  const parts = (one: Saying) =>
    matcher.parts.map(({ field }): unknown => {
      const refs = one.refs.get(field.name);
      if (refs) return new Set(refs.map(({ group }) => group));
      return one.values.get(field.name);
    });
  const [left, right] = [parts(a), parts(b)];
  const complete = (values: unknown[]) =>
    matcher.parts.every(({ optional }, no) => optional || values[no] !== undefined);
  const holds = (one: Saying) =>
    matcher.when.every(([name, wanted]) => (one.values.get(name) ?? null) === wanted);
  if (!complete(left) || !complete(right) || !holds(a) || !holds(b)) return false;
  const alike = (x: unknown, y: unknown) =>
    x instanceof Set && y instanceof Set
      ? x.size === y.size && [...x].every((one) => y.has(one))
      : isDeepStrictEqual(x, y);
  if (left.every((value, no) => alike(value, right[no]))) return true;
  return matcher.anyOrder && alike(left[0], right[1]) && alike(left[1], right[0]);
}

/** The same object must be told the same way. */
function agree(members: readonly Saying[]): void {
  for (const a of members) {
    for (const b of members) {
      for (const [name, value] of a.values) {
        const other = b.values.get(name);
        if (other !== undefined && !compatible(a.type.fields.get(name)!, value, other)) {
          throw new Refused("conflict");
        }
      }
      for (const [which, set] of [
        ["refs", a.refs],
        ["late", a.late],
      ] as const) {
        for (const [name, to] of set) {
          const other = b[which].get(name);
          if (!other || a.type.fields.get(name)!.merge) continue;
          const [x, y] = [
            new Set(to.map((one) => one.group)),
            new Set(other.map((one) => one.group)),
          ];
          if (!isSameSet(x, y)) throw new Refused("conflict");
        }
      }
      for (const name of a.clear) {
        const field = name.split(".")[0]!;
        if (!b.clear.includes(name) && (b.values.has(field) || b.refs.has(field))) {
          throw new Refused("conflict");
        }
      }
    }
  }
}

function compatible(field: InventoryField, a: FieldValue, b: FieldValue): boolean {
  if (isDeepStrictEqual(a, b)) return true;
  if (!field.merge) return false;
  if (Array.isArray(a)) return true;
  return Object.entries(a).every(([key, value]) => {
    const other = (b as Fields)[key];
    return other === undefined || isDeepStrictEqual(value, other);
  });
}

function isSameSet<T>(a: ReadonlySet<T>, b: ReadonlySet<T>): boolean {
  return a.size === b.size && [...a].every((one) => b.has(one));
}

function refuseCycles<T>(groups: readonly Group[], nameOf: (group: Group) => T): void {
  const refers = new Map<T, Set<T>>();
  for (const group of groups) {
    const to = refers.get(nameOf(group)) ?? new Set<T>();
    for (const { refs } of group.members) {
      for (const all of refs.values()) for (const one of all) to.add(nameOf(one.group));
    }
    refers.set(nameOf(group), to);
  }
  for (const start of refers.keys()) {
    const reached = new Set<T>();
    const open = [...refers.get(start)!];
    while (open.length > 0) {
      const next = open.pop()!;
      if (next === start) throw new Refused("cycle");
      if (reached.has(next)) continue;
      reached.add(next);
      open.push(...(refers.get(next) ?? []));
    }
  }
}

function observe(
  world: World,
  { members }: Group,
  idOf: (one: Saying) => ObjectId,
  isRoot: boolean,
  said: Map<string, FieldValue | undefined>,
  newId: () => ObjectId,
): ObjectId {
  const { type } = members[0]!;
  const told: Record<string, FieldValue> = {};
  for (const { values, refs } of members) {
    for (const [name, value] of values)
      told[name] = merged(type.fields.get(name)!, told[name], value);
    for (const [name, to] of refs) {
      const field = type.fields.get(name)!;
      const known = field.kind === "references" ? ((told[name] ?? []) as readonly ObjectId[]) : [];
      const ids = [...new Set([...known, ...to.map(idOf)])].toSorted();
      told[name] = field.kind === "reference" ? ids[0]! : ids;
    }
  }
  const clear = new Set(members.flatMap((one) => one.clear));

  let found: [ObjectId, Matcher] | undefined;
  let named = false;
  for (const matcher of type.matchers) {
    if (!isComplete(matcher, told)) continue;
    named = true;
    const other = [...world.values()].find(
      (object) => object.type === type.name && names(matcher, told, object.data),
    );
    if (other && !found) found = [other.id, matcher];
  }
  if (!named) throw new Refused("missing-identity");

  const id = found?.[0] ?? newId();
  rememberSaid(said, id, type, told, clear);
  if (type.matchOnly) {
    if (found) return id;
    throw new Refused("missing-reference");
  }
  const object = world.get(id) ?? { id, type: type.name, data: {} };
  const { data } = object;
  for (const name of clear) {
    const [field, ...rest] = name.split(".");
    if (rest.length === 0) delete data[field!];
    else if (data[field!] !== undefined) {
      const { [rest.join(".")]: _, ...left } = data[field!] as Record<string, FieldValue>;
      if (Object.keys(left).length > 0) data[field!] = left;
      else delete data[field!];
    }
  }
  for (const [name, value] of Object.entries(told)) {
    if (found?.[1].anyOrder && found[1].parts.some(({ field }) => field.name === name)) continue;
    const field = type.fields.get(name)!;
    if (field.kind.startsWith("reference")) {
      setRefs(
        data,
        field,
        field.kind === "reference" ? [value as ObjectId] : (value as ObjectId[]),
      );
    } else data[name] = merged(field, data[name], value);
  }
  if (!found) {
    for (const field of type.fields.values())
      if (field.default !== undefined && !clear.has(field.name)) data[field.name] ??= field.default;
    const slug = type.slug && slugOf((data[type.slug.from] ?? "") as string);
    if (slug && !clear.has(type.slug.field)) data[type.slug.field] ??= slug;
    if (type.need.some(({ name }) => data[name] === undefined)) {
      throw new Refused(isRoot ? "required" : "missing-reference");
    }
    world.set(id, object);
  }
  for (const other of world.values()) {
    if (other.id === id || other.type !== type.name) continue;
    if (
      type.matchers.some((matcher) => isComplete(matcher, data) && names(matcher, data, other.data))
    ) {
      throw new Refused("taken");
    }
  }
  return id;
}

/** Two sayings that turn out to be of one object must agree as well. */
function rememberSaid(
  said: Map<string, FieldValue | undefined>,
  id: ObjectId,
  type: InventoryType,
  told: Fields,
  clear: ReadonlySet<string>,
): void {
  for (const [name, value] of Object.entries(told)) {
    const at = `${id} ${name}`;
    const other = said.get(at);
    if (other !== undefined && !compatible(type.fields.get(name)!, other, value))
      throw new Refused("conflict");
    if (said.has(`${id} clear ${name}`) && !clear.has(name)) throw new Refused("conflict");
    said.set(at, value);
  }
  for (const name of clear) {
    const field = name.split(".")[0]!;
    if (said.has(`${id} ${field}`) && told[field] === undefined) throw new Refused("conflict");
    said.set(`${id} clear ${field}`, undefined);
  }
}

function setRefs(
  data: Record<string, FieldValue>,
  field: InventoryField,
  ids: readonly ObjectId[],
): void {
  if (field.kind === "reference") data[field.name] = ids[0]!;
  else {
    const known = field.merge ? ((data[field.name] ?? []) as readonly ObjectId[]) : [];
    data[field.name] = [...new Set([...known, ...ids])].toSorted();
  }
}

function merged(
  field: InventoryField,
  known: FieldValue | undefined,
  value: FieldValue,
): FieldValue {
  if (!field.merge || known === undefined) return value;
  if (field.kind === "map") return { ...(known as Fields), ...(value as Fields) };
  const list = known as readonly FieldValue[];
  const fresh = (value as readonly FieldValue[]).filter(
    (one) => !list.some((other) => isDeepStrictEqual(one, other)),
  );
  return [...list, ...fresh];
}

function isComplete(matcher: Matcher, data: Fields): boolean {
  return (
    matcher.when.every(([name, wanted]) => (data[name] ?? null) === wanted) &&
    matcher.parts.every(({ field, optional }) => optional || data[field.name] !== undefined)
  );
}

function names(matcher: Matcher, told: Fields, data: Fields): boolean {
  if (!isComplete(matcher, data)) return false;
  const [left, right] = [told, data].map((one) =>
    matcher.parts.map(({ field }) => one[field.name]),
  );
  if (isDeepStrictEqual(left, right)) return true;
  return matcher.anyOrder && isDeepStrictEqual(left, right!.toReversed());
}
