import { deliveryDepth } from "./delivery-status.ts";
import { countFindings } from "./findings.ts";
import { readIndexLanes, type LaneRow } from "./index-lanes.ts";
import { readInventoryStats, type InventoryStats } from "./inventory-stats.ts";
import { readPipelineStats, type PipelineStats } from "./job-stats.ts";
import { markDepths } from "./marks.ts";
import type { Db, Queryable } from "./pool.ts";
import { overdueStarts } from "./throughput.ts";
import { onlineWorkers } from "./workers.ts";

/**
 * What the whole installation looks like in numbers, for gauges: no tenant and no bank in it, so
 * there are few labels however many of those there are. Of pipelines whoever shows them shows a few.
 */
export interface Stats {
  open: { kind: string; state: string; n: number }[];
  /** Ended within the last hour. */
  ended: { kind: string; state: string; n: number }[];
  /** Accepted operations nobody has started yet, and since when the oldest waits. */
  toStart: { n: number; oldest: Date | null };
  marks: { queue: string; depth: number; oldest: Date | null }[];
  deliveries: { pending: number; due: number; oldest: Date | null };
  /** The search index, lane by lane. */
  index: LaneRow[];
  /** Jobs, by the pipelines their workers ask for. */
  pipelines: PipelineStats[];
  inventory: InventoryStats;
  openFindings: number;
  workersOnline: number;
}

const STATEMENT_TIMEOUT_MS = 2_000;

/** Reads everything in one read-only transaction; each statement is bound to 2 s. */
export function readStats(db: Db): Promise<Stats> {
  return db.transaction(
    async (tx) => ({
      open: await countOpenOperations(tx),
      ended: await countEndedOperations(tx),
      toStart: await overdueStarts(tx, 0),
      marks: await markDepths(tx),
      deliveries: await deliveryDepth(tx),
      index: await readIndexLanes(tx),
      pipelines: await readPipelineStats(tx),
      inventory: await readInventoryStats(tx),
      openFindings: await countFindings(tx),
      workersOnline: (await onlineWorkers(tx)).length,
    }),
    { readOnly: true, statementTimeoutMs: STATEMENT_TIMEOUT_MS },
  );
}

async function countOpenOperations(db: Queryable): Promise<Stats["open"]> {
  const { rows } = await db.query<Stats["open"][number]>(
    `select kind, state, count(*)::int as n from holdfast.operations
      where state in ('accepted', 'running') group by 1, 2`,
  );
  return rows;
}

async function countEndedOperations(db: Queryable): Promise<Stats["ended"]> {
  const { rows } = await db.query<Stats["ended"][number]>(
    `select kind, state, count(*)::int as n from holdfast.operations
      where finished_at > clock_timestamp() - interval '1 hour' group by 1, 2`,
  );
  return rows;
}
