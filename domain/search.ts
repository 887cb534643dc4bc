import type { HoldfastConfig } from "../contracts/config.ts";
import { SearchSettings, type SearchField, type SearchType } from "../contracts/search.ts";
import { digestOf } from "./digest.ts";
import { builtInTypes } from "./search-built-in.ts";

/** What is registered for search, as one value: settings with defaults, and every type by name. */
export interface SearchRegistry {
  readonly settings: SearchSettings;
  readonly types: ReadonlyMap<string, SearchType>;
  /** The schema Holdfast's own tables live in, where the built-in types are. */
  readonly ownSchema: string;
  /** Objects are indexed by a backend outside Postgres, which keeps no rows of ours. */
  readonly hasBackend: boolean;
}

/**
 * Reads the search part of a configuration.
 * @throws z.ZodError naming what is wrong in it
 */
export function searchRegistry(config: HoldfastConfig, ownSchema: string): SearchRegistry {
  const { backend, ...input } = config.search ?? {};
  const settings = SearchSettings.parse(input);
  const builtIn = settings.builtIn ? builtInTypes(ownSchema) : [];
  const types = new Map([...builtIn, ...settings.types].map((type) => [type.name, type]));
  return { settings, types, ownSchema, hasBackend: backend !== undefined };
}

/** The schemas a type belongs in by default. */
export function schemasOf(type: SearchType, settings: SearchSettings): readonly string[] {
  return type.schema === undefined ? settings.schemas : [type.schema];
}

/** Changes when what index rows are made from changes: the index is then to be built again. */
export function definitionDigest(type: SearchType, language: string): Buffer {
  const { fields, when, table } = type;
  const proseIn = fields.some((field) => field.kind === "prose") ? language : "";
  const made = fields.map((field) => ({ ...field, label: undefined, columns: undefined }));
  return digestOf({ table, when: when ?? "", language: proseIn, fields: made });
}

/** Changes when what the triggers watch changes: capture is then to be installed again. */
export function captureDigest(type: SearchType): Buffer {
  return digestOf({
    version: 1,
    table: type.table,
    watched: watchedColumns(type) ?? "all",
    dependsOn: type.dependsOn,
  });
}

/** Own columns whose change makes an object dirty; undefined: any. */
export function watchedColumns(type: SearchType): readonly string[] | undefined {
  // What a condition reads is not known, so any change may matter.
  if (type.when !== undefined) return undefined;
  const watched = new Set<string>();
  for (const field of type.fields) {
    const columns = columnsOf(field);
    if (!columns) return undefined;
    for (const column of columns) watched.add(column);
  }
  for (const { via } of type.dependsOn) if (via) watched.add(via);
  return [...watched].toSorted();
}

function columnsOf(field: SearchField): readonly string[] | undefined {
  return field.sql === undefined ? [field.column ?? field.name] : field.columns;
}

/** What a field is called for people. */
export function labelOf(thing: { name: string; label?: string | undefined }): string {
  if (thing.label !== undefined) return thing.label;
  const words = thing.name.replaceAll(/[_-]+/g, " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
