import type { Logger } from "pino";
import type { HoldfastConfig } from "../contracts/config.ts";
import { sweepErasedBanks } from "../db/erase.ts";
import { sweepSources } from "../db/index-drain.ts";
import { sweepBuilds } from "../db/index-sweep.ts";
import { sweepOverdue } from "../db/inventory-overdue.ts";
import { makeRemovals } from "../db/inventory-removals.ts";
import { OWN_KEY } from "../db/job-lanes.ts";
import { expireDueLeases } from "../db/job-leases.ts";
import { markPullWorkersSeen } from "../db/job-workers.ts";
import { takeDuty } from "../db/locks.ts";
import { makePartitions } from "../db/partitions.ts";
import type { Db, Tx } from "../db/pool.ts";
import { foldCounts, hasCounts } from "../db/plan-counts.ts";
import { foldDeltas, hasUnfolded } from "../db/progress.ts";
import { sweepRetention } from "../db/retention.ts";
import { deleteStagedParts, findAbandonedParts } from "../db/staged-parts.ts";
import { markWorkerSeen } from "../db/workers.ts";
import { loop, type Loop } from "./loop.ts";

export interface UpkeepOptions {
  db: Db;
  config: HoldfastConfig;
  log: Logger;
  worker: { id: string; identity: string; version: string };
}

const FOLD_EVERY_MS = 3_000;
const SEEN_EVERY_MS = 10_000;
const LEASES_EVERY_MS = 5_000;
const PROCESSORS_EVERY_MS = 30_000;
const SWEEP_EVERY_MS = 60_000;
const RETENTION_EVERY_MS = 600_000;
const PARTITIONS_EVERY_MS = 3_600_000;

/** What the clock demands. Every worker runs it; each duty is done by one of them at a time. */
export function startUpkeep({ db, config, log, worker }: UpkeepOptions): Loop[] {
  const duty = (name: string, everyMs: number, work: () => Promise<unknown>) =>
    loop(`upkeep ${name}`, log, async () => {
      await work();
      return everyMs;
    });
  return [
    duty("seen", SEEN_EVERY_MS, () => markWorkerSeen(db, worker)),
    duty("fold", FOLD_EVERY_MS, () => fold(db)),
    duty("leases", LEASES_EVERY_MS, () => expire(db, log)),
    duty("sweep", SWEEP_EVERY_MS, () => sweep(db)),
    duty("sources", SWEEP_EVERY_MS, () => sweepSources(db, config)),
    duty("inventory", SWEEP_EVERY_MS, () => sweepInventory(db, config, log)),
    duty("builds", SWEEP_EVERY_MS, () => sweepBuilds(db)),
    duty("retention", RETENTION_EVERY_MS, () => applyRetention(db, log)),
    duty("partitions", PARTITIONS_EVERY_MS, () => makePartitions(db)),
    ...processors({ config, worker }).map((seen) =>
      duty("processors", PROCESSORS_EVERY_MS, () => markPullWorkersSeen(db, [seen])),
    ),
  ];
}

/** This worker among those that pull: one, if it has processors. */
function processors({ config, worker }: Pick<UpkeepOptions, "config" | "worker">) {
  const pipelines = Object.keys(config.jobs?.processors ?? {});
  return pipelines.length > 0 ? [{ key: OWN_KEY, worker: worker.identity, pipelines }] : [];
}

async function expire(db: Db, log: Logger): Promise<void> {
  const { expired, lost } = await expireDueLeases(db);
  if (expired > 0) log.info({ expired, lost }, "leases of jobs are over");
}

async function sweepInventory(db: Db, config: HoldfastConfig, log: Logger): Promise<void> {
  const removals = await makeRemovals(db);
  const expired = await sweepOverdue(db, config);
  if (removals + expired > 0) log.info({ removals, expired }, "inventory");
}

const FOLD_LIMIT = 5_000;

async function fold(db: Db): Promise<void> {
  if (await hasUnfolded(db)) await foldAll(db, "fold", foldDeltas);
  if (await hasCounts(db)) await foldAll(db, "counts", foldCounts);
}

async function foldAll(
  db: Db,
  duty: string,
  some: (tx: Tx, limit: number) => Promise<number>,
): Promise<void> {
  for (;;) {
    const folded = await db.transaction(async (tx) =>
      (await takeDuty(tx, duty)) ? some(tx, FOLD_LIMIT) : 0,
    );
    if (folded < FOLD_LIMIT) return;
  }
}

async function applyRetention(db: Db, log: Logger): Promise<void> {
  const gone = await db.transaction(async (tx) =>
    (await takeDuty(tx, "retention")) ? sweepRetention(tx) : {},
  );
  if (Object.keys(gone).length > 0) log.info({ gone }, "retention");
}

async function sweep(db: Db): Promise<void> {
  await db.transaction(async (tx) => {
    if (!(await takeDuty(tx, "staged"))) return;
    const abandoned = await findAbandonedParts(tx, 10);
    await deleteStagedParts(
      tx,
      abandoned.map((seq) => ({ seq, keepDerived: false })),
    );
  });
  await sweepErasedBanks(db);
}
