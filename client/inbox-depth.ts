import { LRUCache } from "lru-cache";
import { LimitExceeded, TooLarge } from "../contracts/errors.ts";
import { countQueued } from "../db/inbox-depth.ts";
import type { Db } from "../db/pool.ts";
import type { Context } from "./context.ts";

/**
 * A bound on what waits, so that one tenant cannot fill the database: a safeguard, not back-pressure. It
 * is looked at seldom, so some more than the bound may get in.
 */

const DEFAULT_MAX_QUEUED = 1_000_000;

/** A count holds for so long, and for twenty times as long as counting took. */
const HOLDS_MS = 2_000;
const MOST_MS = 30_000;
/** Once full, taken in again when below this share of the bound, so that it does not flutter. */
const REOPENS_AT = 0.9;
const RETRY_SECONDS = 10;
const TENANTS = 10_000;

interface Depth {
  queued: number;
  full: boolean;
  until: number;
}

const depths = new WeakMap<Db, LRUCache<string, Depth>>();

/**
 * @throws LimitExceeded while the tenant has as many entities queued as it may have; TooLarge when so
 * many could never be taken
 */
export async function assertRoom(
  context: Context,
  tenant: string,
  entities: number,
): Promise<void> {
  const max = context.config.inventory?.maxQueued ?? DEFAULT_MAX_QUEUED;
  if (entities > max) {
    throw new TooLarge(
      "entities",
      `are ${entities}, and a tenant may have ${max} queued; send fewer at a time`,
    );
  }
  const depth = await depthOf(context.db, tenant, max);
  const full = depth.full || depth.queued + entities > max;
  if (!full) {
    // What this process takes in counts before it is counted.
    depth.queued += entities;
    return;
  }
  throw new LimitExceeded(
    `tenant ${tenant} has ${depth.queued} entities queued of at most ${max}: try again when some are planned, start more workers, or raise inventory.maxQueued`,
    RETRY_SECONDS,
    { queued: depth.queued, limit: max },
  );
}

async function depthOf(db: Db, tenant: string, max: number): Promise<Depth> {
  let known = depths.get(db);
  if (!known) depths.set(db, (known = new LRUCache({ max: TENANTS })));
  const before = known.get(tenant);
  const now = performance.now();
  if (before && now < before.until) return before;
  // While it is counted again, others go by what was known.
  if (before) before.until = now + HOLDS_MS;
  const queued = await countQueued(db, tenant, max);
  const took = performance.now() - now;
  const full = queued >= max || (before?.full === true && queued >= max * REOPENS_AT);
  const until = performance.now() + Math.min(MOST_MS, Math.max(HOLDS_MS, 20 * took));
  const depth = { queued, full, until };
  known.set(tenant, depth);
  return depth;
}
