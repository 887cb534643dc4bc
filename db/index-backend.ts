import { setTimeout as pause } from "node:timers/promises";
import type { FieldKind, SearchBackend, SearchObject } from "../contracts/search.ts";
import { classify } from "../domain/faults.ts";
import { gather, writePlace, type TypeWork } from "../domain/index-batch.ts";
import type { SearchRegistry } from "../domain/search.ts";
import { nextLiveKeys, type Indexed } from "./index-apply.ts";
import {
  isOfTheObjects,
  isReplaced,
  spread,
  workType,
  type Batch,
  type Unwell,
} from "./index-batch.ts";
import {
  appendRest,
  deleteIndexMarks,
  findWalks,
  nothingDone,
  peekIndexMarks,
  restartWalks,
  type IndexBatch,
  type IndexDrain,
  type IndexMark,
} from "./index-claim.ts";
import { readSchemaState, schemaOid, settleSchema, type IndexState } from "./index-drift.ts";
import { holdObject, unholdObjects } from "./index-held.ts";
import {
  ALL_LANES,
  endLease,
  isLeaseHeld,
  recordApplied,
  renewLease,
  takeLease,
} from "./index-lanes.ts";
import { PART_OVERLAP, PARTS_PER_MEMBER } from "./index-source.ts";
import type { IndexSources } from "./index-sources.ts";
import { inSavepoint, type Db, type Tx } from "./pool.ts";
import { listIndexes } from "./search-indexes.ts";

/**
 * The drain where objects are indexed outside Postgres. What is live is read, the backend is told, and
 * only then the marks go: whatever fails in between is done again. Nothing is called from within a
 * transaction; a lease per lane keeps to one caller, and its fence rises.
 */

export interface BackendOptions {
  /** Bound on one call. Default 30,000 ms. */
  callMs?: number;
}

const CALL_MS = 30_000;
/** Objects of one call. */
const OBJECTS_PER_CALL = 500;
/** Objects of one step of a walk. */
const PAGE = 1_000;
const ASK_AGAIN_MS = 100;
/** Others end their call in this time, or lose their lease. */
const LEASES_MS = 60_000;

export function drainInBackend(
  db: Db,
  registry: SearchRegistry,
  sources: IndexSources,
  backend: SearchBackend,
  { callMs = CALL_MS }: BackendOptions = {},
): IndexDrain {
  const deps = { db, registry, sources, backend, callMs };
  return {
    async batch(lane, schema, signal) {
      const marks = await peekIndexMarks(db, lane, schema);
      if (marks.length === 0) return nothingDone();
      const names = [...new Set(marks.map((mark) => mark.type))];
      if (isReplaced(await readSchemaState(db, registry, schema, names))) {
        return leased(deps, ALL_LANES, signal, (lease) => replaced(deps, lease, schema));
      }
      // What is forgotten as a whole must not be overtaken by what another lane has still to say.
      const anew = gather(marks).filter(({ walk }) => walk && walk.place.pass === "rows");
      if (anew.length > 0) {
        return leased(deps, ALL_LANES, signal, (lease) => clear(deps, lease, schema));
      }
      return leased(deps, [lane], signal, (lease) => batch(deps, lease, lane, schema));
    },
  };
}

interface Deps {
  db: Db;
  registry: SearchRegistry;
  sources: IndexSources;
  backend: SearchBackend;
  callMs: number;
}

interface Lease {
  fence: bigint;
  /** Asks the backend, within the bound of a call. @throws what it throws, said to be the backend's */
  call(ask: (context: { fence: bigint; signal: AbortSignal }) => Promise<void>): Promise<void>;
  /** @throws LeaseLost unless the lanes are still ours; holds them to the end of the transaction */
  assertHeld(tx: Tx): Promise<void>;
}

class LeaseLost extends Error {
  override readonly name = "LeaseLost";
}

async function leased(
  { db, callMs }: Deps,
  lanes: readonly number[],
  signal: AbortSignal,
  work: (lease: Lease) => Promise<IndexBatch>,
): Promise<IndexBatch> {
  const leaseMs = 2 * callMs;
  const held = new Map<number, bigint>();
  const renew = async () => {
    for (const [lane, fence] of held) {
      if (!(await renewLease(db, lane, fence, leaseMs))) throw new LeaseLost(`lane ${lane}`);
    }
  };
  try {
    const giveUpAt = performance.now() + (lanes.length > 1 ? LEASES_MS : 0);
    for (const lane of lanes) {
      for (;;) {
        signal.throwIfAborted();
        const fence = await takeLease(db, lane, leaseMs);
        if (fence !== undefined) {
          held.set(lane, fence);
          break;
        }
        if (performance.now() >= giveUpAt) return { ...nothingDone(), busyMs: ASK_AGAIN_MS };
        await pause(ASK_AGAIN_MS, undefined, { signal });
        await renew();
      }
    }
    const fence = [...held.values()].reduce((a, b) => (a > b ? a : b));
    return await work({
      fence,
      async call(ask) {
        await renew();
        await boundedCall(signal, callMs, (bounded) => ask({ fence, signal: bounded }));
      },
      async assertHeld(tx) {
        for (const [lane, own] of held) {
          if (!(await isLeaseHeld(tx, lane, own))) throw new LeaseLost(`lane ${lane}`);
        }
      },
    });
  } catch (error) {
    // Whoever has the lane now does the same again.
    if (error instanceof LeaseLost) return { ...nothingDone(), busyMs: ASK_AGAIN_MS };
    throw error;
  } finally {
    for (const [lane, fence] of held) await endLease(db, lane, fence).catch(() => undefined);
  }
}

