import { InvalidInput, NotFound } from "../contracts/errors.ts";
import type { IndexSelection } from "../contracts/reindex.ts";
import type { SearchType } from "../contracts/search.ts";
import type { Queryable } from "../db/pool.ts";
import { listIndexes, type SearchIndex } from "../db/search-indexes.ts";
import type { SearchRegistry } from "../domain/search.ts";

export interface SelectedIndex {
  index: SearchIndex;
  type: SearchType;
}

/**
 * The installed indexes that are meant: all, or those of some schemas and types. Each name that is
 * given has to mean at least one.
 * @throws InvalidInput for a type nobody registered; NotFound for what is not installed
 */
export async function selectIndexes(
  db: Queryable,
  registry: SearchRegistry,
  { schemas, types }: IndexSelection,
): Promise<SelectedIndex[]> {
  const registered = [...registry.types.keys()].toSorted();
  for (const [place, type] of (types ?? []).entries()) {
    if (registry.types.has(type)) continue;
    const message = `no type "${type}" is registered; there ${listed(registered)}`;
    throw new InvalidInput([{ path: `types[${place}]`, message }]);
  }
  const installed = (await listIndexes(db)).flatMap((index) => {
    const type = registry.types.get(index.type);
    return type ? [{ index, type }] : [];
  });
  const selected = installed.filter(
    ({ index }) =>
      (!schemas || schemas.includes(index.schema)) && (!types || types.includes(index.type)),
  );
  const where = schemas ? ` in ${schemas.join(", ")}` : "";
  for (const schema of schemas ?? []) {
    if (selected.some(({ index }) => index.schema === schema)) continue;
    throw new NotFound(
      "search index",
      `of ${types?.join(", ") ?? "any type"} in schema ${schema}`,
      `it ${listed([...new Set(installed.map(({ index }) => index.schema))])} that have one; "holdfast search install --schema ${schema}" makes it`,
    );
  }
  for (const type of types ?? []) {
    if (selected.some(({ index }) => index.type === type)) continue;
    throw new NotFound(
      "search index",
      `of type ${type}${where}`,
      `"holdfast search install --type ${type}" makes it`,
    );
  }
  if (selected.length > 0) return selected;
  throw new NotFound("search index", "at all", '"holdfast search install" makes them');
}

function listed(names: readonly string[]): string {
  return names.length === 0 ? "are none" : `are ${names.join(", ")}`;
}
