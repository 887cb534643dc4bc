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
export function entityIdentity(registry: Registry, entity: EntitySaying): string {
  const { type, fields } = entity;
  const name = entityName(registry, entity);
  return identityOf(type, name ?? (registry.types.has(type) ? canonicalJson(fields) : ""));
}

/** The same of a name, or of canonical JSON where nothing names it. */
export function identityOf(type: string, text: string): string {
  return hash("sha256", `${type}\n${text}`).slice(0, 32);
}

/** What its first complete matcher asks for; undefined when none is. */
export function entityName(registry: Registry, { type, fields }: EntitySaying): string | undefined {
  const known = registry.types.get(type);
  return known && namedBy(registry, known, fields);
}

/** Identities of what an entity says in all the ways that it is named, the first one too. */
export function identitiesSaid(registry: Registry, { type, fields }: EntitySaying): string[] {
  const known = registry.types.get(type);
  return (known?.matchers ?? []).flatMap((matcher) => {
    const parts = partsOf(registry, matcher, fields);
    return parts === undefined ? [] : identityOf(type, nameBy(type, matcher, parts));
  });
}

/** Identities of everything that is nested in an entity and named, each once. */
export function nestedIdentities(registry: Registry, entity: EntitySaying): string[] {
  const identities = new Set<string>();
  const open: EntitySaying[] = [entity];
  for (let one = open.pop(); one; one = open.pop()) {
    for (const inner of nestedIn(registry, one)) {
      for (const identity of identitiesSaid(registry, inner)) identities.add(identity);
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
    if (parts !== undefined) return nameBy(type.name, matcher, parts);
  }
  return undefined;
}

function nameBy(type: string, matcher: Matcher, parts: string): string {
  return `${type}:${matcher.name}:${parts}`;
}

function partsOf(registry: Registry, matcher: Matcher, fields: Fields): string | undefined {
  for (const [name, wanted] of matcher.when) {
    if ((fields[name] ?? null) !== wanted) return undefined;
  }
  // What is missing is nearly always a field, so nothing is made before all are there.
  for (const { field, optional } of matcher.parts) {
    if (!optional && fields[field.name] === undefined) return undefined;
  }
  const parts: string[] = [];
  for (const { field } of matcher.parts) {
    const value = fields[field.name];
    const part = value === undefined ? "-" : shown(registry, field, value);
    if (part === undefined) return undefined;
    parts.push(part);
  }
  if (parts.length === 1) return parts[0]!;
  return (matcher.anyOrder ? parts.toSorted() : parts).join(" ");
}

function shown(registry: Registry, field: InventoryField, value: FieldValue): string | undefined {
  switch (field.kind) {
    case "reference":
      return nameOf(registry, field, value as Fields);
    case "references": {
      const names = (value as readonly Fields[]).map((one) => nameOf(registry, field, one));
      return names.includes(undefined) ? undefined : names.toSorted().join(",");
    }
    default:
      return canonicalJson(value);
  }
}

function nameOf(registry: Registry, field: InventoryField, value: Fields): string | undefined {
  const target = field.generic ? Object.keys(value)[0]! : field.targets[0]!;
  const fields = field.generic ? (value[target] as Fields) : value;
  const name = namedBy(registry, registry.types.get(target)!, fields);
  return name === undefined ? undefined : `(${name})`;
}
