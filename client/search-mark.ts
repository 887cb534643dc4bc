import { setTimeout as pause } from "node:timers/promises";
import {
  Conflict,
  InvalidInput,
  NotFound,
  RefusedByPolicy,
  TimedOut,
} from "../contracts/errors.ts";
import {
  DrainOnce,
  WaitSearchable,
  type Marked,
  type SearchDrained,
} from "../contracts/search-mark.ts";
import { MarkDirty, type SearchType } from "../contracts/search.ts";
import { isIndexDue, nextIndexSchema } from "../db/index-claim.ts";
import { indexDrain } from "../db/index-drain.ts";
import { canonicalKeys } from "../db/index-keys.ts";
import { releaseHeld } from "../db/index-held.ts";
import { ALL_LANES, hasIndexMarksIn, readIndexLanes, recordWorking } from "../db/index-lanes.ts";
import { appendIndexMarks } from "../db/index-marks.ts";
import { applyNow } from "../db/index-now.ts";
import { IndexSources } from "../db/index-sources.ts";
import { isMarked, markPosition, whyNotCurrent, type Awaited } from "../db/index-wait.ts";
import type { Queryable, Tx } from "../db/pool.ts";
import { findIndex } from "../db/search-indexes.ts";
import { onlineWorkers } from "../db/workers.ts";
import { schemasOf, type SearchRegistry } from "../domain/search.ts";
import { asking, assertEveryTenant, assertTenant, type Context } from "./context.ts";
import { parseInput } from "./input.ts";
import { typesFor } from "./search-scope.ts";

export interface SearchMarkClient {
  /**
   * Says that objects are dirty: for what no trigger can see. Part of the caller's transaction, if one
   * is given. With `search.inline` they are brought up to date at once, where that can be done.
   * @throws InvalidInput for an unknown type or a key that is none of it; Conflict when it is not installed
   */
  markDirty(input: MarkDirty, options?: { tx?: Queryable }): Promise<Marked>;
  /** To be asked after a commit: what `waitSearchable` waits for when it is given this. */
  position(): Promise<string>;
  /**
   * Waits until what was committed before can be found.
   * @throws TimedOut when it cannot within `timeoutMs` (10,000), saying what it waits for; Conflict when
   *   waiting does not help, because the source cannot be read or the object is held
   */
  waitSearchable(input?: WaitSearchable): Promise<void>;
  /** Works all marks at once, here, without a worker. What others mark meanwhile is worked as well. */
  drainOnce(input?: DrainOnce): Promise<SearchDrained>;
}

/** Objects of one step of an inline update. */
const KEYS_AT_ONCE = 2_000;

export function searchMarkClient(context: Context, registry: SearchRegistry): SearchMarkClient {
  const { db } = context;
  const sources = new IndexSources(registry);
  return {
    markDirty: (input, options = {}) =>
      asking(() => mark(context, registry, sources, input, options)),
    position: () => asking(() => markPosition(db)),
    waitSearchable: (input = {}) => asking(() => wait(context, registry, sources, input)),
    drainOnce: (input = {}) => asking(() => drain(context, registry, sources, input)),
  };
}

async function mark(
  context: Context,
  registry: SearchRegistry,
  sources: IndexSources,
  input: MarkDirty,
  options: { tx?: Queryable },
): Promise<Marked> {
  const { db, config } = context;
  const { tenant, keys: asked, ...rest } = parseInput(MarkDirty, input);
  if (tenant === undefined) assertEveryTenant(context);
  else assertTenant(context, tenant);
  const type = typeNamed(context, registry, rest.type);
  const schema = schemaMeant(registry, type, rest.schema);
  await assertInstalled(context, schema, type);
  const keys = await canonicalOrInvalid(context, sources, schema, type, asked);
  const tx = options.tx && db.within(options.tx);
  const inline = registry.settings.inline && !config.search?.backend;
  const at = { schema, type, registry, sources };
  for (let from = 0; from < keys.length; from += KEYS_AT_ONCE) {
    const some = keys.slice(from, from + KEYS_AT_ONCE);
    if (!inline) await appendIndexMarks(tx ?? db, schema, type.name, some);
    else if (!(await appliedOrMarked(context, tx, at, some))) {
      const later = keys.slice(from + KEYS_AT_ONCE);
      await appendIndexMarks(tx ?? db, schema, type.name, later);
      return { marked: keys.length, applied: false };
    }
  }
  return { marked: keys.length, applied: inline };
}

