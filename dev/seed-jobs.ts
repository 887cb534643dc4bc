import { createHash } from "node:crypto";
import { v7 as uuidv7 } from "uuid";
import type { PostedResult } from "../contracts/job.ts";
import { claimBatches, loadClaimedItems, type ClaimedLease } from "../db/job-claim.ts";
import { finishOperation } from "../db/finish.ts";
import { expireLeases } from "../db/job-leases.ts";
import { postResults } from "../db/job-post.ts";
import { markPullWorkersSeen } from "../db/job-workers.ts";
import { openJob } from "../db/job-open.ts";
import { insertJob, setRunAgain } from "../db/jobs.ts";
import { appendLogs } from "../db/logs.ts";
import {
  insertOperation,
  markAcceptedAgain,
  markCancelRequested,
  markPaused,
  markRunning,
} from "../db/operations.ts";
import type { Db } from "../db/pool.ts";
import { uncountRerun } from "../db/progress.ts";

/** Jobs in every state, made by the statements that make real ones, and then made older. */

export type JobEnding =
  | "accepted"
  | "collecting"
  | "running"
  | "paused"
  | "cancelling"
  | "completed"
  | "failed"
  | "cancelled"
  /** Ended, and running again over what was not finished. */
  | "again";

export interface NewJobSeed {
  ending: JobEnding;
  pipeline: string;
  tenant?: string;
  items: number;
  ageMs: number;
  /** Share of the items that workers have answered; all of them when it has ended. */
  done?: number;
  /** Every so many-th answer is an error. */
  errorEvery?: number;
  /** Batches whose holders vanish until they are lost. */
  lost?: number;
  /** Who holds a batch now, two each. */
  holders?: readonly string[];
  itemKey?: (no: number) => string;
  error?: string;
  /** Of every answer that is no error, instead of one made from its number. */
  result?: Exclude<PostedResult["result"], undefined>;
  reference?: string;
  worker?: string;
  key?: string;
}

export interface SeededJobs {
  running: string;
  unserved: string;
  failed: string;
  completed: string;
  cancelled: string;
  paused: string;
  again: string;
}

const BATCH = 24;
const SERVICE = "seed";
const MINUTE = 60_000;

export async function seedJobs(db: Db): Promise<SeededJobs> {
  await seedWorkers(db);
  const job = (seed: NewJobSeed) => seedJob(db, seed);
  for (let i = 0; i < 12; i++) {
    await job({
      ending: i % 5 === 4 ? "cancelled" : "completed",
      pipeline: ["ocr", "geocode", "thumbnails"][i % 3]!,
      tenant: ["default", "acme"][i % 2]!,
      items: 40 + i * 37,
      ageMs: (14 - i) * 55 * MINUTE,
      errorEvery: 31 + i,
    });
  }
  const failed = await job({
    ending: "failed",
    pipeline: "geocode",
    items: 200,
    ageMs: 50 * MINUTE,
    errorEvery: 1.5,
    error: "429 from the geocoder: the daily quota is used up",
  });
  const completed = await job({
    ending: "completed",
    pipeline: "ocr",
    items: 480,
    ageMs: 45 * MINUTE,
    errorEvery: 160,
    lost: 1,
  });
  const cancelled = await job({
    ending: "cancelled",
    pipeline: "licences",
    items: 300,
    done: 0.4,
    errorEvery: 40,
    ageMs: 40 * MINUTE,
  });
  const again = await job({
    ending: "again",
    pipeline: "licences",
    items: 240,
    done: 0.5,
    errorEvery: 9,
    ageMs: 35 * MINUTE,
    holders: ["scanner-1"],
  });
  const running = await job({
    ending: "running",
    pipeline: "ocr",
    items: 2_400,
    done: 0.55,
    errorEvery: 90,
    lost: 2,
    ageMs: 38 * MINUTE,
    holders: ["scanner-1", "scanner-2", "gone-home"],
    key: "scans-2026-11",
  });
  const unserved = await job({
    ending: "running",
    pipeline: "thumbnails",
    tenant: "acme",
    items: 2_880,
    done: 0.1,
    ageMs: 25 * MINUTE,
  });
  const paused = await job({
    ending: "paused",
    pipeline: "transcode",
    items: 90,
    done: 0.3,
    ageMs: 20 * MINUTE,
  });
  await job({ ending: "cancelling", pipeline: "ocr", items: 500, done: 0.2, ageMs: 9 * MINUTE });
  await job({ ending: "collecting", pipeline: "licences", items: 0, ageMs: 2 * MINUTE });
  await job({ ending: "accepted", pipeline: "embeddings", items: 64, ageMs: 4_000 });
  return { running, unserved, failed, completed, cancelled, paused, again };
}

