import { classify } from "../domain/faults.ts";
import { gather, writePlace, type Fan, type TypeWork, type Walk } from "../domain/index-batch.ts";
import type { SearchRegistry } from "../domain/search.ts";
import {
  applyKeys,
  liveKeys,
  nextChildren,
  nextIndexedKeys,
  nextLiveKeys,
  removeKeys,
  type Indexed,
} from "./index-apply.ts";
import {
  appendDerived,
  appendRest,
  claimIndexMarks,
  nothingDone,
  type IndexBatch,
  type IndexDrain,
} from "./index-claim.ts";
import {
  clearDrifted,
  isUnreadable,
  readSchemaState,
  setDrifted,
  settleSchema,
  UNREGISTERED,
  whyStillDrifted,
  whyUnreadable,
  type IndexState,
  type SchemaState,
} from "./index-drift.ts";
import { holdObject, unholdObjects } from "./index-held.ts";
import { ALL_LANES, recordApplied } from "./index-lanes.ts";
import type { IndexSources } from "./index-sources.ts";
import { ownIndexLanes } from "./locks.ts";
import { inSavepoint, type Db, type Tx } from "./pool.ts";

/**
 * The drain where the index is in Postgres: a batch is one transaction that takes marks away and does
 * what they ask for, so that it happens once, whoever dies.
 */

/** Objects of one step of a walk, and of a fan. */
const PAGE = 2_000;
const CHILDREN = 5_000;

/** Bound on one statement; what takes longer is tried in halves. */
const STATEMENT_MS = 60_000;

export function drainInPostgres(
  db: Db,
  registry: SearchRegistry,
  sources: IndexSources,
): IndexDrain {
  return {
    async batch(lane, schema, signal) {
      for (;;) {
        signal.throwIfAborted();
        try {
          return await db.transaction((tx) => batch(tx, registry, sources, lane, schema), {
            statementTimeoutMs: STATEMENT_MS,
            withoutJit: true,
          });
        } catch (error) {
          if (!(error instanceof SchemaReplaced)) throw error;
        }
        const { more, news } = await settleSchema(db, registry, schema);
        if (!more) return { ...nothingDone(), news };
      }
    },
  };
}

/** The schema is not the one that was installed. The batch is undone: its marks are where they were. */
class SchemaReplaced extends Error {}

/** A batch at work, wherever its objects are indexed. */
export interface Batch {
  tx: Tx;
  registry: SearchRegistry;
  sources: IndexSources;
  lane: number;
  schema: string;
  state: SchemaState;
  done: IndexBatch;
  /** Does what is asked of a type whose source can be read. All or nothing: it may be called again. */
  work(it: Batch, index: IndexState, indexed: Indexed, work: TypeWork): Promise<void>;
}

async function batch(
  tx: Tx,
  registry: SearchRegistry,
  sources: IndexSources,
  lane: number,
  schema: string,
): Promise<IndexBatch> {
  await prepare(tx);
  await ownIndexLanes(tx, schema, [lane]);
  const marks = await claimIndexMarks(tx, lane, schema);
  if (marks.length === 0) return nothingDone();
  const works = gather(marks);
  const names = works.map(({ type }) => type);
  const state = await readSchemaState(tx, registry, schema, names);
  if (isReplaced(state)) throw new SchemaReplaced();
  const done = { ...nothingDone(), marks: marks.length };
  const it: Batch = { tx, registry, sources, lane, schema, state, done, work: workSource };
  for (const work of works) await workType(it, work);
  const since = works.flatMap((work) => work.since);
  await recordApplied(tx, lane, { objects: done.objects, since });
  return done;
}

// A table that is locked is waited out elsewhere, so that a statement cut off is one that is slow.
async function prepare(tx: Tx): Promise<void> {
  await tx.query("set local lock_timeout = '10s'");
}

export function isReplaced({ oid, indexes }: SchemaState): boolean {
  return oid === null || [...indexes.values()].some(({ schemaOid }) => schemaOid !== oid);
}

/** What a batch asks of one type, as far as its source can be read. */
export async function workType(it: Batch, work: TypeWork): Promise<void> {
  const { tx, registry, schema, state, done } = it;
  const index = state.indexes.get(work.type);
  if (!index) {
    done.news.push(`marks of ${schema}.${work.type} are dropped: no such index is installed`);
    return;
  }
  if (index.driftedAt) {
    if (!index.retryIsDue) return;
    const reason = await whyStillDrifted(tx, registry, it.sources, index);
    if (reason !== undefined) return setDrifted(tx, index, reason);
    await clearDrifted(tx, index);
    done.news.push(`${schema}.${work.type} can be read again: it is brought up to date`);
  }
  await workReadable(it, index, work);
}

// A source that changed while we looked is read once more before it is said to have drifted.
async function workReadable(it: Batch, index: IndexState, work: TypeWork): Promise<void> {
  const { tx, registry, sources, schema, done } = it;
  const type = registry.types.get(work.type);
  let reason = UNREGISTERED;
  let stamp = index.stamp;
  for (let tries = 0; type && tries < 2; tries++) {
    let indexed: Indexed | undefined;
    const before = { ...done };
    try {
      const readable = (indexed = await sources.get(tx, schema, type, stamp));
      return await inSavepoint(tx, () => it.work(it, index, readable, work));
    } catch (error) {
      Object.assign(done, { objects: before.objects, held: before.held });
      if (isOfTheObjects(error)) {
        // Not of one object, or it would be held: the others of the lane go on without this type.
        reason = (error as Error).message;
        break;
      }
      if (!isUnreadable(error)) throw error;
      const why = indexed ? await whyUnreadable(tx, indexed) : (error as Error).message;
      // The source is well, so the fault is ours: it must not look like drift.
      if (why === undefined && tries > 0) throw error;
      reason = why ?? "";
      stamp = null;
      sources.forget(schema, type);
    }
  }
  await setDrifted(tx, index, reason);
  done.news.push(`${schema}.${work.type} cannot be read: ${reason}`);
}