// What cannot be done now is done by whoever drains: the writer's own write is not to fail for it.
async function appliedOrMarked(
  { db }: Context,
  tx: Tx | undefined,
  at: { schema: string; type: SearchType; registry: SearchRegistry; sources: IndexSources },
  keys: readonly string[],
): Promise<boolean> {
  const work = (inside: Tx) => applyNow(inside, at, keys);
  const isApplied = await (tx ? work(tx) : db.transaction(work, { withoutJit: true })).catch(
    (error: unknown) => {
      if (error instanceof InvalidInput) throw error;
      return false;
    },
  );
  if (isApplied) return true;
  await appendIndexMarks(tx ?? db, at.schema, at.type.name, keys);
  return false;
}

function typeNamed(context: Context, registry: SearchRegistry, name: string): SearchType {
  const type = registry.types.get(name);
  if (type) return type;
  const names = typesFor(context, registry).map((one) => one.name);
  const known = names.toSorted().join(", ") || "none";
  const message = `no type "${name}" is registered; there are: ${known}`;
  throw new InvalidInput([{ path: "type", message }]);
}

function schemaMeant(
  { settings }: SearchRegistry,
  type: SearchType,
  schema: string | undefined,
): string {
  if (schema === undefined) return schemasOf(type, settings)[0]!;
  if (type.schema === undefined || type.schema === schema) return schema;
  const message = `type "${type.name}" lives in schema ${type.schema}`;
  throw new InvalidInput([{ path: "schema", message }]);
}

async function assertInstalled({ db }: Context, schema: string, type: SearchType): Promise<void> {
  if (await findIndex(db, schema, type.name)) return;
  throw new Conflict(
    "not-installed",
    `type "${type.name}" is not installed in schema ${schema}: run "holdfast search install --type ${type.name} --schema ${schema}"`,
  );
}

async function canonicalOrInvalid(
  { db }: Context,
  sources: IndexSources,
  schema: string,
  type: SearchType,
  keys: readonly string[],
): Promise<string[]> {
  const { source } = await sources.get(db, schema, type, null);
  const answer = await canonicalKeys(db, source, keys);
  if ("keys" in answer) return answer.keys;
  const message = `${JSON.stringify(keys[answer.wrong])} is no key of ${source.table} (${source.keys.map(({ column, type }) => `${column} ${type}`).join(", ")}): ${answer.reason}`;
  throw new InvalidInput([{ path: `keys[${answer.wrong}]`, message }]);
}

const ASK_EVERY_MS = { first: 20, most: 250 };

async function wait(
  context: Context,
  registry: SearchRegistry,
  sources: IndexSources,
  input: WaitSearchable,
): Promise<void> {
  const { db } = context;
  const { timeoutMs, position, ...about } = parseInput(WaitSearchable, input);
  const type = about.type === undefined ? undefined : typeNamed(context, registry, about.type);
  const schema = type
    ? schemaMeant(registry, type, about.schema)
    : (about.schema ?? registry.settings.schemas[0]!);
  const upTo = position ?? (await markPosition(db));
  const keys = await keysMeant(context, sources, schema, type, about.keys);
  const what: Awaited = { schema, type: type?.name, keys, upTo };
  const until = performance.now() + timeoutMs;
  let everyMs = ASK_EVERY_MS.first;
  while (await isMarked(db, what)) {
    if (performance.now() >= until) throw await timedOut(context, what, timeoutMs);
    await pause(Math.min(everyMs, Math.max(1, until - performance.now())));
    everyMs = Math.min(ASK_EVERY_MS.most, everyMs * 1.5);
  }
  const why = await whyNotCurrent(db, what);
  if (why !== undefined) {
    throw new Conflict(
      "not-searchable",
      `what was written cannot be found yet: ${context.tenants === undefined ? why : NOT_FOR_ALL}`,
    );
  }
}

