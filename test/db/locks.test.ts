import { expect, test } from "vitest";
import { finishOperation } from "../../db/finish.ts";
import { findDueItems, openInRange } from "../../db/items.ts";
import {
  ownBank,
  ownKnowledge,
  ownOperation,
  shareBank,
  shareKnowledge,
  shareOperation,
} from "../../db/locks.ts";
import { lockDocuments } from "../../db/documents.ts";
import { markRunning } from "../../db/operations.ts";
import { settleItems } from "../../db/outcomes.ts";
import { claimForRelay } from "../../db/relay.ts";
import { readProgress } from "../../db/progress.ts";
import { openDb, type Db, type Queryable, type Tx } from "../../db/pool.ts";
import { documents, fresh } from "../support/fresh.ts";
import { insertOperationRows } from "../support/rows.ts";

const WORDS = ["a", "B", "ä", "z", "\u{1f980}", "\uff5e", "\u{10ffff}", "doc-1", "doc-10"];

test("commits of work, finishes, cancels and consolidations of one bank never deadlock", async () => {
  const { url, db, holdfast } = await fresh();
  const busy = openDb({ url, size: 24 });
  try {
    const ids: string[] = [];
    for (let n = 0; n < 4; n++) {
      const { id } = await holdfast.retain.submit({ bank: "one", items: documents(60) });
      await markRunning(db, id, 1);
      ids.push(id);
    }
    const { rows } = await db.query<{ id: string }>("select id::text from holdfast.banks");
    const bankId = rows[0]!.id;
    const settled = new Map(ids.map((id) => [id, 0]));

    const commit = (id: string, from: number, turn: number) =>
      busy.transaction(async (tx) => {
        await shareOperation(tx, id);
        await shareBank(tx, bankId);
        // Each in an order of its own, with ids that sort differently by code unit and by byte.
        const some = WORDS.filter((_, index) => (index + turn) % 3 !== 0);
        await lockDocuments(tx, bankId, turn % 2 === 0 ? some : some.toReversed());
        const now = await settleItems(
          tx,
          { id, generation: 1 },
          [from, from + 1].map((itemNo) => ({ itemNo, outcome: "succeeded", attempt: 0 })),
          "me",
        );
        await shareKnowledge(tx, bankId);
        settled.set(id, settled.get(id)! + now.size);
      });
    const consolidate = () =>
      busy.transaction(async (tx) => {
        await shareBank(tx, bankId);
        await ownKnowledge(tx, bankId);
      });
    const close = (id: string, outcome: "failed" | "cancelled") =>
      busy.transaction((tx) =>
        finishOperation(tx, { id, generation: 1, outcome, reason: "r", by: "me" }),
      );

    const work: Promise<unknown>[] = [];
    for (let turn = 0; turn < 24; turn++) {
      for (const id of ids) work.push(commit(id, 1 + ((turn * 2) % 60), turn));
      work.push(consolidate());
      if (turn === 16) for (const id of ids) work.push(holdfast.operation.cancel(id));
      if (turn >= 20) for (const id of ids) work.push(close(id, "cancelled"));
    }
    const outcomes = await Promise.allSettled(work);
    const failures = outcomes.flatMap((one) => (one.status === "rejected" ? [one.reason] : []));
    expect(failures.filter((error: { code?: string }) => error.code !== "already-ended")).toEqual(
      [],
    );
    for (const id of ids) {
      const { state, result } = await holdfast.operation.get(id);
      expect(state).toBe("cancelled");
      expect(Object.values(result!).reduce<number>((sum, n) => sum + (n as number), 0)).toBe(60);
    }
  } finally {
    await busy.close();
  }
});

test("documents are locked in one order whatever order they are named in", async () => {
  const { db, holdfast } = await fresh();
  await holdfast.retain.submit({ bank: "one", items: documents(1) });
  const { rows } = await db.query<{ id: string }>("select id::text from holdfast.banks");
  const bankId = rows[0]!.id;
  // New rows in the first round, rows that stand in the others.
  for (let round = 0; round < 6; round++) {
    await Promise.all(
      [WORDS, WORDS.toReversed(), WORDS.slice(3), WORDS.slice(0, 5).toReversed()].map((some) =>
        db.transaction(async (tx) => {
          const heads = await lockDocuments(tx, bankId, some);
          expect([...heads.keys()].toSorted()).toEqual(some.toSorted());
        }),
      ),
    );
  }
});

test("who closes an operation waits for its commits, and they for nobody else", async () => {
  const { db } = await fresh();
  const order: string[] = [];
  let release: () => void = () => undefined;
  const held = new Promise<void>((resolve) => (release = resolve));
  const id = "01900000-0000-7000-8000-000000000001";
  const holding = (lock: (tx: Tx) => Promise<void>, name: string, wait = Promise.resolve()) =>
    db.transaction(async (tx) => {
      await lock(tx);
      order.push(name);
      await wait;
    });
  let locked: () => void = () => undefined;
  const isLocked = new Promise<void>((resolve) => (locked = resolve));
  const working = holding((tx) => shareOperation(tx, id).then(locked), "work", held);
  await isLocked;
  await holding((tx) => shareOperation(tx, id), "beside");
  const closing = holding((tx) => ownOperation(tx, id), "close");
  await holding((tx) => ownOperation(tx, "01900000-0000-7000-8000-000000000002"), "other");
  await waitFor(db, 1).finally(release);
  order.push("released");
  await Promise.all([working, closing]);
  expect(order).toEqual(["work", "beside", "other", "released", "close"]);
  await Promise.all([
    holding((tx) => ownBank(tx, id), "bank"),
    holding((tx) => shareKnowledge(tx, id), "knowledge"),
  ]);
});