/** One job as far on as its ending says. Answers its id. */
export async function seedJob(db: Db, seed: NewJobSeed): Promise<string> {
  const id = await accept(db, seed);
  if (seed.ending === "accepted") {
    await makeOlder(db, id, seed);
    return id;
  }
  await begin(db, id, 1);
  for (let i = 0; i < (seed.lost ?? 0); i++) await lose(db, id, seed);
  const ended = ["completed", "failed"].includes(seed.ending);
  await work(db, id, seed, ended ? 1 : (seed.done ?? 0.5));
  await end(db, id, seed);
  if (seed.ending === "again") await runAgain(db, id, seed);
  await makeOlder(db, id, seed);
  // Leases are of now, or they would be over.
  for (const worker of seed.holders ?? []) await claim(db, id, seed, worker, 2);
  return id;
}

async function accept(db: Db, seed: NewJobSeed): Promise<string> {
  const id = uuidv7({ msecs: Date.now() - seed.ageMs });
  const keyOf = seed.itemKey ?? ((no: number) => `scans/2026/${String(no).padStart(6, "0")}.tif`);
  const collector = seed.ending === "collecting" ? "changed-files" : undefined;
  await db.transaction(async (tx) => {
    await insertOperation(
      tx,
      {
        id,
        kind: "job",
        tenant: seed.tenant ?? "default",
        scope: "",
        ...(seed.key === undefined ? {} : { key: seed.key }),
        digest: createHash("sha256").update(id).digest(),
        priority: 3,
        bytes: seed.items * 40,
        input: { pipeline: seed.pipeline, ...(collector && { collector }) },
        submittedBy: "importer",
        batches: Array.from({ length: Math.ceil(seed.items / BATCH) }, (_, b) => ({
          from: b * BATCH + 1,
          to: Math.min(seed.items, (b + 1) * BATCH),
          size: 1,
        })),
        items: Array.from({ length: seed.items }, (_, i) => ({
          key: keyOf(i + 1),
          size: 1,
          batch: 1 + Math.floor(i / BATCH),
        })),
      },
      { bytes: Buffer.alloc(0), entries: [] },
      { operations: Infinity, items: Infinity, bytes: Infinity },
    );
    await insertJob(tx, {
      operationId: id,
      tenant: seed.tenant ?? "default",
      pipeline: seed.pipeline,
      weight: 4,
      batchSize: BATCH,
      leaseSeconds: 300,
      heartbeatSeconds: 60,
      deliveries: 2,
      maxFailedShare: 0.5,
      collector,
    });
  });
  return id;
}

async function begin(db: Db, id: string, generation: number): Promise<void> {
  await db.transaction(async (tx) => {
    await markRunning(tx, id, generation);
    await openJob(tx, id, generation);
  });
}

function claim(db: Db, id: string, seed: NewJobSeed, worker: string, limit: number) {
  return claimBatches(db, {
    pipelines: [seed.pipeline],
    operation: id,
    limit,
    key: SERVICE,
    worker,
    held: 1_000_000,
    heartbeat: true,
  }).then(({ leases }) => leases);
}

async function work(db: Db, id: string, seed: NewJobSeed, share: number): Promise<void> {
  let left = Math.floor((seed.items * share) / BATCH) || Math.ceil(share);
  if (share === 1) left = Infinity;
  for (let round = 0; left > 0; round++) {
    const worker = seed.worker ?? `scanner-${1 + (round % 2)}`;
    const leases = await claim(db, id, seed, worker, Math.min(8, left));
    if (leases.length === 0) return;
    left -= leases.length;
    const items = await loadClaimedItems(db, leases);
    for (const [place, lease] of leases.entries()) {
      const results = items[place]!.map(({ item }) => answerOf(lease, item, seed));
      await postResults(db, { operationId: id, key: SERVICE, results });
    }
    await appendLogs(
      db,
      leases.map((lease, place) => logLine(lease, items[place]!.length, worker)),
    );
  }
}

function answerOf({ handle }: ClaimedLease, item: number, seed: NewJobSeed): PostedResult {
  const { errorEvery } = seed;
  if (errorEvery !== undefined && item % errorEvery < 1) {
    return { handle, item, error: seed.error ?? "not a picture: the file begins with %PDF" };
  }
  if (item % 50 === 3) {
    return { handle, item, reference: seed.reference ?? `s3://pages/${item}.json` };
  }
  const pages = 1 + (item % 7);
  return {
    handle,
    item,
    result: seed.result ?? {
      pages,
      language: item % 9 === 0 ? "de" : "en",
      title: `Page ${item}`,
      words: item * 31,
    },
    counts: { pages, blank_pages: item % 11 === 0 ? 1 : 0 },
  };
}

function logLine({ operationId, batch, delivery }: ClaimedLease, items: number, worker: string) {
  return {
    operationId,
    level: batch % 13 === 4 ? ("warn" as const) : ("info" as const),
    message:
      batch % 13 === 4
        ? `batch ${batch}: the worker has not extended its lease for 55 s`
        : `batch ${batch}: ${items} results from ${worker}`,
    fields: { batch, delivery, worker },
  };
}

