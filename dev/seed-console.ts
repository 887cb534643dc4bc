import { createHash } from "node:crypto";
import { pathToFileURL } from "node:url";
import { v7 as uuidv7 } from "uuid";
import type { Outcome } from "../contracts/operation.ts";
import { recordTries } from "../db/attempts.ts";
import { setBrake } from "../db/brakes.ts";
import { finishOperation } from "../db/finish.ts";
import { appendLogs } from "../db/logs.ts";
import { addMarks } from "../db/marks.ts";
import { insertOperation, markCancelRequested, markPaused, markRunning } from "../db/operations.ts";
import { settleItems } from "../db/outcomes.ts";
import { openDb, type Db, type Tx } from "../db/pool.ts";
import { addDeltas } from "../db/progress.ts";
import { markWorkerSeen } from "../db/workers.ts";
import { seedJobs, type SeededJobs } from "./seed-jobs.ts";

/**
 * Fills a database with operations in every state, so that the console can be looked at and tested
 * without a worker. The same seed makes the same rows, but for their times.
 */
export interface Seeded {
  /** Running, with failed items, tries to come and logs. */
  running: string;
  failed: string;
  completed: string;
  accepted: string;
  paused: string;
  cancelling: string;
  jobs: SeededJobs;
}

export type Ending =
  | "accepted"
  | "running"
  | "completed"
  | "failed"
  | "cancelled"
  | "paused"
  | "cancelling";

const TENANTS = ["default", "acme", "north-wind"];
const BANKS = ["support-tickets", "contracts", "meeting-notes", "release-notes"];
const REASONS = [
  "the extractor took longer than 120 s",
  "not a document: the content is binary",
  "refused by policy: the text holds a card number",
];

export async function seedConsole(db: Db, operations = 300): Promise<Seeded> {
  const random = mulberry32(7);
  const made = new Map<Ending, string>();
  for (let i = 0; i < operations; i++) {
    const ending = endingOf(i, random());
    const id = await seedOperation(db, {
      ending,
      tenant: TENANTS[Math.floor(random() * TENANTS.length)]!,
      bank: BANKS[Math.floor(random() * BANKS.length)]!,
      // The newest are seconds old, the oldest hours.
      ageMs: (operations - i) ** 1.4 * 8_000 + random() * 20_000 + 5_000,
      items: 1 + Math.floor(random() ** 3 * 1_200),
      random,
    });
    made.set(ending, id);
  }
  await seedSurroundings(db);
  const jobs = await seedJobs(db);
  const of = (ending: Ending) => made.get(ending)!;
  return {
    running: of("running"),
    failed: of("failed"),
    completed: of("completed"),
    accepted: of("accepted"),
    paused: of("paused"),
    cancelling: of("cancelling"),
    jobs,
  };
}

const ALL: Ending[] = [
  "failed",
  "cancelled",
  "completed",
  "accepted",
  "paused",
  "cancelling",
  "running",
];

// One of each first; then the newest are open and most of the rest went well.
function endingOf(i: number, chance: number): Ending {
  if (i < ALL.length) return ALL[i]!;
  if (chance < 0.06) return "failed";
  if (chance < 0.1) return "cancelled";
  if (chance < 0.13) return "accepted";
  if (chance < 0.17) return "running";
  return "completed";
}

export interface NewSeed {
  ending: Ending;
  tenant: string;
  bank: string;
  ageMs: number;
  items: number;
  random: () => number;
  key?: string;
  /** The item's key, made from its number when absent. */
  itemKey?: (no: number) => string;
  reason?: string;
  logLine?: string;
}

