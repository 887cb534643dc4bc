import { hash } from "node:crypto";
import type { Entity, FieldValue, Fields } from "../contracts/inventory.ts";
import { canonicalJson } from "./exact-json.ts";
import type { InventoryField, InventoryType, Matcher, Registry } from "./registry.ts";

/**
 * By what versions of one entity are known to each other in the inbox, 32 hex digits: its type and what
 * its first complete matcher asks for, references by what names them in turn. Two ways to name one
 * object are two identities here; only the inventory knows that they are one. An entity that nothing
 * names is known by all it says.
 */
export function entityIdentity(registry: Registry, { type, fields }: EntitySaying): string {
  const known = registry.types.get(type);
  const text = known ? (namedBy(registry, known, fields) ?? canonicalJson(fields)) : "";
  return hash("sha256", `${type}\n${text}`).slice(0, 32);
}

/** Whether a matcher of its type is complete. */
export function isNamed(registry: Registry, { type, fields }: EntitySaying): boolean {
  const known = registry.types.get(type);
  return known !== undefined && namedBy(registry, known, fields) !== undefined;
}

/** Identities of everything that is nested in an entity and named, each once. */
export function nestedIdentities(registry: Registry, entity: EntitySaying): string[] {
  const identities = new Set<string>();
  const open: EntitySaying[] = [entity];
  for (let one = open.pop(); one; one = open.pop()) {
    for (const inner of nestedIn(registry, one)) {
      if (isNamed(registry, inner)) identities.add(entityIdentity(registry, inner));
      open.push(inner);
    }
  }
  return [...identities];
}

function* nestedIn(registry: Registry, { type, fields }: EntitySaying): Iterable<EntitySaying> {
  const known = registry.types.get(type);
  for (const [name, value] of Object.entries(fields)) {
    const field = known?.fields.get(name);
    if (field?.kind !== "reference" && field?.kind !== "references") continue;
    const all = field.kind === "references" ? (value as readonly Fields[]) : [value as Fields];
    for (const one of all) {
      const target = field.generic ? Object.keys(one)[0]! : field.targets[0]!;
      yield { type: target, fields: field.generic ? (one[target] as Fields) : one };
    }
  }
}

type EntitySaying = Pick<Entity, "type" | "fields">;

function namedBy(registry: Registry, type: InventoryType, fields: Fields): string | undefined {
  for (const matcher of type.matchers) {
    const parts = partsOf(registry, matcher, fields);
    if (parts) return `${type.name}:${matcher.name}:${parts.join(" ")}`;
  }
  return undefined;
}

function partsOf(registry: Registry, matcher: Matcher, fields: Fields): string[] | undefined {
  if (matcher.when.some(([name, wanted]) => (fields[name] ?? null) !== wanted)) return undefined;
  const parts: string[] = [];
  for (const { field, optional } of matcher.parts) {
    const value = fields[field.name];
    if (value === undefined && !optional) return undefined;
    const part = value === undefined ? "-" : shown(registry, field, value);
    if (part === undefined) return undefined;
    parts.push(part);
  }
  return matcher.anyOrder ? parts.toSorted() : parts;
}

function shown(registry: Registry, field: InventoryField, value: FieldValue): string | undefined {
  if (field.kind !== "reference" && field.kind !== "references") return canonicalJson(value);
  const all = field.kind === "references" ? (value as readonly Fields[]) : [value as Fields];
  const names = all.map((one) => {
    const target = field.generic ? Object.keys(one)[0]! : field.targets[0]!;
    const inner = field.generic ? (one[target] as Fields) : one;
    const name = namedBy(registry, registry.types.get(target)!, inner);
    return name === undefined ? undefined : `(${name})`;
  });
  return names.includes(undefined) ? undefined : names.toSorted().join(",");
}
