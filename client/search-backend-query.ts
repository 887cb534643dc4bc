import { HoldfastError, InvalidInput } from "../contracts/errors.ts";
import type { SearchBackend, SearchPage } from "../contracts/search.ts";
import { inSavepoint, type Tx } from "../db/pool.ts";
import { visibleAmong, type FoundRow } from "../db/search-query.ts";
import type { Context } from "./context.ts";
import { hitsOf, isOfDeclaration } from "./search-hits.ts";
import type { Parsed, Scope } from "./search-scope.ts";

/**
 * Search by an external backend: it says what matches and in which order; which of it is live and
 * may be seen, and how it is shown, is read from the rows.
 */

/** Results of one search that a backend is asked for; there are no pages behind them. */
const CANDIDATES = 2_000;
const BACKEND_TIMEOUT_MS = 10_000;

export async function searchBackend(
  context: Context,
  backend: SearchBackend,
  { indexes, leftOut }: Scope,
  { query, viewer }: { query: Parsed; viewer: Record<string, unknown> },
): Promise<SearchPage> {
  const from = query.after === undefined ? 0 : positionIn(query.after);
  if (indexes.length === 0) return { items: [], total: 0, totalIsExact: true, leftOut };
  const candidates: Candidate[] = [];
  let whole = true;
  for (const schema of new Set(indexes.map(({ source }) => source.schema))) {
    const here = indexes.filter(({ source }) => source.schema === schema);
    const { items, total } = await ask(backend, query, {
      schema,
      types: here.map(({ source }) => source.type.name),
    });
    whole &&= total <= items.length && items.length <= CANDIDATES;
    for (const item of items.slice(0, CANDIDATES)) {
      const index = here.find(({ source }) => source.type.name === item.type);
      if (index) candidates.push({ ...item, indexId: index.id, index });
    }
  }
  return context.db.transaction(
    async (tx) => {
      const visible = await visibleOf(tx, indexes, candidates, viewer);
      const page = visible.slice(from, from + query.limit);
      const rows = page.map((no) => foundRow(candidates[no]!));
      const items = await hitsOf(tx, indexes, query, { rows, marks: ["", ""] });
      const end = from + page.length;
      const next = end < visible.length ? { next: cursorOf(end) } : {};
      return { items, total: visible.length, totalIsExact: whole, leftOut, ...next };
    },
    { readOnly: true, repeatableRead: true, withoutJit: true },
  );
}

// A key that is none of its type would fail the statement: halved until it is alone, and left out.
async function visibleOf(
  tx: Tx,
  indexes: Scope["indexes"],
  candidates: readonly Candidate[],
  viewer: Record<string, unknown>,
): Promise<number[]> {
  if (candidates.length === 0) return [];
  try {
    return await inSavepoint(tx, () => visibleAmong(tx, indexes, candidates, viewer));
  } catch (error) {
    if (!isOfDeclaration(error)) throw error;
    if (candidates.length === 1) return [];
    const half = Math.ceil(candidates.length / 2);
    const first = await visibleOf(tx, indexes, candidates.slice(0, half), viewer);
    const second = await visibleOf(tx, indexes, candidates.slice(half), viewer);
    return [...first, ...second.map((no) => no + half)];
  }
}

interface Candidate {
  indexId: number;
  index: Scope["indexes"][number];
  type: string;
  key: string;
  field: string;
  value: string;
}

function foundRow({ indexId, index, type, key, field, value }: Candidate): FoundRow {
  const declared = index.source.type.fields.find(({ name }) => name === field);
  const weight = declared?.weight ?? index.source.type.fields[0]!.weight;
  return { indexId, place: [weight, type, value, key, field], value, marked: null };
}

async function ask(
  backend: SearchBackend,
  query: Parsed,
  scope: { schema: string; types: readonly string[] },
): ReturnType<SearchBackend["search"]> {
  const { after: _, viewer: __, ...asked } = query;
  const signal = AbortSignal.timeout(BACKEND_TIMEOUT_MS);
  try {
    return await Promise.race([
      backend.search({ ...asked, limit: CANDIDATES }, { ...scope, signal }),
      aborted(signal),
    ]);
  } catch (cause) {
    if (cause instanceof HoldfastError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new HoldfastError(
      "search-backend-failed",
      503,
      `the search backend did not answer (${why}): try again; what is retained and written is not affected`,
      { cause },
    );
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const timedOut = () => reject(new Error(`no answer in ${BACKEND_TIMEOUT_MS / 1_000} s`));
    signal.addEventListener("abort", timedOut, { once: true });
  });
}

function cursorOf(position: number): string {
  return Buffer.from(String(position)).toString("base64url");
}

function positionIn(cursor: string): number {
  const text = Buffer.from(cursor, "base64url").toString();
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw new InvalidInput([{ path: "after", message: "must be the `next` of the page before" }]);
}
