import { v7 as uuidv7 } from "uuid";
import { expect, test } from "vitest";
import { listLogs } from "../../db/logs.ts";
import { reportProgress } from "../../db/progress-report.ts";
import { addDeltas, foldDeltas, readProgress, type Delta } from "../../db/progress.ts";
import type { Db } from "../../db/pool.ts";
import { fresh } from "../support/fresh.ts";

async function totals(db: Db, id: string): Promise<Record<string, number>> {
  const deltas = (await readProgress(db, [id])).get(id) ?? [];
  return Object.fromEntries(deltas.map(({ stage, outcome, n }) => [`${stage}/${outcome}`, n]));
}

const add = (db: Db, id: string, source: string, deltas: readonly Delta[], answer?: unknown) =>
  db.transaction((tx) => addDeltas(tx, id, source, deltas, answer));

const fold = (db: Db, limit: number) => db.transaction((tx) => foldDeltas(tx, limit));

test("whoever reads between writes and folds sees exact counts that never go back", async () => {
  const { db } = await fresh();
  const ids = [uuidv7(), uuidv7(), uuidv7()];
  const written = new Map(ids.map((id) => [id, 0]));
  let writing = true;

  const writers = Array.from({ length: 6 }, async (_, writer) => {
    for (let round = 0; round < 60; round++) {
      const id = ids[(writer + round) % ids.length]!;
      const n = 1 + ((writer * 31 + round * 17) % 9);
      await add(db, id, `${writer}/${round}`, [
        { stage: "retain", outcome: round % 7 === 0 ? "failed" : "succeeded", n },
      ]);
      written.set(id, written.get(id)! + n);
      // The same source again, as after a lost answer.
      if (round % 5 === 0) {
        await add(db, id, `${writer}/${round}`, [{ stage: "retain", outcome: "succeeded", n: 99 }]);
      }
    }
  });
  const folders = [7, 23].map(async (limit) => {
    while (writing) await fold(db, limit);
  });
  const seen = new Map(ids.map((id) => [id, 0]));
  let reads = 0;
  const reader = (async () => {
    while (writing) {
      for (const id of ids) {
        const atLeast = written.get(id)!;
        const now = Object.values(await totals(db, id)).reduce((sum, n) => sum + n, 0);
        expect(now).toBeGreaterThanOrEqual(Math.max(atLeast, seen.get(id)!));
        seen.set(id, now);
        reads++;
      }
    }
  })();
  await Promise.all(writers);
  writing = false;
  await Promise.all([...folders, reader]);
  expect(reads).toBeGreaterThan(10);

  const exact = async () => {
    for (const id of ids) {
      const sum = Object.values(await totals(db, id)).reduce((total, n) => total + n, 0);
      expect(sum).toBe(written.get(id));
    }
  };
  await exact();
  while ((await fold(db, 50)) > 0) await exact();
  const { rows } = await db.query("select 1 from holdfast.progress_deltas where not folded");
  expect(rows).toEqual([]);
});

test("a source counts once, whatever it says the second time, folded or not", async () => {
  const { db } = await fresh();
  const id = uuidv7();
  const deltas = [
    { stage: "retain", outcome: "succeeded", n: 3 },
    { stage: "retain", outcome: "failed", n: 1 },
  ];
  expect(await add(db, id, "post/1", deltas, { ok: 1 })).toBe(true);
  expect(await add(db, id, "post/1", deltas)).toBe(false);
  expect(await add(db, id, "post/1", [{ stage: "retain", outcome: "blocked", n: 5 }])).toBe(false);
  const counts = { "retain/succeeded": 3, "retain/failed": 1 };
  expect(await totals(db, id)).toEqual(counts);
  expect(await fold(db, 100)).toBe(2);
  expect(await add(db, id, "post/1", [{ stage: "other", outcome: "failed", n: 1 }])).toBe(false);
  expect(await totals(db, id)).toEqual(counts);
  expect(await fold(db, 100)).toBe(0);

  // Another operation's source of the same name is another source.
  expect(await add(db, uuidv7(), "post/1", deltas)).toBe(true);
  expect(await totals(db, id)).toEqual(counts);
});

test("one source from many at once counts once, even when each says something else", async () => {
  const { db } = await fresh();
  const id = uuidv7();
  const answers = await Promise.all(
    Array.from({ length: 8 }, (_, n) =>
      add(db, id, "post/1", [{ stage: "retain", outcome: `outcome ${n}`, n: 1 }]),
    ),
  );
  expect(answers.filter(Boolean)).toHaveLength(1);
  expect(Object.values(await totals(db, id))).toEqual([1]);
});

test("two folders at once fold every delta once and wait for nobody", async () => {
  const { db } = await fresh();
  const ids = Array.from({ length: 20 }, () => uuidv7());
  for (const id of ids) {
    for (let source = 0; source < 10; source++) {
      await add(db, id, `s/${source}`, [{ stage: "retain", outcome: "succeeded", n: source }]);
    }
  }
  const folded = await Promise.all(Array.from({ length: 8 }, () => fold(db, 40)));
  const rest = await fold(db, 1_000);
  expect(folded.reduce((sum, n) => sum + n, rest)).toBe(200);
  for (const id of ids) expect(await totals(db, id)).toEqual({ "retain/succeeded": 45 });
});

test("a transaction that rolls back has counted nothing, and its source is free", async () => {
  const { db } = await fresh();
  const id = uuidv7();
  const delta = [{ stage: "retain", outcome: "succeeded", n: 1 }];
  await expect(
    db.transaction(async (tx) => {
      await addDeltas(tx, id, "s", delta);
      throw new Error("undone");
    }),
  ).rejects.toThrow("undone");
  expect(await totals(db, id)).toEqual({});
  expect(await add(db, id, "s", delta)).toBe(true);
});

test.each([
  ["one count with one line", 1, 1],
  ["several counts with several lines", 2, 3],
  ["a count without a line", 1, 0],
])("a report counts its source once and tells it once: %s", async (_, counts, told) => {
  const { db } = await fresh();
  const id = uuidv7();
  const deltas = ["succeeded", "failed"]
    .slice(0, counts)
    .map((outcome) => ({ stage: "work", outcome, n: 3 }));
  const lines = Array.from({ length: told }, (_, no) => ({
    level: "warn" as const,
    message: `line ${no}`,
    fields: { no },
  }));
  const report = () => db.transaction((tx) => reportProgress(tx, id, "page 1", deltas, lines));

  expect([await report(), await report()]).toEqual([true, false]);

  const expected = Object.fromEntries(deltas.map(({ outcome }) => [`work/${outcome}`, 3]));
  expect(await totals(db, id)).toEqual(expected);
  const { items } = await listLogs(db, id, { limit: 10 });
  expect(items.map(({ level, message, fields }) => ({ level, message, fields }))).toEqual(lines);
});