/** One operation as far on as its ending says, with ledger, tries and logs. Answers its id. */
export async function seedOperation(db: Db, seed: NewSeed): Promise<string> {
  const id = uuidv7({ msecs: Date.now() - seed.ageMs });
  const keyOf =
    seed.itemKey ?? ((no: number) => `${seed.bank}/2026/${String(no).padStart(5, "0")}.md`);
  const keys = Array.from({ length: seed.items }, (_, i) => keyOf(i + 1));
  const perBatch = 100;
  await db.transaction(async (tx) => {
    await insertOperation(
      tx,
      {
        id,
        kind: "retain",
        tenant: seed.tenant,
        scope: seed.bank,
        key: seed.key ?? `import-${id.slice(-8)}`,
        digest: createHash("sha256").update(id).digest(),
        priority: 3,
        bytes: seed.items * 2_000,
        input: { bank: seed.bank, chunkSize: 3_000, maxAttempts: 3, totalSize: seed.items * 2_000 },
        submittedBy: "importer",
        batches: Array.from({ length: Math.ceil(seed.items / perBatch) }, (_, b) => ({
          from: b * perBatch + 1,
          to: Math.min(seed.items, (b + 1) * perBatch),
          size: perBatch * 2_000,
        })),
        items: keys.map((key, i) => ({ key, size: 2_000, batch: 1 + Math.floor(i / perBatch) })),
      },
      { bytes: Buffer.alloc(0), entries: [] },
      { operations: Infinity, items: Infinity, bytes: Infinity },
    );
    if (seed.ending !== "accepted") await work(tx, id, seed);
    await age(tx, id, seed);
  });
  return id;
}

async function work(tx: Tx, id: string, seed: NewSeed): Promise<void> {
  const operation = { id, generation: 1 };
  await markRunning(tx, id, 1);
  const whole = seed.ending === "completed" || seed.ending === "failed";
  const done = whole ? seed.items : Math.floor(seed.items * (0.2 + 0.6 * seed.random()));
  const reason = seed.reason ?? REASONS[Math.floor(seed.random() * REASONS.length)]!;
  const outcomes = Array.from({ length: done }, (_, i): Outcome => {
    if (seed.ending === "failed" && (i === 0 || seed.random() < 0.05)) return "failed";
    if (seed.ending === "running" && seed.random() < 0.01) return "failed";
    const chance = seed.random();
    if (chance < 0.1) return "unchanged";
    return chance < 0.13 ? "superseded" : "succeeded";
  });
  const settled = outcomes.map((outcome, i) => ({
    itemNo: i + 1,
    outcome,
    attempt: outcome === "failed" ? 3 : 0,
    ...(outcome === "failed" ? { reason } : {}),
  }));
  await settleItems(tx, operation, settled, "seed");
  const counts = new Map<Outcome, number>();
  for (const outcome of outcomes) counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
  await addDeltas(
    tx,
    id,
    "seed",
    [...counts].map(([outcome, n]) => ({ stage: "retain", outcome, n })),
  );
  if (!whole) await tryLater(tx, operation, done, seed, reason);
  await appendLogs(tx, logLines(id, done, seed, reason));
  await end(tx, id, seed);
}

async function tryLater(
  tx: Tx,
  operation: { id: string; generation: number },
  done: number,
  seed: NewSeed,
  error: string,
): Promise<void> {
  const waiting = Math.min(3, seed.items - done);
  await recordTries(
    tx,
    operation,
    Array.from({ length: waiting }, (_, i) => ({
      itemNo: done + 1 + i,
      error,
      dueAt: new Date(Date.now() + (i + 1) * 40_000),
      spends: true,
    })),
  );
}

function logLines(id: string, done: number, seed: NewSeed, reason: string) {
  const lines = [
    {
      operationId: id,
      level: "info" as const,
      message: `started: ${seed.items} items`,
      fields: { generation: 1 },
    },
    ...Array.from({ length: Math.min(150, Math.ceil(done / 10)) }, (_, i) => ({
      operationId: id,
      level: i % 9 === 4 ? ("warn" as const) : i % 3 === 0 ? ("debug" as const) : ("info" as const),
      message:
        i % 9 === 4
          ? `item ${i * 10 + 3}: ${reason}; tried again in 40 s`
          : `page of 10 items settled`,
      fields: { range: 1 + (i % 4), items: 10 },
    })),
  ];
  if (seed.logLine)
    lines.push({
      operationId: id,
      level: "warn",
      message: seed.logLine,
      fields: { range: 1, items: 1 },
    });
  return lines;
}

