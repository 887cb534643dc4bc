import { hash } from "node:crypto";
import type { InventoryType, Registry } from "./registry.ts";

/** By what the match keys of a registry's objects are made: when it differs, so do keys. */
export interface KeyRules {
  /** Of all types, 64 hex digits. */
  fingerprint: string;
  /** By name of type, 16 hex digits. */
  types: Readonly<Record<string, string>>;
}

const known = new WeakMap<Registry, KeyRules>();

export function keyRules(registry: Registry): KeyRules {
  const before = known.get(registry);
  if (before) return before;
  const names = [...registry.types.keys()].toSorted();
  const types = Object.fromEntries(
    names.map((name) => [name, rulesOf(registry.types.get(name)!)] as const),
  );
  const rules = { fingerprint: hash("sha256", JSON.stringify(types)), types };
  known.set(registry, rules);
  return rules;
}

function rulesOf({ matchers }: InventoryType): string {
  const words = matchers.map(({ name, anyOrder, when, parts }) => [
    name,
    anyOrder,
    when,
    parts.map(({ field, optional }) => [field.name, field.kind, optional]),
  ]);
  return hash("sha256", JSON.stringify(words)).slice(0, 16);
}

/** Types whose keys the rules of before do not make as these do. */
export function typesToKeyAgain(
  { types }: KeyRules,
  before: Readonly<Record<string, string>>,
): string[] {
  return Object.keys(types).filter((name) => before[name] !== types[name]);
}
