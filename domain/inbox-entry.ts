import { hash } from "node:crypto";
import type { Entity, Fields } from "../contracts/inventory.ts";
import { canonicalJson } from "./exact-json.ts";
import { entityName, identitiesSaid, identityOf, nestedIdentities } from "./inventory-identity.ts";
import { MAX_LINE_BYTES, type Rejection } from "./inventory-line.ts";
import type { Registry } from "./registry.ts";

/** An entity as it is written into the inbox: everything about it that needs no database is done. */
export interface InboxEntry {
  type: string;
  /** 32 hex digits. */
  identity: string;
  /** 64 hex digits. */
  hash: string;
  /** Its fields as canonical JSON. */
  text: string;
  /** As JSON. */
  warnings?: string;
  sourceTime?: string;
  branch?: string;
  /** Of a snapshot: identities of what is nested in it, and its own other ones, which it has seen as well. */
  nested?: readonly string[];
}

export function inboxEntry(registry: Registry, entity: Entity, snapshot = false): InboxEntry {
  return entryNamed(entityName(registry, entity), registry, entity, snapshot);
}

function entryNamed(
  name: string | undefined,
  registry: Registry,
  entity: Entity,
  snapshot: boolean,
): InboxEntry {
  const { type, fields, warnings, sourceTime, branch } = entity;
  // Hashed as one text and cut afterwards, because putting it together again would copy it.
  const whole = `${type}\n${canonicalJson(fields)}`;
  const digest = hash("sha256", whole);
  const text = whole.slice(type.length + 1);
  return {
    type,
    identity: identityOf(type, name ?? text),
    hash: digest,
    text,
    ...(warnings.length > 0 && { warnings: JSON.stringify(warnings) }),
    ...(sourceTime !== undefined && { sourceTime }),
    ...(branch !== undefined && { branch }),
    ...(snapshot && {
      nested: [...identitiesSaid(registry, entity), ...nestedIdentities(registry, entity)],
    }),
  };
}

/**
 * The same of an entity from outside, which something has to name, and which has a bound.
 * `snapshot`: with what is nested in it.
 */
export function namedEntry(
  registry: Registry,
  entity: Entity,
  snapshot = false,
): InboxEntry | Rejection {
  const name = entityName(registry, entity);
  if (name === undefined) return unnamed(registry, entity);
  const entry = entryNamed(name, registry, entity, snapshot);
  if (entry.text.length <= MAX_LINE_BYTES) return entry;
  const message = `is longer than ${MAX_LINE_BYTES} bytes: send less in one entity`;
  return { code: "too-long", issues: [{ path: entity.type, message }] };
}

function unnamed(registry: Registry, { type, fields }: { type: string; fields: Fields }) {
  const { matchers } = registry.types.get(type)!;
  const ways = matchers.map(({ parts, when }) => {
    const names = parts.filter(({ optional }) => !optional).map(({ field }) => field.name);
    const values = when.map(([name, value]) =>
      value === null ? `no ${name}` : `${name} ${value}`,
    );
    return names.join(" + ") + (values.length > 0 ? ` (with ${values.join(", ")})` : "");
  });
  const given = Object.keys(fields).slice(0, 10).join(", ");
  const message = `has nothing that names it, only ${given}: give ${ways.join(", or ")}; what is nested needs a name of its own`;
  const rejection: Rejection = { code: "missing-identity", issues: [{ path: type, message }] };
  return rejection;
}
