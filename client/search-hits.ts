import type { SearchHit } from "../contracts/search.ts";
import { inSavepoint, type Tx } from "../db/pool.ts";
import { displayOf, readShown, type Searched, type ShownObject } from "../db/search-live.ts";
import type { FoundPage, FoundRow } from "../db/search-query.ts";
import { labelOf } from "../domain/search.ts";
import { excerptOf, spansOf, unmarked, type Excerpt } from "../domain/search-text.ts";
import type { Parsed } from "./search-scope.ts";

/** Results as they are shown: one read for each type of the page. */
export async function hitsOf(
  tx: Tx,
  indexes: readonly Searched[],
  query: Parsed,
  found: Pick<FoundPage, "rows" | "marks">,
): Promise<SearchHit[]> {
  const hits = new Map<FoundRow, SearchHit>();
  for (const { id, source } of indexes) {
    const rows = found.rows.filter((row) => row.indexId === id);
    if (rows.length === 0) continue;
    const keys = rows.map(({ place: [, , , key] }) => key);
    // What cannot be shown any more is still found, by its key.
    const objects = await inSavepoint(tx, () => readShown(tx, source, keys)).catch(
      (error: unknown): ShownObject[] => {
        if (isOfDeclaration(error)) return [];
        throw error;
      },
    );
    const shown = new Map(objects.map((object) => [object.key, object]));
    for (const row of rows) {
      const [weight, type, , key, name] = row.place;
      const field = source.type.fields.find((one) => one.name === name) ?? { name };
      hits.set(row, {
        type,
        typeLabel: labelOf(source.type),
        schema: source.schema,
        key,
        title: shown.get(key)?.title || key,
        url: source.type.url?.replaceAll("{key}", encodeURIComponent(key)) ?? null,
        field: name,
        fieldLabel: labelOf(field),
        weight,
        ...shownValue(row, found.marks, query, "kind" in field ? field.kind : "text"),
        display: displayOf(source, shown.get(key)),
      });
    }
  }
  return found.rows.flatMap((row) => hits.get(row) ?? []);
}

function shownValue(
  { value, marked }: FoundRow,
  marks: FoundPage["marks"],
  { text, lookup }: Parsed,
  kind: string,
): Excerpt {
  if (marked !== null) {
    const { value, spans } = unmarked(marked, marks);
    return excerptOf(value, spans);
  }
  const spans = spansOf(value, text, lookup);
  // An address written in another way is found as a whole.
  const whole = spans.length === 0 && (kind === "address" || kind === "network");
  return excerptOf(value, whole ? [[0, value.length]] : spans);
}

/** Data that a declaration cannot be applied to, or names that are not there. */
export function isOfDeclaration(error: unknown): boolean {
  return /^(22|42|P0)/.test(sqlState(error));
}

/** The SQLSTATE of an error; empty without one. */
export function sqlState(error: unknown): string {
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === "string" ? code : "";
}
