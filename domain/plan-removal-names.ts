import type { FieldValue, InventoryObject, ObjectId } from "../contracts/inventory.ts";
import { canonicalJson } from "./exact-json.ts";
import { identityOf } from "./inventory-identity.ts";
import { ask } from "./plan-batch.ts";
import {
  createOverlay,
  learn,
  type Found,
  type KnownObject,
  type Overlay,
  type Wanted,
} from "./plan-overlay.ts";
import type { InventoryField, Matcher, Registry } from "./registry.ts";

/** Ways to name one object that are looked at: its matchers times those of what it refers to. */
const MOST_WAYS = 500;
const MAX_DEPTH = 16;

/**
 * Every identity under which the inbox may know an object: one for each of its complete matchers, and for
 * each way to name what that one refers to, 500 at most.
 */
export function* identitiesOf(
  registry: Registry,
  objects: readonly InventoryObject[],
): Generator<Wanted, Map<ObjectId, readonly string[]>, Found> {
  const overlay = createOverlay(registry);
  learn(overlay, { keys: [], ids: [] }, { objects, keys: new Map() });
  // Every question makes something known, so this ends.
  for (;;) {
    const namer = new Namer(overlay);
    const identities = new Map<ObjectId, readonly string[]>();
    for (const { id, type } of objects) {
      identities.set(
        id,
        namer.waysToName(id).map((name) => identityOf(type, name)),
      );
    }
    if (namer.wanted.size === 0) return identities;
    yield* ask(overlay, { keys: [], ids: [...namer.wanted] });
  }
}

/** Writes names as `entityName` does, from what is stored. */
class Namer {
  readonly wanted = new Set<ObjectId>();
  readonly #overlay: Overlay;
  readonly #known = new Map<ObjectId, readonly string[]>();

  constructor(overlay: Overlay) {
    this.#overlay = overlay;
  }

  waysToName(id: ObjectId, depth = 0): readonly string[] {
    const known = this.#known.get(id);
    if (known) return known;
    const object = this.#overlay.objects.get(id);
    if (!object) {
      if (!this.#overlay.gone.has(id)) this.wanted.add(id);
      return [];
    }
    if (depth > MAX_DEPTH) return [];
    // What is named by way of itself has no name by that way.
    this.#known.set(id, []);
    const ways = object.type.matchers.flatMap((matcher) => this.#byMatcher(object, matcher, depth));
    const some = [...new Set(ways)].slice(0, MOST_WAYS);
    this.#known.set(id, some);
    return some;
  }

  #byMatcher({ type, data }: KnownObject, matcher: Matcher, depth: number): string[] {
    if (matcher.when.some(([name, wanted]) => (data[name] ?? null) !== wanted)) return [];
    let ways: string[][] = [[]];
    for (const { field, optional } of matcher.parts) {
      const value = data[field.name];
      if (value === undefined && !optional) return [];
      const parts = value === undefined ? ["-"] : this.#part(field, value, depth);
      ways = ways.flatMap((way) => parts.map((part) => [...way, part])).slice(0, MOST_WAYS);
    }
    return ways.map((way) => {
      const text = matcher.anyOrder ? way.toSorted().join(" ") : way.join(" ");
      return `${type.name}:${matcher.name}:${text}`;
    });
  }

  #part(field: InventoryField, value: FieldValue, depth: number): string[] {
    const one = (id: ObjectId) => this.waysToName(id, depth + 1).map((name) => `(${name})`);
    if (field.kind === "reference") return one(value as ObjectId);
    if (field.kind !== "references") return [canonicalJson(value)];
    let ways: string[][] = [[]];
    for (const id of value as readonly ObjectId[]) {
      ways = ways.flatMap((way) => one(id).map((name) => [...way, name])).slice(0, MOST_WAYS);
    }
    return ways.map((way) => way.toSorted().join(","));
  }
}
