import type { Fields, FieldValue, ObjectId } from "../contracts/inventory.ts";
import { matchKey } from "./plan-keys.ts";
import type { Found, Wanted } from "./plan-overlay.ts";
import type { InventoryField, InventoryType, Matcher, Registry } from "./registry.ts";

/** Objects by what names them. */

/**
 * The object that an identity names, references in it given by value; the first matcher that finds one
 * counts, as in a plan. Yields what must be looked up.
 */
export function* findByIdentity(
  registry: Registry,
  type: InventoryType,
  identity: Fields,
): Generator<Wanted, ObjectId | undefined, Found> {
  const ids = new Map<string, ObjectId | readonly ObjectId[] | undefined>();
  for (const [name, value] of Object.entries(identity)) {
    const field = type.fields.get(name);
    if (field?.kind === "reference") {
      ids.set(name, yield* findReferred(registry, field, value as Fields));
    } else if (field?.kind === "references") {
      const all: (ObjectId | undefined)[] = [];
      for (const one of value as readonly Fields[]) {
        all.push(yield* findReferred(registry, field, one));
      }
      const known = all.filter((id) => id !== undefined);
      ids.set(name, known.length === all.length ? known.toSorted() : undefined);
    }
  }
  const isUnknown = ({ parts }: Matcher) =>
    parts.some(({ field: { name } }) => ids.has(name) && ids.get(name) === undefined);
  for (const matcher of type.matchers) {
    if (isUnknown(matcher)) continue;
    const key = matchKey(type, matcher, ({ name }) => ids.get(name) ?? identity[name]);
    if (key === undefined) continue;
    const { keys } = yield { keys: [key], ids: [] };
    const id = keys.get(key);
    if (id !== undefined) return id;
  }
  return undefined;
}

function* findReferred(
  registry: Registry,
  field: InventoryField,
  value: Fields,
): Generator<Wanted, ObjectId | undefined, Found> {
  const target = field.generic ? Object.keys(value)[0]! : field.targets[0]!;
  const inner = field.generic ? (value[target] as Fields) : value;
  return yield* findByIdentity(registry, registry.types.get(target)!, inner);
}

/** Text that stands for a number or a truth where a field is one, all the way down. */
export function withTypedText(registry: Registry, type: InventoryType, given: Fields): Fields {
  const entries = Object.entries(given).map(([name, value]): [string, FieldValue] => {
    const field = type.anyCase.get(name);
    return [name, field ? typed(registry, field, value) : value];
  });
  return Object.fromEntries(entries);
}

function typed(registry: Registry, field: InventoryField, value: FieldValue): FieldValue {
  if (typeof value === "string") {
    if (field.kind === "integer" && /^-?\d{1,100}$/.test(value)) {
      return Number.isSafeInteger(Number(value)) ? Number(value) : BigInt(value);
    }
    if (field.kind === "number" && value.trim() !== "" && !Number.isNaN(Number(value))) {
      return Number(value);
    }
    if (field.kind === "boolean" && /^(true|false)$/.test(value)) return value === "true";
    return value;
  }
  if (field.kind !== "reference" || typeof value !== "object" || Array.isArray(value)) return value;
  const inner = value as Fields;
  if (!field.generic) {
    return withTypedText(registry, registry.types.get(field.targets[0]!)!, inner);
  }
  return Object.fromEntries(
    Object.entries(inner).map(([name, one]) => {
      const type = registry.find(name);
      return [
        name,
        type && typeof one === "object" ? withTypedText(registry, type, one as Fields) : one,
      ];
    }),
  );
}

/**
 * Where the keys of objects whose names begin like this stand, matcher by matcher: what is from `from`
 * on and before `to`, byte by byte. Only names that begin with a text or a number can be found so.
 */
export function keyRanges(type: InventoryType, text: string): { from: string; to: string }[] {
  return namedFirst(type).map((matcher) => {
    const { kind } = matcher.parts[0]!.field;
    const begun = kind === "text" ? JSON.stringify(text).slice(0, -1) : text;
    const from = `${type.name}:${matcher.name}:${begun}`;
    return { from, to: `${from}\u{10FFFF}` };
  });
}

function namedFirst(type: InventoryType): Matcher[] {
  return type.matchers.filter(
    ({ anyOrder, parts }) => !anyOrder && ["text", "integer"].includes(parts[0]!.field.kind),
  );
}
