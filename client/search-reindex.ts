import { v7 as uuidv7 } from "uuid";
import { Conflict, TooLarge } from "../contracts/errors.ts";
import { DEFAULT_TENANT, type Accepted } from "../contracts/operation.ts";
import { ReindexSubmit, type ReindexInput } from "../contracts/reindex.ts";
import { estimateObjects } from "../db/index-build.ts";
import { findOperation } from "../db/operations.ts";
import type { PayloadSlice } from "../db/payloads.ts";
import { digestOf } from "../domain/digest.ts";
import type { SearchRegistry } from "../domain/search.ts";
import { accept, type SubmitOptions } from "./accept.ts";
import { asking, assertEveryTenant, type Context } from "./context.ts";
import { parseInput } from "./input.ts";
import { selectIndexes, type SelectedIndex } from "./search-selection.ts";

/** How to have indexes built anew. */
export interface SearchReindexClient {
  /**
   * Accepts a reindex of some installed indexes, or of all; a worker builds each beside the one that
   * is searched and swaps them. `lazy` leaves out what is current, and joins an open reindex of the
   * same indexes; otherwise that is a conflict.
   * @throws InvalidInput, NotFound, Conflict, Forbidden, Unavailable
   */
  reindex(input?: ReindexSubmit, options?: SubmitOptions): Promise<Accepted>;
}

export function searchReindexClient(
  context: Context,
  registry: SearchRegistry,
): SearchReindexClient {
  return {
    reindex: (input = {}, options = {}) => asking(() => submit(context, registry, input, options)),
  };
}

const MOST_INDEXES = 10_000;
/** Indexes of one sub-batch; ranges are cut from these. */
const BATCH = 100;
const LARGEST_SIZE = 2 ** 31 - 1;

async function submit(
  context: Context,
  registry: SearchRegistry,
  input: ReindexSubmit,
  options: SubmitOptions,
): Promise<Accepted> {
  assertEveryTenant(context);
  const { key, lazy, ...selection } = parseInput(ReindexSubmit, input);
  const db = options.tx ? context.db.within(options.tx) : context.db;
  const selected = await selectIndexes(db, registry, selection);
  if (selected.length > MOST_INDEXES) {
    throw new TooLarge("schemas", `these are ${selected.length} indexes; name some of them`);
  }
  const sizes = await estimateObjects(
    db,
    selected.map(({ index, type }) => ({ schema: index.schema, table: type.table })),
  );
  const items = selected.map((one, place) => ({
    key: nameOf(one),
    size: Math.min(sizes[place]!, LARGEST_SIZE),
    batch: Math.floor(place / BATCH) + 1,
  }));
  const expected = { objects: sizes.reduce((sum, size) => sum + size, 0) };
  const { key: _, ...asked } = input;
  const operation = {
    id: uuidv7(),
    kind: "reindex",
    tenant: DEFAULT_TENANT,
    scope: scopeOf(selected),
    key,
    digest: digestOf({ kind: "reindex", ...asked }),
    exclusiveOn: exclusiveName(selected),
    priority: 3,
    bytes: 0,
    input: { ...selection, lazy, expected } satisfies ReindexInput,
    batches: batchesOf(items),
    items,
  };
  try {
    return await accept(context, operation, nothing, options);
  } catch (error) {
    const joined = lazy && error instanceof Conflict && (await holderOf(context, error));
    if (joined) return joined;
    throw error;
  }
}

const nameOf = ({ index }: SelectedIndex) => `${index.schema}.${index.type}`;

function scopeOf(selected: readonly SelectedIndex[]): string {
  const schemas = new Set(selected.map(({ index }) => index.schema));
  return schemas.size === 1 ? [...schemas][0]! : "";
}

// The same indexes have the same name. Reindexes that share some of them are kept apart index by index:
// one that is being built is nobody else's.
function exclusiveName(selected: readonly SelectedIndex[]): string {
  const names = selected.map(nameOf).join(", ");
  if (Buffer.byteLength(names) <= 300) return names;
  const digest = digestOf(names).toString("hex").slice(0, 32);
  return `${selected.length} indexes (${digest})`;
}

function batchesOf(items: readonly { size: number; batch: number }[]) {
  const batches: { from: number; to: number; size: number }[] = [];
  for (const [place, { size, batch }] of items.entries()) {
    const one = (batches[batch - 1] ??= { from: place + 1, to: place + 1, size: 0 });
    one.to = place + 1;
    one.size += size;
  }
  return batches;
}

// Who built what they are asked to build has built it for both.
async function holderOf(
  context: Context,
  { code, details }: Conflict,
): Promise<Accepted | undefined> {
  if (code !== "exclusive") return undefined;
  const row = await findOperation(context.db, String(details?.["operationId"]));
  if (!row) return undefined;
  const { id, kind, state, total, batches } = row;
  return { id, kind, state, total, batches, existing: true };
}

/** An index has its rows where it is. */
async function* nothing(): AsyncGenerator<PayloadSlice> {
  yield { bytes: Buffer.alloc(0), entries: [] };
}
