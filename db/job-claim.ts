import type { ClaimedItem } from "../contracts/job.ts";
import { handleOf, holderOf, newSecrets } from "./job-handles.ts";
import type { Queryable } from "./pool.ts";

/** Claims: batches of the job that was served least, in one statement, and what they hold. */

export interface ClaimAsked {
  pipelines: readonly string[];
  /** Absent: all. */
  tenants?: readonly string[] | undefined;
  /** Of this job only. */
  operation?: string | undefined;
  /** At most so many batches. */
  limit: number;
  /** Id of the caller's key, to which the handles are bound. */
  key: string;
  worker: string;
  /** Batches that the worker may hold. */
  held: number;
  heartbeat?: boolean;
  /** Says how many it holds where nothing is ready, too. */
  tellHeld?: boolean;
}

export interface ClaimedLease {
  operationId: string;
  tenant: string;
  pipeline: string;
  generation: number;
  batch: number;
  lease: number;
  delivery: number;
  /** Items of the batch, open or not. */
  size: number;
  heartbeatSeconds: number;
  leasedUntil: Date;
  beatUntil: Date | null;
  handle: string;
}

/**
 * Leases of up to `limit` batches, none of which anybody else holds, and how many jobs had work. `held`:
 * batches that the worker holds, when that is why there is none for it. Asked outside a transaction:
 * what it locks, others pass over.
 */
export async function claimBatches(
  db: Queryable,
  asked: ClaimAsked,
): Promise<{ waiting: number; held?: number; leases: ClaimedLease[] }> {
  const secrets = newSecrets(asked.limit);
  const { rows } = await db.query<{ claim: StoredClaim }>(
    "select holdfast.claim_job_batches($1, $2) as claim",
    [
      JSON.stringify({
        pipelines: asked.pipelines,
        tenants: asked.tenants,
        operation: asked.operation,
        batches: asked.limit,
        key: asked.key,
        holder: holderOf(asked.key, asked.worker),
        cap: asked.held,
        heartbeat: asked.heartbeat ?? false,
        tell_held: asked.tellHeld ?? false,
      }),
      secrets,
    ],
  );
  const { waiting, held, batches } = rows[0]!.claim;
  const leases = batches.map(({ secret, leasedUntil, beatUntil, ...lease }): ClaimedLease => ({
    ...lease,
    leasedUntil: new Date(leasedUntil),
    beatUntil: beatUntil === null ? null : new Date(beatUntil),
    handle: handleOf(lease, secrets, secret),
  }));
  return { waiting, ...(held == null ? {} : { held }), leases };
}

interface StoredClaim {
  waiting: number;
  held?: number | null;
  batches: (Omit<ClaimedLease, "leasedUntil" | "beatUntil" | "handle"> & {
    leasedUntil: string;
    beatUntil: string | null;
    secret: number;
  })[];
}

/**
 * What is open of each of these batches, in order of the leases given. The payload of an item is its
 * content as JSON; its reference stands in the meta.
 */
export async function loadClaimedItems(
  db: Queryable,
  leases: readonly Pick<ClaimedLease, "operationId" | "generation" | "batch">[],
): Promise<ClaimedItem[][]> {
  const { rows } = await db.query<{
    place: number;
    no: number;
    key: string;
    content: string | null;
    meta: { reference?: string } | null;
  }>("select place, no, key, content, meta from holdfast.claimed_items($1, $2, $3)", [
    leases.map((lease) => lease.operationId),
    leases.map((lease) => lease.generation),
    leases.map((lease) => lease.batch),
  ]);
  const items: ClaimedItem[][] = leases.map(() => []);
  for (const { place, no, key, content, meta } of rows) {
    items[place - 1]!.push({
      item: no,
      key,
      ...(content ? { payload: JSON.parse(content) } : {}),
      ...(meta?.reference === undefined ? {} : { reference: meta.reference }),
    });
  }
  return items;
}

/** Bytes of the payloads of each of these batches, open items or not, in their order. */
export async function bytesOfBatches(
  db: Queryable,
  leases: readonly Pick<ClaimedLease, "operationId" | "generation" | "batch">[],
): Promise<number[]> {
  const { rows } = await db.query<{ bytes: number }>(
    `select coalesce(sum(held.bytes), 0)::float8 as bytes
       from unnest($1::uuid[], $2::int[], $3::int[])
              with ordinality as l(operation_id, generation, batch, place)
       join holdfast.job_batches b
         on b.operation_id = l.operation_id and b.generation = l.generation and b.no = l.batch
       left join lateral (
         select octet_length(p.content)::bigint as bytes from holdfast.payloads p
          where p.operation_id = b.operation_id and p.item_no between b.first_item and b.last_item
            and p.part = 0
         offset 0) held on true
      group by l.place order by l.place`,
    [
      leases.map((lease) => lease.operationId),
      leases.map((lease) => lease.generation),
      leases.map((lease) => lease.batch),
    ],
  );
  return rows.map(({ bytes }) => bytes);
}