async function workSource(
  it: Batch,
  index: IndexState,
  indexed: Indexed,
  work: TypeWork,
): Promise<void> {
  await applyAll(it, index, indexed, work.keys);
  if (work.walk) await walk(it, index, indexed, work.walk);
  for (const fan of work.fans) await spread(it, index, indexed, fan);
}

async function applyAll(
  it: Batch,
  index: IndexState,
  indexed: Indexed,
  keys: readonly string[],
): Promise<void> {
  if (keys.length === 0) return;
  const { tx, schema, state, done } = it;
  // Written again, they are tried again; what fails again is held again.
  if (state.hasHeld) await unholdObjects(tx, schema, index.type, keys);
  const held = await applyWell(tx, index, indexed, keys);
  done.held += held.length;
  done.objects += keys.length - held.length;
  for (const { key, reason } of held) {
    await holdObject(tx, { schema, type: index.type, key }, reason);
    done.news.push(`${schema}.${index.type} ${key} is held: ${reason}`);
  }
}

export interface Unwell {
  key: string;
  reason: string;
}

/** Applies what can be applied and answers what cannot: found by halving, so that none stops another. */
export async function applyWell(
  tx: Tx,
  index: IndexState,
  indexed: Indexed,
  keys: readonly string[],
): Promise<Unwell[]> {
  try {
    await inSavepoint(tx, () => applyKeys(tx, index, indexed, keys));
    return [];
  } catch (error) {
    if (!isOfTheObjects(error)) throw error;
    if (keys.length === 1) return [{ key: keys[0]!, reason: (error as Error).message }];
    const half = Math.ceil(keys.length / 2);
    const first = await applyWell(tx, index, indexed, keys.slice(0, half));
    return [...first, ...(await applyWell(tx, index, indexed, keys.slice(half)))];
  }
}

const STATEMENT_TOO_LONG = "57014";

/** False: it says nothing about the objects at hand, and would be the same with fewer of them. */
export function isOfTheObjects(error: unknown): boolean {
  if ((error as { code?: string }).code === STATEMENT_TOO_LONG) return true;
  return classify(error) === "domain" && !isUnreadable(error);
}

/** One page of a walk over all objects of a type; what is left of it is a mark again. */
async function walk(
  it: Batch,
  index: IndexState,
  indexed: Indexed,
  { place, at }: Walk,
): Promise<void> {
  const { tx, lane, schema } = it;
  const page = { lane, after: place.after, limit: PAGE };
  const rest = async (next: Walk["place"]) =>
    appendRest(tx, lane, schema, {
      type: index.type,
      keys: null,
      through: null,
      place: writePlace(next),
      at,
    });
  if (place.pass !== "index") {
    const keys = await nextLiveKeys(tx, indexed, page);
    await applyAll(it, index, indexed, keys);
    if (keys.length === PAGE) return rest({ ...place, after: keys.at(-1) });
    return rest({ ...place, pass: "index", after: undefined });
  }
  const keys = await nextIndexedKeys(tx, index, page);
  const live = await liveAmong(tx, indexed, keys);
  await removeKeys(
    tx,
    index,
    keys.filter((key) => !live.has(key)),
  );
  if (keys.length === PAGE) await rest({ ...place, after: keys.at(-1) });
}

// Keys the table's own type does not take are nobody's.
async function liveAmong(
  tx: Tx,
  indexed: Indexed,
  keys: readonly string[],
): Promise<ReadonlySet<string>> {
  try {
    return await inSavepoint(tx, () => liveKeys(tx, indexed, keys));
  } catch (error) {
    if (!isOfTheObjects(error)) throw error;
    if (keys.length === 1) return new Set();
    const half = Math.ceil(keys.length / 2);
    const first = await liveAmong(tx, indexed, keys.slice(0, half));
    return new Set([...first, ...(await liveAmong(tx, indexed, keys.slice(half)))]);
  }
}

/** One step from parents to the objects made of them, which are marked in their own lanes. */
export async function spread(
  it: Batch,
  index: IndexState,
  indexed: Indexed,
  fan: Fan,
): Promise<void> {
  const { tx, lane, schema, done } = it;
  const { type } = index;
  const { dependency, parents, place, at } = fan;
  let children: string[] | undefined;
  try {
    const page = { after: place.after, limit: CHILDREN };
    children = await inSavepoint(tx, () => nextChildren(tx, indexed, fan, page));
  } catch (error) {
    if (!isOfTheObjects(error)) throw error;
    done.news.push(`${schema}.${type} is walked: ${(error as Error).message}`);
  }
  // Whatever the parents are of, all is brought up to date.
  if (children === undefined) {
    const rest = { type, keys: null, through: null, place: place.origin, at };
    for (const each of ALL_LANES) await appendRest(tx, each, schema, rest);
    return;
  }
  if (children.length > 0) {
    await appendDerived(tx, schema, { type, keys: children, place: place.origin, at });
  }
  if (children.length < CHILDREN) return;
  await appendRest(tx, lane, schema, {
    type,
    keys: [...parents],
    through: dependency,
    place: writePlace({ ...place, after: children.at(-1) }),
    at,
  });
}
