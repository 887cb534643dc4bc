import { setTimeout as pause } from "node:timers/promises";
import type { HoldfastConfig } from "../contracts/config.ts";
import type { Drained, DrainRef } from "../contracts/messages.ts";
import type { TargetFault } from "../contracts/target.ts";
import { registryOf, settingsOf } from "../db/inventory-settings.ts";
import type { InventoryPlace } from "../db/inventory-look-up.ts";
import { DEFAULT_RETRY } from "../db/plan-apply.ts";
import { leaseEntities } from "../db/plan-lease.ts";
import { nextTargetPlace, type TargetLane } from "../db/plan-lease-due.ts";
import { LeaseLost } from "../db/plan-lease-hold.ts";
import type { Db } from "../db/pool.ts";
import { recordTargetFailing, recordTargetWorking, targetState } from "../db/targets.ts";
import { backoffMs } from "../domain/faults.ts";
import { grownBatch, halvedBatch } from "../domain/target-pace.ts";
import type { Target } from "../domain/target.ts";
import { atWork } from "./drain.ts";
import { beating } from "./heartbeat.ts";
import { workTargetBatch, type TargetBatchReport } from "./target-batch.ts";
import { TargetLease } from "./target-lease.ts";

export interface TargetDeps {
  db: Db;
  config: HoldfastConfig;
  name: string;
  target: Target;
  log?: { warn(fields: object, message: string): void };
  /** An empty lane is looked at this long before the drain rests. Default 1,000 ms. */
  lingerMs?: number;
  /** The process is ending: no batch begins. */
  draining?: AbortSignal;
}

const SLICE_MS = 20_000;
/** So many times the entities of a call are claimed: not all of them may be asked for in one. */
const CLAIMED = 4;
const LOOK_EVERY_MS = 100;
const LINGER_MS = 1_000;
/** A place whose entities wait for each other's ends is left for so long. */
const BLOCKED_MS = 500;
/** A target that is away is asked again after this, doubled each time. */
const AWAY = { baseMs: 500, capMs: 30_000 };

/** Plans and applies what is due for one target outside. */
export const targetActivities = (deps: TargetDeps) => {
  /** Claims of lanes that ended, and could not be given back because the database was away. */
  const left = new Map<number, string[]>();
  return {
    /** Safe to repeat: what a batch left behind is claimed again, and asked about before it is sent again. */
    drainTarget(ref: DrainRef): Promise<Drained> {
      return beating((signal) =>
        atWork(deps.db, ref, () => drainTargetLane(deps, ref.lane, signal, left)),
      );
    },
  };
};

/** One slice of one lane: batch after batch, branch after branch. */
export async function drainTargetLane(
  deps: TargetDeps,
  lane: number,
  signal: AbortSignal,
  left = new Map<number, string[]>(),
): Promise<Drained> {
  const { db, name, target, lingerMs = LINGER_MS } = deps;
  const at: TargetLane = { target: name, lane, lanes: target.settings.concurrency };
  const endsAt = performance.now() + SLICE_MS;
  let workedAt = performance.now();
  let done = 0;
  let served: InventoryPlace | undefined;
  let most = Infinity;
  while (performance.now() < endsAt && !deps.draining?.aborted) {
    signal.throwIfAborted();
    const state = await targetState(db, name);
    if (state.waitMs > 0) return { done, more: false, nextDueAt: Date.now() + state.waitMs };
    const place = await nextTargetPlace(db, at, served);
    if (place === undefined) {
      if (performance.now() - workedAt >= lingerMs) return { done, more: false };
      await pause(LOOK_EVERY_MS, undefined, { signal });
      continue;
    }
    served = place;
    const batchSize = Math.min(target.settings.batchSize, state.batchSize ?? Infinity);
    const worked = await oneBatch(deps, at, place, Math.min(batchSize, most), signal, left);
    if (worked === undefined) {
      await pause(Math.min(BLOCKED_MS, lingerMs), undefined, { signal });
      if (performance.now() - workedAt >= lingerMs + BLOCKED_MS) {
        return { done, more: false, nextDueAt: Date.now() + BLOCKED_MS };
      }
      continue;
    }
    workedAt = performance.now();
    done += worked.settled;
    const { away, claimed, waiting } = worked;
    // What waits is planned again: less is, when a call holds fewer that may be one object.
    if (waiting > claimed / 2) most = Math.max(1, Math.floor(claimed / 2));
    else if (waiting === 0) most *= 2;
    if (away) {
      await rest(deps, away, state.failures, claimed);
      continue;
    }
    const grown =
      claimed === batchSize ? grownBatch(batchSize, target.settings.batchSize) : undefined;
    if (state.failures > 0 || grown !== undefined) await recordTargetWorking(db, name, grown);
  }
  return { done, more: true };
}

async function oneBatch(
  { db, config, target, log, name }: TargetDeps,
  at: TargetLane,
  place: InventoryPlace,
  limit: number,
  signal: AbortSignal,
  left: Map<number, string[]>,
): Promise<Omit<TargetBatchReport, "applied"> | undefined> {
  const settings = await settingsOf(db, config, place.tenant);
  // It may have been moved to another target since it was looked up.
  if (settings.target !== name) return undefined;
  const registry = registryOf(config, settings.registry);
  const { leaseSeconds } = target.settings;
  const claimedAt = performance.now();
  const adopt = left.get(at.lane) ?? [];
  const leased = await leaseEntities(db, place, at, {
    limit: limit * CLAIMED,
    leaseSeconds,
    adopt,
  });
  if (!leased) return undefined;
  const lease = new TargetLease(db, leased, leaseSeconds, signal, claimedAt);
  try {
    const retry = { ...DEFAULT_RETRY, ...config.inventory?.retry };
    return await workTargetBatch(
      { db, target, registry, settings, retry, place, limit },
      leased,
      lease,
    );
  } catch (error) {
    if (!(error instanceof LeaseLost)) throw error;
    log?.warn({ target: name, ...place }, error.message);
    return { settled: 0, claimed: leased.entities.length, waiting: 0, away: undefined };
  } finally {
    if (!(await lease.end())) left.set(at.lane, [...adopt, leased.token].slice(-MOST_LEFT));
  }
}

const MOST_LEFT = 100;

/** Nobody asks it for a while, and with fewer when it has had too many. */
async function rest(
  { db, name, log, target }: TargetDeps,
  { message, retryAfterMs, slowDown }: TargetFault,
  failures: number,
  claimed: number,
): Promise<void> {
  const backoff = backoffMs(failures + 1, { ...AWAY, jitter: Math.random() });
  const waitMs = Math.max(backoff, retryAfterMs ?? 0);
  const batchSize = slowDown
    ? halvedBatch(Math.min(claimed, target.settings.batchSize))
    : undefined;
  if (Math.log2(failures + 1) % 1 === 0) log?.warn({ target: name, waitMs }, message);
  await recordTargetFailing(db, name, { error: message, waitMs, batchSize });
}