/** Until so many transactions wait for an advisory lock. */
async function waitFor(db: Db, waiting: number): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    const { rows } = await db.query<{ n: number }>(
      `select count(*)::int as n from pg_locks
        where locktype = 'advisory' and not granted
          and database = (select oid from pg_database where datname = current_database())`,
    );
    if (rows[0]!.n >= waiting) return;
  }
  throw new Error(`nobody waits`);
}

/** The plan of the statement that `work` sends last, as one text. */
async function planOf(db: Db, work: (db: Queryable) => Promise<unknown>): Promise<string> {
  let plan = "";
  await db.transaction(async (tx) => {
    await tx.query("set local enable_seqscan = on");
    await work({
      query: async (text, values) => {
        const { rows } = await tx.query<{ "QUERY PLAN": string }>(`explain ${text}`, values);
        plan = rows.map((row) => row["QUERY PLAN"]).join("\n");
        return { rows: [], rowCount: 0 };
      },
    }).catch(() => undefined);
  });
  return plan;
}

test("hot statements find their rows by index, and in one partition", async () => {
  const { db, holdfast } = await fresh();
  const { id } = await holdfast.retain.submit({
    bank: "one",
    items: documents(5_000),
    options: { batchItems: 100 },
  });
  for (let n = 0; n < 5; n++) {
    await holdfast.retain.submit({ bank: `other-${n}`, items: documents(2_000) });
  }
  await insertOperationRows(
    db,
    Array.from({ length: 400 }, (_, n) => ({
      scope: `bank-${n % 20}`,
      state: "completed",
      finished_at: new Date(),
    })),
  );
  await db.transaction((tx) =>
    settleItems(
      tx,
      { id, generation: 1 },
      Array.from({ length: 2_500 }, (_, n) => ({
        itemNo: n + 1,
        outcome: "succeeded",
        attempt: 0,
      })),
      "me",
    ),
  );
  await db.query(
    `insert into holdfast.progress_deltas (operation_id, source, stage, outcome, n, folded)
     select $1, n::text, 'retain', 'succeeded', 1, n < 4990 from generate_series(1, 5000) n`,
    [id],
  );
  await db.query("analyze");

  const scans = (plan: string) =>
    [...plan.matchAll(/Seq Scan on (\w+)/g)].map(([, table]) => table!);
  const partitions = (plan: string) =>
    new Set(
      [...plan.matchAll(/ on ((?:items|outcomes|progress_deltas|payloads)_\w+)/g)].map(
        ([, name]) => name,
      ),
    );
  const range = { operationId: id, generation: 1, fromBatch: 26, toBatch: 27 };

  const due = await planOf(db, (tx) =>
    findDueItems(tx, range, { limit: 100, maxSize: 1e6, afterItem: 0 }),
  );
  expect(due).toMatch(/items_\d{8}_pkey/);
  expect(due).toMatch(/outcomes_\d{8}_pkey/);
  expect(
    scans(due).filter((table) => /^(items|outcomes)_/.test(table)),
    due,
  ).toEqual([]);
  expect([...partitions(due)].filter((name) => name!.startsWith("items_"))).toHaveLength(1);

  const open = await planOf(db, (tx) => openInRange(tx, range));
  expect(
    scans(open).filter((table) => table.startsWith("items_")),
    open,
  ).toEqual([]);

  const settle = await planOf(db, (tx) =>
    settleItems(
      tx,
      { id, generation: 1 },
      Array.from({ length: 100 }, (_, n) => ({
        itemNo: 2_501 + n,
        outcome: "succeeded",
        attempt: 0,
      })),
      "me",
    ),
  );
  expect(settle).toMatch(/outcomes_\d{8}_pkey/);
  expect(
    scans(settle).filter((table) => table.startsWith("outcomes_")),
    settle,
  ).toEqual([]);

  const progress = await planOf(db, (tx) => readProgress(tx, [id]));
  expect(progress).toMatch(/progress_deltas_\d{8}_operation_id_idx/);
  expect(
    scans(progress).filter((table) => /^progress_deltas_\d/.test(table)),
    progress,
  ).toEqual([]);

  const claim = await planOf(db, (tx) =>
    claimForRelay(tx, { batch: 50, maxRunning: 200, maxRunningPerScope: 4 }),
  );
  expect(claim).toMatch(/operations_to_start/);
  expect(scans(claim), claim).not.toContain("operations");
});

test("an operation the statistics do not know yet is asked for item by item", async () => {
  const { db, holdfast } = await fresh();
  for (let n = 0; n < 4; n++) {
    const { id } = await holdfast.retain.submit({ bank: `known-${n}`, items: documents(1_000) });
    const all = Array.from({ length: 1_000 }, (_, at) => at + 1);
    await db.transaction((tx) => settleItems(tx, { id, generation: 1 }, all.map(succeeded), "me"));
  }
  await db.query("analyze");
  const { id } = await holdfast.retain.submit({ bank: "unknown", items: documents(1_000) });
  const range = { operationId: id, generation: 1, fromBatch: 1, toBatch: 10 };

  const plans = await Promise.all([
    planOf(db, (tx) => findDueItems(tx, range, { limit: 100, maxSize: 1e6, afterItem: 0 })),
    planOf(db, (tx) => openInRange(tx, range)),
    planOf(db, (tx) => settleItems(tx, { id, generation: 1 }, [1, 2, 3].map(succeeded), "me")),
  ]);
  for (const plan of plans) {
    expect(plan).toMatch(
      /Index Cond: \(\(operation_id = '[^']+'::uuid\) AND \(item_no = i\.no\)\)/,
    );
    expect(plan).not.toMatch(/Join Filter: \((o|t)\./);
  }
});

const succeeded = (itemNo: number) => ({ itemNo, outcome: "succeeded", attempt: 0 }) as const;
