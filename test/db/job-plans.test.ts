import { expect, test } from "vitest";
import { countOpen } from "../../db/items.ts";
import { expireDueLeases, hasDueLeases } from "../../db/job-leases.ts";
import { openJob } from "../../db/job-open.ts";
import { closeSettledBatches } from "../../db/job-settled.ts";
import { readStalls } from "../../db/job-stall.ts";
import { listLogs } from "../../db/logs.ts";
import { markRunning } from "../../db/operations.ts";
import { settleItems } from "../../db/outcomes.ts";
import type { Db, Queryable } from "../../db/pool.ts";
import { freshDb } from "../support/fresh-db.ts";
import { aJob, claimed, passLease } from "../support/jobs.ts";
import { rowsRead } from "../support/rows-read.ts";

interface Node {
  "Relation Name"?: string;
  "Index Name"?: string;
  "Actual Loops": number;
  "Actual Rows": number;
  "Rows Removed by Filter"?: number;
  Plans?: Node[];
}

/** How the statements of `work` were run: every node that read a table. */
async function reads(db: Db, work: (db: Queryable) => Promise<unknown>): Promise<Node[]> {
  const seen: Node[] = [];
  const walk = (node: Node) => {
    if (node["Relation Name"]) seen.push(node);
    for (const inner of node.Plans ?? []) walk(inner);
  };
  const explaining = {
    async query(text: string, values?: unknown[]) {
      const { rows } = await db.query<{ "QUERY PLAN": [{ Plan: Node }] }>(
        `explain (analyze, format json) ${text}`,
        values,
      );
      walk(rows[0]!["QUERY PLAN"][0].Plan);
      return { rows: [], rowCount: 0 };
    },
  } as Queryable;
  // What it makes of no rows is not asked.
  await work(explaining).catch(() => undefined);
  return seen;
}

/** Rows that were looked at in a table, its partitions together. */
const looked = (nodes: readonly Node[], table: RegExp) =>
  nodes
    .filter((node) => table.test(node["Relation Name"]!))
    .reduce(
      (sum, node) =>
        sum + node["Actual Loops"] * (node["Actual Rows"] + (node["Rows Removed by Filter"] ?? 0)),
      0,
    );

test("whether an earlier outcome still stands is only asked where there is one", async () => {
  const { db } = await freshDb();
  const id = await aJob(db, { items: 500 });
  const settle = (tx: Queryable, generation: number) =>
    settleItems(
      tx,
      { id, generation },
      Array.from({ length: 50 }, (_, n) => ({ itemNo: n + 1, outcome: "succeeded", attempt: 1 })),
      "test",
    );
  const asked = (nodes: readonly Node[]) =>
    nodes
      .filter((node) => node["Relation Name"] === "jobs")
      .reduce((sum, node) => sum + node["Actual Loops"], 0);
  expect(asked(await reads(db, (tx) => settle(tx, 1)))).toBe(0);
  expect(asked(await reads(db, (tx) => countOpen(tx, id, 1)))).toBe(0);
  expect(asked(await reads(db, (tx) => countOpen(tx, id, 2)))).toBe(50);
});

test("a job of 50,000 items that no statistics know of begins with one look a batch", async () => {
  const { db } = await freshDb();
  const id = await aJob(db, { items: 50_000, accepted: true });
  const looked = await rowsRead(db, "^(items|outcomes)_", async (tx) => {
    await markRunning(tx, id, 1);
    expect(await openJob(tx, id, 1)).toBe(true);
  });
  expect(looked).toBeGreaterThanOrEqual(5_000);
  expect(looked).toBeLessThan(20_000);
  expect(await claimed(db, "w", { limit: 100 })).toHaveLength(100);
});

test("whether a batch is settled is asked of that batch alone, among any number", async () => {
  const { db } = await freshDb();
  const id = await aJob(db, { items: 20_000, batchSize: 1 });
  await db.transaction((tx) =>
    settleItems(
      tx,
      { id, generation: 1 },
      [{ itemNo: 7, outcome: "succeeded", attempt: 1 }],
      "test",
    ),
  );
  const looked = await rowsRead(db, "^job_batches_", async (tx) => {
    expect(await closeSettledBatches(tx, id, 1, [7, -7])).toBe(1);
  });
  expect(looked).toBeGreaterThanOrEqual(1);
  expect(looked).toBeLessThan(100);
});

