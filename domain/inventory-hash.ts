import { hash } from "node:crypto";
import type { Entity } from "../contracts/inventory.ts";
import { canonicalJson } from "./exact-json.ts";

/**
 * SHA-256, 64 hex digits, of what an entity says: its type and fields as canonical JSON. Time, branch,
 * metadata and everything empty are no part of it; `1` and `1.0` are one number.
 */
export function entityHash(entity: Pick<Entity, "type" | "fields">): string {
  return hashOfText(entity.type, canonicalJson(entity.fields));
}

/** The same of fields that are canonical JSON already. */
export function hashOfText(type: string, canonical: string): string {
  return hash("sha256", `${type}\n${canonical}`);
}