// What an error says may be of any tenant.
const NOT_FOR_ALL = 'an operator sees why in "holdfast search status"';

// Where the table cannot be read, what waits is looked for under the names given.
async function keysMeant(
  context: Context,
  sources: IndexSources,
  schema: string,
  type: SearchType | undefined,
  keys: readonly string[] | undefined,
): Promise<readonly string[] | undefined> {
  if (!type || !keys) return keys;
  return canonicalOrInvalid(context, sources, schema, type, keys).catch((error: unknown) => {
    if (error instanceof NotFound || error instanceof RefusedByPolicy) return keys;
    throw error;
  });
}

async function timedOut(
  context: Context,
  { schema, type }: Awaited,
  timeoutMs: number,
): Promise<TimedOut> {
  const { db } = context;
  const of = type === undefined ? schema : `${schema}.${type}`;
  const failing = (await readIndexLanes(db)).find((lane) => lane.failingSince !== null);
  const why = failing
    ? `lane ${failing.lane} fails since ${failing.failingSince!.toISOString()} (${context.tenants === undefined ? failing.lastError : NOT_FOR_ALL})`
    : (await onlineWorkers(db)).length === 0
      ? 'no worker is alive: start "holdfast worker", or run "holdfast search drain --once"'
      : 'try again with more time; "holdfast search status" shows what waits';
  return new TimedOut(`marks of ${of} were still waiting after ${timeoutMs} ms: ${why}`);
}

async function drain(
  context: Context,
  registry: SearchRegistry,
  sources: IndexSources,
  input: DrainOnce,
): Promise<SearchDrained> {
  assertEveryTenant(context);
  const { db, config } = context;
  const { schema: only, release, timeoutMs } = parseInput(DrainOnce, input);
  const signal = AbortSignal.timeout(timeoutMs);
  const sum: SearchDrained = {
    batches: 0,
    marks: 0,
    objects: 0,
    held: 0,
    released: release ? await released(context, only) : 0,
    left: false,
    news: [],
  };
  const at = indexDrain(db, config, registry, sources);
  // A walk in one lane may mark objects of another that was done with.
  for (let before = -1; before < sum.batches && !signal.aborted;) {
    before = sum.batches;
    for (const lane of ALL_LANES) {
      // The time being over is no fault: what is done is done, the rest waits.
      await drainLane(lane).catch((error: unknown) => {
        if (!signal.aborted) throw error;
      });
    }
  }
  for (const lane of ALL_LANES) sum.left ||= await hasIndexMarksIn(db, lane);
  return sum;

  async function drainLane(lane: number): Promise<void> {
    let served = "";
    while (!signal.aborted) {
      const schema = only === undefined ? await nextIndexSchema(db, lane, served) : only;
      if (schema === undefined || !(await isIndexDue(db, lane, schema))) break;
      served = schema;
      const batch = await at.batch(lane, schema, signal);
      sum.batches++;
      sum.marks += batch.marks;
      sum.objects += batch.objects;
      sum.held += batch.held;
      sum.news.push(...batch.news);
      if (batch.busyMs !== undefined) await pause(batch.busyMs, undefined, { signal });
    }
    await recordWorking(db, lane);
  }
}

async function released({ db }: Context, schema: string | undefined): Promise<number> {
  let sum = 0;
  for (;;) {
    const some = await db.transaction((tx) => releaseHeld(tx, schema));
    if (some === 0) return sum;
    sum += some;
  }
}