test("how a long job stands is read without its past", async () => {
  const { db } = await freshDb();
  const id = await aJob(db, { items: 10 });
  await db.query(
    `insert into holdfast.progress_deltas (operation_id, source, stage, outcome, n, folded, at)
     select $1::uuid, 'post/' || n, 'job', 'succeeded', 50, true, now() - n * interval '1 second'
       from generate_series(1, 20000) n`,
    [id],
  );
  await db.query("update holdfast.operations set started_at = now() - interval '1 day'");
  const looked = await rowsRead(db, "^progress_deltas_", async (tx) => {
    const facts = (await readStalls(tx, [id])).get(id)!;
    expect(facts.settled).toBeGreaterThanOrEqual(299 * 50);
    expect(facts.settled).toBeLessThanOrEqual(301 * 50);
  });
  expect(looked).toBeGreaterThan(290);
  expect(looked).toBeLessThan(700);
  // More posts than are looked at: the pace is that of the newest.
  await db.query(
    `update holdfast.progress_deltas set at = now() - extract(epoch from now() - at)
       * interval '10 milliseconds'`,
  );
  const facts = (await readStalls(db, [id])).get(id)!;
  expect(facts.settled).toBe(2_000 * 50);
  expect(facts.now.getTime() - facts.settledSince!.getTime()).toBeLessThan(60_000);
});

test("a list of long jobs reads a bounded part of each, whatever was handed out before", async () => {
  const { db } = await freshDb();
  const ids: string[] = [];
  for (let n = 0; n < 4; n++) ids.push(await aJob(db, { items: 3_000, batchSize: 1 }));
  await claimed(db, "w", { limit: 100 });
  const list = (tx: Queryable) => readStalls(tx, ids, 100);
  expect(await rowsRead(db, "^(job_batches|job_leases|items|outcomes)_", list)).toBeLessThan(1_700);
  expect([...(await readStalls(db, ids, 100)).values()].map(({ ready }) => ready)).toEqual(
    ids.map(() => 100),
  );
});

test("a page of a long log is found without the rest, which no statistics know of", async () => {
  const { db } = await freshDb();
  const id = await aJob(db, { items: 10 });
  await db.query(
    `insert into holdfast.logs (operation_id, level, message)
     select $1::uuid, case when n % 100 = 0 then 'error' else 'info' end, 'line ' || n
       from generate_series(1, 30000) n`,
    [id],
  );
  const read = async (filter: Omit<Parameters<typeof listLogs>[2], "limit">) => {
    // One session: what it read is counted there until it is told.
    return db.transaction(async (tx) => {
      const rows = async () =>
        (
          await tx.query<{ n: number }>(
            `select sum(pg_stat_get_xact_tuples_fetched(oid) + pg_stat_get_xact_tuples_returned(oid))::int as n
               from pg_class where relname ~ '^logs_\\d'`,
          )
        ).rows[0]!.n;
      const before = await rows();
      const { items } = await listLogs(tx, id, { ...filter, limit: 100 });
      expect(items).toHaveLength(100);
      return { lines: items.map(({ message }) => message), looked: (await rows()) - before };
    });
  };
  const newest = await read({ newest: true });
  expect(newest.lines.slice(-1)).toEqual(["line 30000"]);
  expect(newest.looked).toBeGreaterThanOrEqual(100);
  expect(newest.looked).toBeLessThan(250);
  const oldest = await read({});
  expect(oldest.lines[0]).toBe("line 1");
  expect(oldest.looked).toBeLessThan(250);
  const errors = await read({ newest: true, level: "error" });
  expect(errors.lines[0]).toBe("line 20100");
  expect(errors.looked).toBeLessThan(250);
});

test("upkeep that finds no lease over has looked at none", async () => {
  const { db } = await freshDb();
  await aJob(db, { items: 20_000, batchSize: 10 });
  await claimed(db, "w", { limit: 100 });
  expect(looked(await reads(db, hasDueLeases), /^job_batches_/)).toBe(0);
  await passLease(db, undefined);
  expect(await hasDueLeases(db)).toBe(true);
  expect(await expireDueLeases(db)).toMatchObject({ expired: 100 });
  expect(await hasDueLeases(db)).toBe(false);
});
