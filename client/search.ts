import type { SearchPage, SearchQuery, SearchStatus, SearchTypeView } from "../contracts/search.ts";
import { labelOf, schemasOf, type SearchRegistry } from "../domain/search.ts";
import type { Context } from "./context.ts";
import { searchAuditClient, type SearchAuditClient } from "./search-audit.ts";
import { searchInstallClient, type SearchInstallClient } from "./search-install.ts";
import { searchMarkClient, type SearchMarkClient } from "./search-mark.ts";
import { searchQuery } from "./search-query.ts";
import { registryOf } from "./search-registry.ts";
import { searchReindexClient, type SearchReindexClient } from "./search-reindex.ts";
import { typesFor } from "./search-scope.ts";
import { searchStatus } from "./search-status.ts";

/** Finding objects by what is written in them, and looking after what makes that true. */
export interface SearchClient
  extends SearchInstallClient, SearchMarkClient, SearchReindexClient, SearchAuditClient {
  /**
   * One result per object, its best field; 50 a page unless `limit` (1 to 200) says otherwise. Who may
   * not see an object does not find it, nor is it counted.
   * @throws InvalidInput naming what is unknown or too broad; Conflict when nothing is installed
   */
  query(query: SearchQuery): Promise<SearchPage>;
  /**
   * Every index with what waits for it and what is wrong, every lane, and how long changes take.
   * @throws Forbidden for a caller of some tenants
   */
  status(): Promise<SearchStatus>;
  /** What is registered, as far as this caller may find anything of it. */
  types(): SearchTypeView[];
}

/** @throws InvalidInput for a configuration whose search part is wrong */
export function searchClient(context: Context): SearchClient {
  const registry = registryOf(context);
  return {
    query: searchQuery(context, registry),
    status: searchStatus(context, registry),
    types: () => typesFor(context, registry).map((type) => viewOf(type, registry)),
    ...searchInstallClient(context, registry),
    ...searchMarkClient(context, registry),
    ...searchReindexClient(context, registry),
    ...searchAuditClient(context, registry),
  };
}

function viewOf(
  type: ReturnType<typeof typesFor>[number],
  { settings }: SearchRegistry,
): SearchTypeView {
  return {
    name: type.name,
    label: labelOf(type),
    category: type.category ?? null,
    schemas: [...schemasOf(type, settings)],
    fields: type.fields.map((field) => ({
      name: field.name,
      label: labelOf(field),
      kind: field.kind,
      weight: field.weight,
    })),
  };
}
