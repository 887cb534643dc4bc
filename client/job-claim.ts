import { ClaimRequest, JOB_LIMITS, type Claim, type ClaimedBatch } from "../contracts/job.ts";
import {
  bytesOfBatches,
  claimBatches,
  loadClaimedItems,
  type ClaimedLease,
} from "../db/job-claim.ts";
import { releaseLeases } from "../db/job-leases.ts";
import { holderOf } from "../db/job-handles.ts";
import { claimPollerOf } from "./claim-poller.ts";
import { leaseKey, type Context } from "./context.ts";
import { parseInput } from "./input.ts";
import { livenessOf } from "./job-liveness.ts";
import { workerNamesOf } from "./worker-names.ts";

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

export interface ClaimOptions {
  /** Ends the wait: then nothing is held. */
  signal?: AbortSignal;
  /** Asked after a wait, before anything is taken: false answers none, what it throws ends the claim. */
  stillMay?: () => Promise<boolean>;
}

/** Batches, as soon as there are some; none when the time is over or the worker may hold no more. */
export async function claim(
  context: Context,
  request: ClaimRequest,
  { signal, stillMay }: ClaimOptions = {},
): Promise<Claim> {
  const want = asked(context, request);
  signal?.throwIfAborted();
  await workerNamesOf(context.db).admit(want.key, want.worker);
  livenessOf(context.db).seen(want);
  const poller = claimPollerOf(context.db);
  // Asked for everybody who waits a moment ago: asking again for each would be most of what is asked.
  const known = want.waitMs > 0 && poller.knowsNothingFor(want);
  if (!known) {
    const first = await claimOnce(context, want, signal);
    if (first.batches.length > 0 || first.held || want.waitMs === 0) return first;
  }
  const waiter = {
    pipelines: want.pipelines,
    tenants: want.tenants,
    holder: known ? holderOf(want.key, want.worker) : undefined,
    full: (batches: number) => (batches >= want.held ? noneFor(want, 0, batches) : undefined),
    claim: async () => {
      if (stillMay && !(await stillMay())) return noneFor(want, 0, undefined);
      const got = await claimOnce(context, want, signal);
      return got.batches.length > 0 || got.held ? got : undefined;
    },
  };
  const later = await poller.wait(waiter, want.waitMs, signal);
  livenessOf(context.db).seen(want);
  return later ?? { waiting: 0, batches: [] };
}

async function claimOnce(context: Context, want: Asked, signal?: AbortSignal): Promise<Claim> {
  const { db } = context;
  const asked = { ...want, tellHeld: want.waitMs > 0 };
  const { waiting, held, leases } = await claimBatches(db, asked);
  if (leases.length === 0) return noneFor(want, waiting, held);
  const handles = leases.map((lease) => lease.handle);
  try {
    const few = await asManyAsFit(context, want, leases);
    const batches = await withItems(context, few);
    // Whoever asked has gone: somebody else may have them at once, and no delivery is spent.
    signal?.throwIfAborted();
    livenessOf(db).holds(
      few.map(({ handle }) => handle),
      want,
    );
    return { waiting, batches };
  } catch (error) {
    await releaseLeases(db, handles, want.key).catch(() => undefined);
    throw error;
  }
}

function noneFor({ held: most }: Asked, waiting: number, held: number | undefined): Claim {
  return { waiting, batches: [], ...(held === undefined ? {} : { held: { batches: held, most } }) };
}

/** The first, and those behind it as long as all of their payloads fit. The others are given back. */
async function asManyAsFit(
  { db }: Context,
  { key }: Asked,
  leases: readonly ClaimedLease[],
): Promise<readonly ClaimedLease[]> {
  const most = JOB_LIMITS.claimedBytes;
  const items = leases.reduce((sum, lease) => sum + lease.size, 0);
  if (leases.length === 1 || items * JOB_LIMITS.inlineBytes <= most) return leases;
  let left = most;
  const sizes = await bytesOfBatches(db, leases);
  const fit = sizes.findIndex((bytes, index) => (left -= bytes) < 0 && index > 0);
  if (fit === -1) return leases;
  const rest = leases.slice(fit).map(({ handle }) => handle);
  await releaseLeases(db, rest, key);
  return leases.slice(0, fit);
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
