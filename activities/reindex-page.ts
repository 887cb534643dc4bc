import { createHash } from "node:crypto";
import type { OperationRef, WorkReport } from "../contracts/messages.ts";
import type { Outcome } from "../contracts/operation.ts";
import { readOrders } from "../db/brakes.ts";
import {
  abandonBuild,
  beginBuild,
  buildPage,
  countPassedOver,
  hasGaps,
  markHandedOver,
  ownIndexes,
  passOver,
  swapBuild,
  type Build,
} from "../db/index-build.ts";
import { markWholeType } from "../db/index-marks.ts";
import { findSourcePage } from "../db/index-pages.ts";
import { readSource, type Source } from "../db/index-source.ts";
import { shareOperation } from "../db/locks.ts";
import { appendLogs } from "../db/logs.ts";
import { settleItems } from "../db/outcomes.ts";
import type { Db, Tx } from "../db/pool.ts";
import { reportProgress } from "../db/progress-report.ts";
import { addDeltas, uncountSources } from "../db/progress.ts";
import { findIndex, type SearchIndex } from "../db/search-indexes.ts";
import { definitionDigest, type SearchRegistry } from "../domain/search.ts";

/** One transaction of a reindex: the next page of one index, from beginning its build to the swap. */

export interface PageContext {
  db: Db;
  ref: OperationRef;
  registry: SearchRegistry;
  lazy: boolean;
  identity: string;
}

/** An item of the operation: one index. */
export interface IndexItem {
  no: number;
  schema: string;
  type: string;
}

export type Step =
  /** Objects were looked at, and there may be more. */
  | { did: "page"; rows: number }
  /** The item has its outcome. */
  | { did: "settled" }
  | { did: "stopped"; stop: NonNullable<WorkReport["stop"]> };

/** Objects that may be left out of an index before it is the definition that is at fault. */
const MOST_PASSED_OVER = 100;
const STATEMENT_TIMEOUT_MS = 60_000;

/**
 * Writes the next `limit` objects, and with the last of them takes the new generation into use. A
 * repeat goes on where the row says.
 * @throws what the objects of this page, or the whole table, throw; nothing is written then
 */
export function buildNext(context: PageContext, item: IndexItem, limit: number): Promise<Step> {
  return inBuild(context, item, async (tx, source, { after, ...build }) => {
    const { language } = context.registry.settings;
    const page = await buildPage(tx, source, build, { after, limit, language });
    if (page.last !== null) await count(tx, context, build, page.last, "indexed", page.objects);
    if (page.rows === limit) return { did: "page", rows: page.rows };
    return swap(tx, context, item, build);
  });
}

/** Leaves out the next object, whose rows cannot be made. */
export function passOverNext(context: PageContext, item: IndexItem, reason: string): Promise<Step> {
  return inBuild(context, item, async (tx, source, { after, ...build }) => {
    const { last } = await findSourcePage(tx, source, after ?? undefined, 1);
    if (last === null) return { did: "page", rows: 0 };
    if ((await countPassedOver(tx, build, MOST_PASSED_OVER)) >= MOST_PASSED_OVER) {
      const many = `more than ${MOST_PASSED_OVER} objects cannot be indexed: ${reason}`;
      await abandonBuild(tx, build);
      return settle(tx, context, item, "failed", many);
    }
    await passOver(tx, source, build, { key: last, reason });
    await count(tx, context, build, last, "failed", 1);
    return { did: "page", rows: 1 };
  });
}

/** Ends an item whose index cannot be built at all; what was built of it is given up. */
export function settleWithout(
  context: PageContext,
  item: IndexItem,
  outcome: "failed" | "blocked",
  reason: string,
): Promise<Step> {
  return inOperation(context, item, async (tx) => {
    const index = await findIndex(tx, item.schema, item.type);
    const build = index && buildOf(index, context.ref);
    if (build) await abandonBuild(tx, build);
    return settle(tx, context, item, outcome, reason);
  });
}

/** What the row of the operation allows, under its lock and those of all lanes of the schema. */
function inOperation(
  { db, ref }: PageContext,
  { schema }: IndexItem,
  work: (tx: Tx) => Promise<Step>,
): Promise<Step> {
  return db.transaction(
    async (tx) => {
      await shareOperation(tx, ref.id);
      const orders = await readOrders(tx, ref.id, ref.generation);
      if (orders !== "go") return { did: "stopped", stop: orders };
      await ownIndexes(tx, schema);
      return work(tx);
    },
    { statementTimeoutMs: STATEMENT_TIMEOUT_MS, withoutJit: true },
  );
}