// Three items are handed out as often as may be and never answered in time: the last delivery is item by
// item, and what else is handed out with them is answered. Then the first holder posts after all.
async function lose(db: Db, id: string, seed: NewJobSeed): Promise<void> {
  const [first] = await claim(db, id, seed, "gone-home", 1);
  if (!first) return;
  const items = (await loadClaimedItems(db, [first]))[0]!;
  const vanishing = new Set(items.slice(0, 3).map(({ item }) => item));
  await expire(db, id);
  const leases = await claim(db, id, seed, "scanner-2", BATCH);
  const open = await loadClaimedItems(db, leases);
  for (const [place, lease] of leases.entries()) {
    const results = open[place]!.filter(({ item }) => !vanishing.has(item)).map(({ item }) =>
      answerOf(lease, item, seed),
    );
    if (results.length > 0) await postResults(db, { operationId: id, key: SERVICE, results });
  }
  await expire(db, id);
  const late = [...vanishing].map((item) => answerOf(first, item, seed));
  await postResults(db, { operationId: id, key: SERVICE, results: late });
}

async function expire(db: Db, id: string): Promise<void> {
  await db.query(
    `update holdfast.job_batches set leased_until = clock_timestamp() - interval '1 second'
      where operation_id = $1 and state = 'leased'`,
    [id],
  );
  await db.transaction((tx) => expireLeases(tx));
}

async function end(db: Db, id: string, { ending }: NewJobSeed): Promise<void> {
  await db.transaction(async (tx) => {
    const closing = { id, generation: 1, by: "seed" };
    switch (ending) {
      case "completed":
      case "failed":
        await finishOperation(tx, { ...closing, outcome: "failed", reason: "left open" });
        break;
      case "cancelled":
      case "again":
        await finishOperation(tx, {
          ...closing,
          outcome: "cancelled",
          reason: "cancelled by dana",
        });
        break;
      case "paused":
        await markPaused(tx, id, "dana", "the encoder licence has to be renewed first");
        break;
      case "cancelling":
        await markCancelRequested(tx, id, "dana");
        break;
      case "accepted":
      case "collecting":
      case "running":
    }
  });
}

async function runAgain(db: Db, id: string, seed: NewJobSeed): Promise<void> {
  await db.transaction(async (tx) => {
    await setRunAgain(tx, id, "unfinished", 2);
    await uncountRerun(tx, id, 2, "job");
    await markAcceptedAgain(tx, id);
  });
  await begin(db, id, 2);
  await work(db, id, { ...seed, errorEvery: 17 }, 0.2);
}

async function makeOlder(
  db: Db,
  id: string,
  { ageMs, ending, holders }: NewJobSeed,
): Promise<void> {
  const ended = ["completed", "failed", "cancelled"].includes(ending);
  const startedMs = ageMs * 0.98;
  // Where nobody holds anything, nobody was there for the second half of the time.
  const endedMs = ended ? ageMs * 0.3 : holders ? 0 : ageMs * 0.5;
  const ago = (ms: string) => `clock_timestamp() - (${ms}) * interval '1 ms'`;
  await db.query(
    `update holdfast.operations
        set accepted_at = ${ago("$2::float8")}, due_at = ${ago("$2::float8")},
            started_at = case when started_at is not null then ${ago("$3::float8")} end,
            finished_at = case when finished_at is not null then ${ago("$4::float8")} end
      where id = $1`,
    [id, ageMs, startedMs, endedMs],
  );
  // In the order they were written, from the start to the end or to now.
  for (const [table, column] of [
    ["outcomes", "settled_at"],
    ["logs", "at"],
    ["progress_deltas", "at"],
    ["job_results", "at"],
    ["late_results", "at"],
    ["job_leases", "at"],
  ] as const) {
    await db.query(
      `update holdfast.${table} t
          set ${column} = ${ago("$2::float8 - ($2::float8 - $3::float8) * place.share")}
         from (select tableoid as part, ctid as row,
                      cume_dist() over (order by ${column})::float8 as share
                 from holdfast.${table} where operation_id = $1) place
        where t.operation_id = $1 and t.tableoid = place.part and t.ctid = place.row`,
      [id, startedMs, endedMs],
    );
  }
  await db.query(
    `update holdfast.job_turns set served_at = ${ago("$2::float8")}
      where operation_id = $1 and served_at > '-infinity'`,
    [id, endedMs],
  );
  await db.query(
    `update holdfast.job_batches set ready_at = ${ago("$2::float8")}
      where operation_id = $1 and state = 'ready'`,
    [id, startedMs],
  );
}

/** `gone-home` and `resizer-1` were there until 12 minutes ago. */
async function seedWorkers(db: Db): Promise<void> {
  const seen = (worker: string, pipelines: string[]) => ({ key: SERVICE, worker, pipelines });
  await markPullWorkersSeen(db, [
    seen("scanner-1", ["ocr", "licences", "transcode"]),
    seen("scanner-2", ["ocr", "licences"]),
    seen("gone-home", ["ocr"]),
    seen("resizer-1", ["thumbnails"]),
  ]);
  await db.query(
    `update holdfast.job_workers
        set seen_at = clock_timestamp() - case when worker in ('gone-home', 'resizer-1')
                                               then interval '12 minutes' else '0' end,
            first_seen_at = clock_timestamp() - interval '3 hours'`,
  );
}
