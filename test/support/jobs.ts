import { v7 as uuidv7 } from "uuid";
import type { PostedResult } from "../../contracts/job.ts";
import { claimBatches, loadClaimedItems, type ClaimedLease } from "../../db/job-claim.ts";
import { postResults } from "../../db/job-post.ts";
import { openJob } from "../../db/job-open.ts";
import { insertJob, type NewJob } from "../../db/jobs.ts";
import { insertOperation, markRunning } from "../../db/operations.ts";
import type { Db, Queryable } from "../../db/pool.ts";
import { readProgress } from "../../db/progress.ts";

export interface JobAsked extends Partial<NewJob> {
  items: number;
  /** Left as accepted: neither running nor handed out. */
  accepted?: boolean;
}

/** A job that is handed out, of `items` items. Answers its id. */
export async function aJob(db: Db, asked: JobAsked): Promise<string> {
  const id = uuidv7();
  const batchSize = asked.batchSize ?? 10;
  const batches = Array.from({ length: Math.ceil(asked.items / batchSize) }, (_, n) => ({
    from: n * batchSize + 1,
    to: Math.min(asked.items, (n + 1) * batchSize),
    size: 1,
  }));
  await db.transaction(async (tx) => {
    await insertOperation(
      tx,
      {
        id,
        kind: "job",
        tenant: asked.tenant ?? "default",
        scope: "",
        digest: Buffer.from("digest"),
        priority: 3,
        bytes: 0,
        input: { pipeline: asked.pipeline ?? "p" },
        submittedBy: "test",
        batches,
        items: Array.from({ length: asked.items }, (_, n) => ({
          key: `item-${n + 1}`,
          size: 1,
          batch: Math.floor(n / batchSize) + 1,
        })),
      },
      payloadsOf(asked.items),
      { operations: 1e9, items: 1e9, bytes: 1e9 },
    );
    await insertJob(tx, {
      tenant: "default",
      pipeline: "p",
      weight: 1,
      leaseSeconds: 300,
      heartbeatSeconds: 60,
      deliveries: 2,
      maxFailedShare: 0.5,
      ...asked,
      operationId: id,
      batchSize,
    });
  });
  if (!asked.accepted) await begin(db, id, 1);
  return id;
}

/** What `begin` of a job does in the database. */
export async function begin(db: Db, id: string, generation: number): Promise<void> {
  await db.transaction(async (tx) => {
    await markRunning(tx, id, generation);
    await openJob(tx, id, generation);
  });
}

function payloadsOf(items: number) {
  const texts = Array.from({ length: items }, (_, n) => Buffer.from(JSON.stringify({ n: n + 1 })));
  return {
    bytes: Buffer.concat(texts),
    entries: texts.map((text, n) => ({
      itemNo: n + 1,
      part: 0,
      contentBytes: text.length,
      metaBytes: 0,
    })),
  };
}

export interface Held extends ClaimedLease {
  items: number[];
}

/** Batches claimed by a worker, with their open items. */
export async function claimed(
  db: Db,
  worker: string,
  { limit = 1, pipelines = ["p"], ...asked }: Partial<Parameters<typeof claimBatches>[1]> = {},
): Promise<Held[]> {
  const { leases } = await claimBatches(db, {
    pipelines,
    limit,
    key: "key",
    worker,
    held: 1_000,
    ...asked,
  });
  const items = await loadClaimedItems(db, leases);
  return leases.map((lease, n) => ({ ...lease, items: items[n]!.map(({ item }) => item) }));
}

/** A good result for each of these items. */
export function results(lease: Held, items: readonly number[] = lease.items): PostedResult[] {
  return items.map((item) => ({
    handle: lease.handle,
    item,
    result: { item },
    counts: { seen: 2 },
  }));
}

export async function post(
  db: Db,
  operationId: string,
  posted: readonly PostedResult[],
  { key = "key", repeatKey }: { key?: string; repeatKey?: string } = {},
) {
  const { answer } = await postResults(db, { operationId, key, repeatKey, results: posted });
  return answer!;
}

/** The time of some leases is over. All of them, unless one is named. */
export async function passLease(db: Db, lease?: { operationId: string; batch: number }) {
  await db.query(
    `update holdfast.job_batches
        set leased_until = clock_timestamp() - interval '1 second'
      where state = 'leased' and ($1::uuid is null or operation_id = $1)
        and ($2::int is null or no = $2)`,
    [lease?.operationId ?? null, lease?.batch ?? null],
  );
}

/** Counts of a job, `stage/outcome` each, but for how often its batches were handed out. */
export async function countsOf(db: Db, id: string): Promise<Record<string, number>> {
  const deltas = (await readProgress(db, [id])).get(id) ?? [];
  const counts = deltas.map(({ stage, outcome, n }) => [`${stage}/${outcome}`, n] as const);
  return Object.fromEntries(counts.filter(([name]) => !name.endsWith("deliveries")));
}

/** Batches of a job's newest generation by state, and what its leases came to. */
export async function countBatches(
  db: Queryable,
  operationId: string,
): Promise<{ ready: number; leased: number; done: number }> {
  const { rows } = await db.query<{ ready: number; leased: number; done: number }>(
    `select count(*) filter (where b.state = 'ready')::int as ready,
            count(*) filter (where b.state = 'leased')::int as leased,
            count(*) filter (where b.state = 'done')::int as done
       from holdfast.job_batches b
       join holdfast.operations op on op.id = b.operation_id
      where b.operation_id = $1 and b.generation = op.generation`,
    [operationId],
  );
  return rows[0]!;
}

/** How often batches of a job were handed out, and handed out again; all generations. */
export async function countDeliveries(
  db: Queryable,
  operationId: string,
): Promise<{ deliveries: number; redeliveries: number }> {
  const { rows } = await db.query<{ deliveries: number; redeliveries: number }>(
    `select count(*)::int as deliveries,
            count(*) filter (where delivery > 1)::int as redeliveries
       from holdfast.job_leases where operation_id = $1`,
    [operationId],
  );
  return rows[0]!;
}