function inBuild(
  context: PageContext,
  item: IndexItem,
  work: (tx: Tx, source: Source, build: Build & { after: string | null }) => Promise<Step>,
): Promise<Step> {
  const { registry, ref } = context;
  return inOperation(context, item, async (tx) => {
    const type = registry.types.get(item.type);
    if (!type) {
      const reason = `type ${item.type} is not registered in the configuration of ${context.identity}: deploy it there, or uninstall it`;
      return settle(tx, context, item, "failed", reason);
    }
    const index = await findIndex(tx, item.schema, item.type);
    if (!index) return settle(tx, context, item, "blocked", "it is not installed any more");
    const source = await readSource(tx, item.schema, type);
    if (source.schemaOid !== index.schemaOid) {
      const reason = `schema ${item.schema} was made anew since: run "holdfast search install"`;
      return settle(tx, context, item, "blocked", reason);
    }
    const definition = definitionDigest(type, registry.settings.language);
    const build = buildOf(index, ref, definition);
    if (build) return work(tx, source, { ...build, after: index.buildingAfter });

    if (context.lazy && (await isCurrent(tx, index, definition))) {
      const reason = `built ${index.builtAt!.toISOString()} from the same definition`;
      return settle(tx, context, item, "unchanged", reason);
    }
    if (registry.hasBackend) return handOver(tx, context, item, index, definition);
    const begun = await beginBuild(tx, index.id, ref.id, definition);
    if (!begun) {
      const reason = `operation ${index.buildingOperation} is building it: wait for it or cancel it, then ask again`;
      return settle(tx, context, item, "blocked", reason);
    }
    // What an earlier try counted is looked at again.
    await uncountSources(tx, ref.id, OBJECTS, sourcesOf(begun.indexId), `${sourceOf(begun)}/again`);
    await log(tx, context, item, `building generation ${begun.building}`);
    return work(tx, source, { ...begun, after: null });
  });
}

/** Drift and gaps mean that what was built is not what there is. */
async function isCurrent(tx: Tx, index: SearchIndex, definition: Buffer): Promise<boolean> {
  if (index.builtAt === null || index.driftedAt !== null) return false;
  return index.definition.equals(definition) && !(await hasGaps(tx, index.schema, index.type));
}

// Without a definition: whatever it is built from.
function buildOf(index: SearchIndex, ref: OperationRef, definition?: Buffer): Build | undefined {
  const { building, buildingOperation, buildingDefinition, buildingSince: since } = index;
  if (building === null || since === null || buildingOperation !== ref.id) return undefined;
  if (definition && !buildingDefinition?.equals(definition)) return undefined;
  return { indexId: index.id, building, operationId: ref.id, since };
}

// An index outside has one generation: every object is handed over again, and none is away meanwhile.
async function handOver(
  tx: Tx,
  context: PageContext,
  item: IndexItem,
  index: SearchIndex,
  definition: Buffer,
): Promise<Step> {
  await markWholeType(tx, index.schema, index.type);
  await markHandedOver(tx, index.id, definition);
  return settle(
    tx,
    context,
    item,
    "succeeded",
    "every object is marked: the drain hands them over",
  );
}

async function swap(tx: Tx, context: PageContext, item: IndexItem, build: Build): Promise<Step> {
  const passedOver = await countPassedOver(tx, build, MOST_PASSED_OVER + 1);
  const reason =
    passedOver === 0
      ? undefined
      : `${passedOver} ${passedOver === 1 ? "object keeps its" : "objects keep their"} old rows, see "holdfast search status"`;
  const settled = await settle(tx, context, item, "succeeded", reason);
  if (!(await swapBuild(tx, build))) throw new Error(`${nameOf(item)}: the build was taken away`);
  await log(tx, context, item, `generation ${build.building} is searched`);
  return settled;
}

async function settle(
  tx: Tx,
  context: PageContext,
  item: IndexItem,
  outcome: Outcome,
  reason?: string,
): Promise<Step> {
  const { ref, identity } = context;
  const settlement = { itemNo: item.no, outcome, reason, attempt: 1 };
  const settled = await settleItems(tx, ref, [settlement], identity);
  if (!settled.has(item.no)) throw new Error(`${nameOf(item)}: settled by somebody else`);
  await reportProgress(
    tx,
    ref.id,
    `item/${item.no}/${ref.generation}`,
    [{ stage: ref.kind, outcome, n: 1 }],
    reason === undefined ? [] : [lineOf(item, `${outcome}: ${reason}`, outcome)],
  );
  return { did: "settled" };
}

/** The stage that counts objects, where the operation's own counts indexes. */
const OBJECTS = "objects";
const sourcesOf = (indexId: number) => `${OBJECTS}/${indexId}/`;
const sourceOf = ({ indexId, since }: Build) => `${sourcesOf(indexId)}${since.toISOString()}`;

async function count(
  tx: Tx,
  { ref }: PageContext,
  build: Build,
  last: string,
  outcome: string,
  n: number,
): Promise<void> {
  // A key may be longer than a name of a source can be.
  const page = createHash("sha256").update(last).digest("hex").slice(0, 32);
  await addDeltas(tx, ref.id, `${sourceOf(build)}/${page}`, [{ stage: OBJECTS, outcome, n }]);
}

function log(tx: Tx, { ref }: PageContext, item: IndexItem, message: string): Promise<void> {
  return appendLogs(tx, [{ ...lineOf(item, message), operationId: ref.id }]);
}

function lineOf(item: IndexItem, message: string, outcome: Outcome = "succeeded") {
  const level = outcome === "failed" ? "error" : outcome === "blocked" ? "warn" : "info";
  return { level, message: `${nameOf(item)}: ${message}` } as const;
}

const nameOf = ({ schema, type }: IndexItem) => `${schema}.${type}`;
