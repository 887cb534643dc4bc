import type { ClaimedItem } from "../contracts/job.ts";
import { isOpen } from "./items.ts";
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
}

export interface ClaimedLease {
  operationId: string;
  tenant: string;
  pipeline: string;
  generation: number;
  batch: number;
  lease: number;
  delivery: number;
  heartbeatSeconds: number;
  leasedUntil: Date;
  beatUntil: Date | null;
  handle: string;
}

/**
 * Leases of up to `limit` batches, none of which anybody else holds, and how many jobs had work. `held`:
 * batches that the worker holds, when that is why there was work and none for it. Asked outside a
 * transaction: what it locks, others pass over.
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
  }>(
    `select l.place::int as place, i.no, i.key, p.content, p.meta
       from unnest($1::uuid[], $2::int[], $3::int[])
              with ordinality as l(operation_id, generation, batch, place)
       join holdfast.job_batches b
         on b.operation_id = l.operation_id and b.generation = l.generation and b.no = l.batch
       join holdfast.items i
         on i.operation_id = l.operation_id and i.no between b.first_item and b.last_item
       left join holdfast.payloads p
         on p.operation_id = l.operation_id and p.item_no = i.no and p.part = 0
      where ${isOpen("i", "l.generation", "l.operation_id")}
      order by l.place, i.no`,
    [
      leases.map((lease) => lease.operationId),
      leases.map((lease) => lease.generation),
      leases.map((lease) => lease.batch),
    ],
  );
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
