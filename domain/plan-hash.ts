import { createHash } from "node:crypto";
import type { Change } from "../contracts/inventory.ts";
import { canonicalJson } from "./exact-json.ts";

type Effect = Pick<Change, "kind" | "type" | "identity" | "before" | "after">;

/**
 * What an approval binds to, 64 hex digits: the effects of a plan, as people see them. Ids, versions,
 * no-ops and the order of changes are no part of it, so equal effects have one hash at any time.
 */
export function planHash(changes: readonly Effect[]): string {
  return createHash("sha256").update(effects(changes).join("\n")).digest("hex");
}

/**
 * What is left of an approved plan when its entity is planned again.
 * - `same`: apply it
 * - `part`: every effect that is left was approved, the others are there already (another plan made
 *   the manufacturer that both needed): apply it
 * - `done`: nothing is left to do
 * - `changed`: something would happen that nobody approved: back to review
 */
export type Remainder = "same" | "part" | "done" | "changed";

export function remainderOf(approved: readonly Effect[], now: readonly Effect[]): Remainder {
  const wanted = effects(now);
  if (wanted.length === 0) return "done";
  const allowed = new Map<string, number>();
  for (const effect of effects(approved)) allowed.set(effect, (allowed.get(effect) ?? 0) + 1);
  const total = [...allowed.values()].reduce((sum, count) => sum + count, 0);
  for (const effect of wanted) {
    const left = allowed.get(effect) ?? 0;
    if (left === 0) return "changed";
    allowed.set(effect, left - 1);
  }
  return wanted.length === total ? "same" : "part";
}

function effects(changes: readonly Effect[]): string[] {
  return changes
    .filter(({ kind }) => kind !== "noop")
    .map(({ kind, type, identity, before, after }) =>
      canonicalJson({ kind, type, identity, before, after }),
    )
    .toSorted();
}