async function boundedCall(
  signal: AbortSignal,
  ms: number,
  ask: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const timeout = new AbortController();
  const bounded = AbortSignal.any([signal, timeout.signal]);
  bounded.throwIfAborted();
  const timer = setTimeout(() => {
    timeout.abort(new Error(`it did not answer within ${ms} ms`));
  }, ms);
  const ended = new Promise<never>((_, reject) => {
    bounded.addEventListener("abort", () => reject(bounded.reason as Error), { once: true });
  });
  // A backend may throw before it answers by a promise.
  const answer = (async () => ask(bounded))();
  try {
    await Promise.race([answer, ended]);
  } catch (cause) {
    signal.throwIfAborted();
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`the search backend failed: ${why}`, { cause });
  } finally {
    clearTimeout(timer);
    answer.catch(() => undefined);
  }
}

// The backend forgets before we do: what is removed here could not be found again.
async function replaced(
  { db, registry, backend }: Deps,
  lease: Lease,
  schema: string,
): Promise<IndexBatch> {
  const oid = await schemaOid(db, schema);
  const gone = (await listIndexes(db, schema)).filter((index) => index.schemaOid !== oid);
  if (gone.length > 0) {
    const types = gone.map(({ type }) => type);
    await lease.call((context) => backend.clear({ schema, types }, context));
  }
  for (;;) {
    const { more, news } = await settleSchema(db, registry, schema);
    if (!more) return { ...nothingDone(), news };
  }
}

/** Forgets whole types, and walks over them anew: a backend cannot say what it holds. */
async function clear({ db, backend }: Deps, lease: Lease, schema: string): Promise<IndexBatch> {
  const walks = await findWalks(db, schema);
  const types = [...new Set(walks.map(({ type }) => type))];
  if (types.length === 0) return nothingDone();
  await lease.call((context) => backend.clear({ schema, types }, context));
  await db.transaction(async (tx) => {
    await lease.assertHeld(tx);
    await restartWalks(tx, schema, walks);
  });
  return { ...nothingDone(), marks: walks.length };
}

interface Read {
  index: IndexState;
  indexed: Indexed;
  work: TypeWork;
  /** What the backend is told of: all keys at hand, with the objects among them that are found. */
  keys: string[];
  objects: SearchObject[];
  unwell: Unwell[];
  /** The page of a walk was full: it goes on after this key. */
  goesOnAfter: string | undefined;
}

async function batch(deps: Deps, lease: Lease, lane: number, schema: string): Promise<IndexBatch> {
  const { db, backend } = deps;
  const marks = await peekIndexMarks(db, lane, schema);
  const { reads, done, since } = await read(deps, lease, { lane, schema, marks });
  const refused: (Unwell & { index: IndexState })[] = [];
  for (const { index, keys, objects } of reads) {
    for (const some of slices(objects)) {
      for (const one of await cached(backend, lease, some)) refused.push({ ...one, index });
    }
    const live = new Set(objects.map(({ key }) => key));
    const gone = keys.filter((key) => !live.has(key));
    for (const some of slices(gone.map((key) => ({ schema, type: index.type, key })))) {
      await lease.call((context) => backend.remove(some, context));
    }
  }
  await db.transaction(async (tx) => {
    await lease.assertHeld(tx);
    for (const { index, keys, unwell, work, goesOnAfter } of reads) {
      await unholdObjects(tx, schema, index.type, keys);
      const held = [...unwell, ...refused.filter((one) => one.index === index)];
      for (const { key, reason } of held) {
        await holdObject(tx, { schema, type: index.type, key }, reason);
        done.news.push(`${schema}.${index.type} ${key} is held: ${reason}`);
      }
      done.held += held.length;
      done.objects += keys.length + unwell.length - held.length;
      if (!work.walk || goesOnAfter === undefined) continue;
      const place = writePlace({ ...work.walk.place, pass: "cleared", after: goesOnAfter });
      const rest = { type: index.type, keys: null, through: null, place, at: work.walk.at };
      await appendRest(tx, lane, schema, rest);
    }
    const seqs = marks.map(({ seq }) => seq);
    done.marks = await deleteIndexMarks(tx, lane, schema, seqs);
    await recordApplied(tx, lane, { objects: done.objects, since });
  });
  return done;
}