async function end(tx: Tx, id: string, seed: NewSeed): Promise<void> {
  const closing = { id, generation: 1, by: "seed" };
  switch (seed.ending) {
    case "completed":
    case "failed":
      await finishOperation(tx, { ...closing, outcome: "failed", reason: "left open" });
      break;
    case "cancelled":
      await finishOperation(tx, { ...closing, outcome: "cancelled", reason: "cancelled by dana" });
      break;
    case "paused":
      await markPaused(tx, id, "dana", "the extractor is over its quota until noon");
      break;
    case "cancelling":
      await markCancelRequested(tx, id, "dana");
      break;
    case "accepted":
    case "running":
  }
}

// Rows are written now and made older here: what the clock says is not for their writers to choose.
async function age(tx: Tx, id: string, seed: NewSeed): Promise<void> {
  const ended = ["completed", "failed", "cancelled"].includes(seed.ending);
  const tookMs = ended ? Math.min(seed.ageMs * 0.6, 2_000 + seed.items * 25) : seed.ageMs * 0.95;
  const startedAgoMs = seed.ageMs * 0.98;
  const ago = (ms: string) => `clock_timestamp() - (${ms}) * interval '1 ms'`;
  await tx.query(
    `update holdfast.operations
        set accepted_at = ${ago("$2::float8")}, due_at = ${ago("$2::float8")},
            started_at = case when started_at is not null then ${ago("$3::float8")} end,
            finished_at = case when finished_at is not null then ${ago("$3::float8 - $4::float8")} end
      where id = $1`,
    [id, seed.ageMs, startedAgoMs, tookMs],
  );
  for (const [table, column, order] of [
    ["outcomes", "settled_at", "item_no"],
    ["logs", "at", "seq"],
  ] as const) {
    await tx.query(
      `update holdfast.${table} t
          set ${column} = ${ago("$2::float8 - $3::float8 * place.share")}
         from (select ${order}, cume_dist() over (order by ${order})::float8 as share
                 from holdfast.${table} where operation_id = $1) place
        where t.operation_id = $1 and t.${order} = place.${order}`,
      [id, startedAgoMs, tookMs],
    );
  }
  await tx.query(
    `update holdfast.events set at = ${ago("$2::float8 - $3::float8")} where operation_id = $1`,
    [id, startedAgoMs, tookMs],
  );
}

async function seedSurroundings(db: Db): Promise<void> {
  for (const name of ["a", "b"]) {
    await markWorkerSeen(db, {
      id: uuidv7(),
      identity: `worker-${name}@host-${name}.example`,
      version: "0.1.0",
    });
  }
  await db.transaction(async (tx) => {
    await setBrake(tx, {
      appliesTo: "scope",
      name: "acme/contracts",
      reason: "legal hold: nothing is to be rewritten before Friday",
      by: "dana",
    });
    await addMarks(tx, "consolidate", "1", ["Ada Lovelace", "Charles Babbage"]);
    await tx.query(
      `insert into holdfast.findings (check_name, subject, message, repair, first_seen_at)
       select f.check_name, f.subject, f.message, f.repair, clock_timestamp() - f.minutes * interval '1 minute'
         from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int[])
              as f(check_name, subject, message, repair, minutes)
       on conflict do nothing`,
      [
        ["running-operation-has-workflow", "delivered-in-time"],
        [uuidv7(), "https://hooks.example.com/holdfast"],
        [
          "a running operation has no open workflow in Temporal",
          "an event has waited 14 min for its delivery, longer than its bound",
        ],
        ["start the same generation again", null],
        [12, 4],
      ],
    );
  });
}

/** Small, seeded randomness: the same numbers every time. */
export function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const url = process.env.DATABASE_URL;
  if (!url) throw new Error("DATABASE_URL is not set: which database is to be filled?");
  const db = openDb({ url });
  try {
    console.log(await seedConsole(db, Number(process.argv[2] ?? 300)));
  } finally {
    await db.close();
  }
}
