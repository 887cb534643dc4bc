import { Conflict, InvalidInput } from "../contracts/errors.ts";
import type { SearchPage, SearchQuery, SearchType } from "../contracts/search.ts";
import { readSources } from "../db/index-source.ts";
import type { Queryable } from "../db/pool.ts";
import { listIndexes, type SearchIndex } from "../db/search-indexes.ts";
import type { Searched } from "../db/search-live.ts";
import type { SearchRegistry } from "../domain/search.ts";
import type { z } from "zod";
import type { Context } from "./context.ts";

/** Which indexes a query is about. */

export type Parsed = z.output<typeof SearchQuery>;

export interface Scope {
  indexes: Searched[];
  leftOut: SearchPage["leftOut"];
}

/** The types this caller may find anything of: without `visible`, none but callers of all tenants. */
export function typesFor(context: Context, registry: SearchRegistry): SearchType[] {
  const all = [...registry.types.values()];
  return context.tenants === undefined ? all : all.filter((type) => type.visible !== undefined);
}

/** The schema a type is searched in; undefined where the query names another than its own. */
function schemaFor(
  type: SearchType,
  query: { schema?: string | undefined },
  registry: SearchRegistry,
): string | undefined {
  if (query.schema === undefined) return type.schema ?? registry.settings.schemas[0]!;
  return type.schema === undefined || type.schema === query.schema ? query.schema : undefined;
}

/** @throws InvalidInput naming a type, field or schema that is not there, and what is */
export async function scopeOf(
  context: Context,
  registry: SearchRegistry,
  query: Parsed,
  db: Queryable,
): Promise<Scope> {
  const types = chosen(typesFor(context, registry), query);
  const wanted = types.flatMap((type) => {
    const schema = schemaFor(type, query, registry);
    return schema === undefined ? [] : [{ type, schema }];
  });
  const schemas = [...new Set([...wanted.map(({ schema }) => schema), ...named(query.schema)])];
  const installed: SearchIndex[] = [];
  for (const schema of schemas) installed.push(...(await listIndexes(db, schema)));
  if (installed.length === 0) {
    await nothingInstalled(context, registry, db, query.schema ?? schemas[0]!);
  }
  const found = wanted.flatMap(({ type, schema }) => {
    const index = installed.find((one) => one.type === type.name && one.schema === schema);
    if (!index && query.types) throw notInstalled(query, type.name, schema);
    return index ? [{ type, schema, index }] : [];
  });
  assertAllNamed(query, types, found);
  const sources = await readSources(db, found);
  const scope: Scope = { indexes: [], leftOut: [] };
  for (const [no, source] of sources.entries()) {
    const { index, type } = found[no]!;
    const leftOut = (reason: string) => scope.leftOut.push({ type: type.name, reason });
    if (source instanceof Error) leftOut(source.message);
    else if (source.schemaOid !== index.schemaOid) {
      leftOut(`schema ${index.schema} was made anew: run "holdfast search install"`);
    } else scope.indexes.push({ id: index.id, generation: index.generation, source });
  }
  return scope;
}

function chosen(types: SearchType[], query: Parsed): SearchType[] {
  const there = types.map(({ name }) => name);
  const kept = query.types ? types.filter(({ name }) => query.types!.includes(name)) : types;
  for (const [no, name] of (query.types ?? []).entries()) {
    if (!there.includes(name)) throw unknown(`types[${no}]`, `"${name}" is no type`, there);
  }
  const fields = [...new Set(kept.flatMap((type) => type.fields.map(({ name }) => name)))];
  for (const [no, name] of (query.fields ?? []).entries()) {
    if (!fields.includes(name)) {
      const of = query.types ? ` of ${query.types.join(", ")}` : "";
      throw unknown(`fields[${no}]`, `"${name}" is no field${of}`, fields);
    }
  }
  return kept;
}

// A type that lives in a schema of its own is not in the one that is named.
function assertAllNamed(
  query: Parsed,
  types: readonly SearchType[],
  found: readonly { type: SearchType }[],
): void {
  if (!query.types) return;
  const missing = types.find((type) => !found.some((one) => one.type === type));
  if (missing) throw notInstalled(query, missing.name, query.schema ?? "");
}

function notInstalled(query: Parsed, type: string, schema: string): InvalidInput {
  const path = `types[${query.types!.indexOf(type)}]`;
  const message = `"${type}" is not installed in schema ${schema}: run "holdfast search install", or name a schema it is in`;
  return new InvalidInput([{ path, message }]);
}

async function nothingInstalled(
  context: Context,
  registry: SearchRegistry,
  db: Queryable,
  schema: string,
): Promise<never> {
  const seen = new Set(typesFor(context, registry).map(({ name }) => name));
  const findable = (await listIndexes(db)).filter(
    ({ type }) => context.tenants === undefined || seen.has(type),
  );
  const schemas = [...new Set(findable.map((index) => index.schema))];
  if (schemas.length > 0) throw unknown("schema", `no index is in "${schema}"`, schemas);
  throw new Conflict(
    "search-not-installed",
    'nothing is searchable yet: run "holdfast search install"',
  );
}

const SHOWN = 20;

function unknown(path: string, message: string, there: readonly string[]): InvalidInput {
  const names = there.slice(0, SHOWN).join(", ") || "none";
  const more = there.length > SHOWN ? `, and ${there.length - SHOWN} more` : "";
  return new InvalidInput([{ path, message: `${message}: there are ${names}${more}` }]);
}

function named(schema: string | undefined): string[] {
  return schema === undefined ? [] : [schema];
}
