import type { SearchRegistry } from "../../domain/search.ts";
import type { RowCheck } from "./check.ts";
import { indexChecks } from "./indexes.ts";
import { captureChecks } from "./search-capture.ts";

/** Invariants of search, which depend on what is registered. */
export function searchChecks(registry: SearchRegistry): readonly RowCheck[] {
  return [...captureChecks(registry), ...indexChecks(registry)];
}