// Marks of parents need no backend: they are done with here, and their objects are marked.
async function read(
  { db, registry, sources }: Deps,
  lease: Lease,
  { lane, schema, marks }: { lane: number; schema: string; marks: readonly IndexMark[] },
): Promise<{ reads: Read[]; done: IndexBatch; since: number[] }> {
  const works = gather(marks);
  const names = works.map(({ type }) => type);
  return db.transaction(
    async (tx) => {
      await lease.assertHeld(tx);
      const state = await readSchemaState(tx, registry, schema, names);
      const done = nothingDone();
      const reads: Read[] = [];
      const it: Batch = {
        tx,
        registry,
        sources,
        lane,
        schema,
        state,
        done,
        async work(batch, index, indexed, work) {
          const one = await readWork(batch, index, indexed, work);
          for (const fan of work.fans) await spread(batch, index, indexed, fan);
          reads.push(one);
        },
      };
      for (const work of works) await workType(it, work);
      const fans = marks.filter(({ through }) => through !== null).map(({ seq }) => seq);
      await deleteIndexMarks(tx, lane, schema, fans);
      return { reads, done, since: works.flatMap(({ since }) => since) };
    },
    { withoutJit: true },
  );
}

async function readWork(
  { tx, lane, schema }: Batch,
  index: IndexState,
  indexed: Indexed,
  work: TypeWork,
): Promise<Read> {
  const keys = new Set(work.keys);
  let goesOnAfter: string | undefined;
  if (work.walk?.place.pass === "cleared") {
    const page = { lane, after: work.walk.place.after, limit: PAGE };
    const walked = await nextLiveKeys(tx, indexed, page);
    for (const key of walked) keys.add(key);
    if (walked.length === PAGE) goesOnAfter = walked.at(-1);
  }
  const unwell: Unwell[] = [];
  const objects = await readObjects(tx, indexed, [...keys], unwell);
  // What cannot be read stays as the backend has it.
  for (const { key } of unwell) keys.delete(key);
  const named = objects.map((object) => ({ ...object, schema, type: index.type }));
  return { index, indexed, work, keys: [...keys], objects: named, unwell, goesOnAfter };
}

interface ObjectRow {
  key: string;
  field: string;
  part: number;
  weight: number;
  kind: FieldKind;
  value: string;
}

type Nameless = Pick<SearchObject, "key" | "fields">;

async function readObjects(
  tx: Tx,
  indexed: Indexed,
  keys: readonly string[],
  unwell: Unwell[],
): Promise<Nameless[]> {
  if (keys.length === 0) return [];
  try {
    const { rows } = await inSavepoint(tx, () =>
      tx.query<ObjectRow>(
        `select key, field, part, weight, kind, value from (${indexed.sql.objects}) o
          order by key, weight, field, part`,
        [keys],
      ),
    );
    return objectsOf(rows);
  } catch (error) {
    if (!isOfTheObjects(error)) throw error;
    if (keys.length === 1) {
      unwell.push({ key: keys[0]!, reason: (error as Error).message });
      return [];
    }
    const half = Math.ceil(keys.length / 2);
    const first = await readObjects(tx, indexed, keys.slice(0, half), unwell);
    return [...first, ...(await readObjects(tx, indexed, keys.slice(half), unwell))];
  }
}

/** Long values come in parts that overlap; a backend is given each value whole. */
function objectsOf(rows: readonly ObjectRow[]): Nameless[] {
  const objects = new Map<
    string,
    { field: string; weight: number; kind: FieldKind; value: string }[]
  >();
  for (const { key, field, part, weight, kind, value } of rows) {
    const fields = objects.get(key) ?? [];
    objects.set(key, fields);
    if (part % PARTS_PER_MEMBER === 0) fields.push({ field, weight, kind, value });
    else fields.at(-1)!.value += [...value].slice(PART_OVERLAP).join("");
  }
  return [...objects].map(([key, fields]) => ({ key, fields }));
}

// One the backend refuses for good is found by halving; the others are taken.
async function cached(
  backend: SearchBackend,
  lease: Lease,
  objects: readonly SearchObject[],
): Promise<Unwell[]> {
  try {
    await lease.call((context) => backend.cache(objects, context));
    return [];
  } catch (error) {
    if (classify(error) !== "refused") throw error;
    if (objects.length === 1) {
      const [{ key }] = objects as [SearchObject];
      return [{ key, reason: (error as Error).message }];
    }
    const half = Math.ceil(objects.length / 2);
    const first = await cached(backend, lease, objects.slice(0, half));
    return [...first, ...(await cached(backend, lease, objects.slice(half)))];
  }
}

function slices<T>(all: readonly T[]): T[][] {
  return Array.from({ length: Math.ceil(all.length / OBJECTS_PER_CALL) }, (_, no) =>
    all.slice(no * OBJECTS_PER_CALL, (no + 1) * OBJECTS_PER_CALL),
  );
}
