import { z } from "zod";
import { InvalidInput } from "../contracts/errors.ts";
import { storable } from "../contracts/operation.ts";
import { SearchQuery, type SearchPage } from "../contracts/search.ts";
import type { Searched } from "../db/search-live.ts";
import { assertRegex, asOfNow, searchPage, type Place } from "../db/search-query.ts";
import type { SearchRegistry } from "../domain/search.ts";
import { asking, type Context } from "./context.ts";
import { parseInput } from "./input.ts";
import { searchBackend } from "./search-backend-query.ts";
import { hitsOf, isOfDeclaration, sqlState } from "./search-hits.ts";
import { scopeOf, type Parsed, type Scope } from "./search-scope.ts";

/** Bound on one statement of a search, ms. */
const SEARCH_TIMEOUT_MS = 5_000;

/** Finds objects; see SearchClient. */
export function searchQuery(context: Context, registry: SearchRegistry) {
  return (query: SearchQuery): Promise<SearchPage> =>
    asking(async () => {
      const parsed = parseInput(SearchQuery, query);
      try {
        return await search(context, registry, parsed);
      } catch (error) {
        throw explained(error);
      }
    });
}

async function search(
  context: Context,
  registry: SearchRegistry,
  query: Parsed,
): Promise<SearchPage> {
  const viewer = viewerOf(context, query);
  const { backend } = context.config.search ?? {};
  if (backend) {
    const scope = await scopeOf(context, registry, query, context.db);
    return searchBackend(context, backend, scope, { query, viewer });
  }
  const after = query.after === undefined ? undefined : placeIn(query.after);
  if (query.lookup === "regex") await assertReadable(context, query.text);
  const scope = await scopeOf(context, registry, query, context.db);
  return searchWhatCanBe(context, registry, scope, { query, viewer, after });
}

/** What one search asks, read and checked. */
interface Asked {
  query: Parsed;
  viewer: Record<string, unknown>;
  after: Place | undefined;
}

// A declaration that does not fit its table any more costs its own type, not the search.
async function searchWhatCanBe(
  context: Context,
  registry: SearchRegistry,
  scope: Scope,
  asked: Asked,
): Promise<SearchPage> {
  const { indexes, leftOut } = scope;
  if (indexes.length === 0) return { items: [], total: 0, totalIsExact: true, leftOut };
  try {
    return await readPage(context, registry, scope, asked);
  } catch (error) {
    if (!isOfDeclaration(error)) throw error;
    const good: Searched[] = [];
    for (const index of indexes) {
      const alone = { indexes: [index], leftOut: [] };
      const fault = await readPage(context, registry, alone, asked).catch((cause: unknown) => {
        if (!isOfDeclaration(cause)) throw cause;
        return cause;
      });
      if (!(fault instanceof Error)) good.push(index);
      else leftOut.push({ type: index.source.type.name, reason: MISFIT });
    }
    if (good.length === indexes.length) throw error;
    return searchWhatCanBe(context, registry, { indexes: good, leftOut }, asked);
  }
}

const MISFIT = 'its declaration does not fit its table: see "holdfast search status"';

async function readPage(
  context: Context,
  registry: SearchRegistry,
  { indexes, leftOut }: Scope,
  { query, viewer, after }: Asked,
): Promise<SearchPage> {
  const { text, lookup, fields, limit } = query;
  const { language } = registry.settings;
  return context.db.transaction(
    async (tx) => {
      const now = await asOfNow(tx, indexes);
      if (now.length === 0) return { items: [], total: 0, totalIsExact: true, leftOut };
      const found = await searchPage(tx, now, {
        text,
        lookup,
        fields,
        language,
        viewer,
        after,
        limit: limit + 1,
      });
      if (found.tooBroad) throw tooBroad();
      const rows = found.rows.slice(0, limit);
      const items = await hitsOf(tx, now, query, { ...found, rows });
      const more = found.rows.length > limit;
      const { total, totalIsExact } = found;
      return {
        items,
        total,
        totalIsExact,
        leftOut,
        ...(more ? { next: cursorOf(rows.at(-1)!.place) } : {}),
      };
    },
    {
      readOnly: true,
      repeatableRead: true,
      statementTimeoutMs: SEARCH_TIMEOUT_MS,
      withoutJit: true,
    },
  );
}

/** Tenants are the caller's: a caller of some tenants cannot name others. */
function viewerOf({ tenants }: Context, { viewer }: Parsed): Record<string, unknown> {
  return tenants === undefined ? { ...viewer } : { ...viewer, tenants };
}

const Storable = z.string().superRefine(storable);
const CursorPlace = z.tuple([
  z.number().int().min(1).max(32_767),
  Storable,
  Storable,
  Storable,
  Storable,
]);

function cursorOf(place: Place): string {
  return Buffer.from(JSON.stringify(place)).toString("base64url");
}

function placeIn(cursor: string): Place {
  try {
    return CursorPlace.parse(JSON.parse(Buffer.from(cursor, "base64url").toString()));
  } catch {
    throw new InvalidInput([{ path: "after", message: "must be the `next` of the page before" }]);
  }
}

async function assertReadable({ db }: Context, text: string): Promise<void> {
  const bounded = { readOnly: true, statementTimeoutMs: SEARCH_TIMEOUT_MS };
  await db
    .transaction((tx) => assertRegex(tx, text), bounded)
    .catch((error: unknown) => {
      if (sqlState(error) !== "2201B") throw error;
      const why = (error as Error).message;
      throw new InvalidInput([{ path: "text", message: `is no regular expression: ${why}` }]);
    });
}

/** More is found than can be put in order in time. */
function tooBroad(): InvalidInput {
  const message = "is too broad: write more of it, or name types, fields or another lookup";
  return new InvalidInput([{ path: "text", message }], "too-broad", 422);
}

const OUT_OF_TIME = "57014";

function explained(error: unknown): unknown {
  return sqlState(error) === OUT_OF_TIME ? tooBroad() : error;
}
