import { ClaimRequest, JOB_LIMITS, type Claim, type ClaimedBatch } from "../contracts/job.ts";
import { claimBatches, loadClaimedItems, type ClaimedLease } from "../db/job-claim.ts";
import { releaseLeases } from "../db/job-leases.ts";
import { countHeld } from "../db/job-waiting.ts";
import { claimPollerOf } from "./claim-poller.ts";
import { leaseKey, type Context } from "./context.ts";
import { parseInput } from "./input.ts";
import { livenessOf } from "./job-liveness.ts";

type Asked = ReturnType<typeof asked>;

function asked(context: Context, request: ClaimRequest) {
  const { waitSeconds, ...rest } = parseInput(ClaimRequest, request);
  return {
    ...rest,
    waitMs: waitSeconds * 1_000,
    tenants: context.tenants,
    key: leaseKey(context),
    held: context.config.jobs?.heldBatches ?? JOB_LIMITS.heldBatches,
  };
}

/** Batches, as soon as there are some; none when the time is over or the worker may hold no more. */
export async function claim(
  context: Context,
  request: ClaimRequest,
  signal?: AbortSignal,
): Promise<Claim> {
  const want = asked(context, request);
  signal?.throwIfAborted();
  livenessOf(context.db).seen(want);
  const first = await claimOnce(context, want, signal);
  if (first.batches.length > 0 || first.held || want.waitMs === 0) return first;
  const waiter = {
    pipelines: want.pipelines,
    tenants: want.tenants,
    claim: async () => {
      const got = await claimOnce(context, want, signal);
      return got.batches.length > 0 || got.held ? got : undefined;
    },
  };
  const later = await claimPollerOf(context.db).wait(waiter, want.waitMs, signal);
  livenessOf(context.db).seen(want);
  return later ?? { waiting: 0, batches: [] };
}

async function claimOnce(context: Context, want: Asked, signal?: AbortSignal): Promise<Claim> {
  const { db } = context;
  const { waiting, leases } = await claimBatches(db, want);
  if (leases.length === 0) {
    const asks = waiting > 0 || want.waitMs > 0;
    const batches = asks ? await countHeld(db, want.key, want.worker) : 0;
    const full = asks && batches >= want.held;
    return { waiting, batches: [], ...(full ? { held: { batches, most: want.held } } : {}) };
  }
  const handles = leases.map((lease) => lease.handle);
  try {
    const batches = await withItems(context, leases);
    // Whoever asked has gone: somebody else may have them at once, and no delivery is spent.
    signal?.throwIfAborted();
    livenessOf(db).holds(handles, want);
    return { waiting, batches };
  } catch (error) {
    await releaseLeases(db, handles, want.key).catch(() => undefined);
    throw error;
  }
}

async function withItems(
  { db }: Context,
  leases: readonly ClaimedLease[],
): Promise<ClaimedBatch[]> {
  const items = await loadClaimedItems(db, leases);
  return leases.map((lease, index) => ({
    handle: lease.handle,
    job: lease.operationId,
    tenant: lease.tenant,
    pipeline: lease.pipeline,
    generation: lease.generation,
    batch: lease.batch,
    delivery: lease.delivery,
    leasedUntil: lease.leasedUntil.toISOString(),
    heartbeatSeconds: lease.heartbeatSeconds,
    items: items[index]!,
  }));
}
