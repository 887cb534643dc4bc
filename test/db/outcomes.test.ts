import { expect, test } from "vitest";
import type { Outcome } from "../../contracts/operation.ts";
import { countOpen, findDueItems, listItems, openInRange } from "../../db/items.ts";
import { markAcceptedAgain } from "../../db/operations.ts";
import { countOutcomes, failureReasons, settleItems, settleOpenItems } from "../../db/outcomes.ts";
import { recordTries } from "../../db/attempts.ts";
import type { Db } from "../../db/pool.ts";
import { documents, fresh } from "../support/fresh.ts";

async function batch(n: number) {
  const { db, holdfast } = await fresh();
  const { id } = await holdfast.retain.submit({
    bank: "notes",
    items: documents(n),
    options: { batchItems: 10 },
  });
  const settle = (generation: number, nos: readonly number[], outcome: Outcome, by = "me") =>
    db.transaction((tx) =>
      settleItems(
        tx,
        { id, generation },
        nos.map((itemNo) => ({ itemNo, outcome, attempt: 0, reason: `${outcome} by ${by}` })),
        by,
      ),
    );
  return { db, holdfast, id, settle };
}

const range = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i);

async function currentOutcomes(db: Db, id: string): Promise<(Outcome | null)[]> {
  return (await listItems(db, id, { limit: 1_000 })).items.map((item) => item.outcome);
}

test("an item is settled once in a generation, and the first word stands", async () => {
  const { db, id, settle } = await batch(10);
  expect(await settle(1, range(1, 6), "succeeded")).toEqual(new Set(range(1, 6)));
  expect(await settle(1, range(4, 8), "failed")).toEqual(new Set([7, 8]));
  expect(await settle(1, range(1, 8), "cancelled")).toEqual(new Set());
  expect(await countOutcomes(db, id)).toEqual({ succeeded: 6, failed: 2 });
  expect(await countOpen(db, id, 1)).toBe(2);
  // What is no item of the operation cannot be settled.
  expect(await settle(1, [0, 11, 500], "failed")).toEqual(new Set());
});

test("of many settlers at once each item has one, and all answers together name each item once", async () => {
  const { db, id, settle } = await batch(60);
  const answers = await Promise.all(
    Array.from({ length: 8 }, (_, index) =>
      settle(1, range(1 + index * 5, 25 + index * 5), "succeeded", `settler ${index}`),
    ),
  );
  const settled = answers.flatMap((answer) => [...answer]);
  expect(settled.toSorted((a, b) => a - b)).toEqual(range(1, 60));
  const { rows } = await db.query<{ item_no: number; settled_by: string }>(
    "select item_no, settled_by from holdfast.outcomes where operation_id = $1",
    [id],
  );
  expect(rows).toHaveLength(60);
  for (const { item_no, settled_by } of rows) {
    expect(answers[Number(settled_by.at(-1))]!.has(item_no)).toBe(true);
  }
});

test("a run again is over what has no outcome, failed, was lost or was cancelled, and over nothing else", async () => {
  const { db, id, settle } = await batch(9);
  const first: Outcome[] = [
    "succeeded",
    "unchanged",
    "superseded",
    "blocked",
    "failed",
    "lost",
    "cancelled",
    "failed",
  ];
  for (const [index, outcome] of first.entries()) await settle(1, [index + 1], outcome);
  const whole = { operationId: id, generation: 2, fromBatch: 1, toBatch: 1 };
  const page = { limit: 100, maxSize: 1e9, afterItem: 0 };
  expect((await findDueItems(db, whole, page)).map((item) => item.no)).toEqual([5, 6, 7, 8, 9]);
  expect(await openInRange(db, whole)).toMatchObject({ open: 5 });
  expect(await countOpen(db, id, 2)).toBe(5);
  expect(await countOpen(db, id, 1)).toBe(1);

  await db.query("update holdfast.operations set state = 'failed', finished_at = now()");
  await db.transaction((tx) => markAcceptedAgain(tx, id));
  // Open items of the new generation have no current outcome; those that stand keep theirs.
  expect(await currentOutcomes(db, id)).toEqual([
    ...first.slice(0, 4),
    null,
    null,
    null,
    null,
    null,
  ]);

  expect(await settle(2, range(1, 9), "succeeded")).toEqual(new Set([5, 6, 7, 8, 9]));
  expect(await settle(2, range(1, 9), "failed")).toEqual(new Set());
  expect(await countOutcomes(db, id)).toEqual({
    succeeded: 6,
    unchanged: 1,
    superseded: 1,
    blocked: 1,
  });
  expect(await countOpen(db, id, 3)).toBe(0);
});

test("an item's outcome is that of its newest generation, and so are the reasons of a failure", async () => {
  const { db, id, settle } = await batch(4);
  await settle(1, range(1, 4), "failed", "first");
  await settle(2, [1, 2], "failed", "second");
  await settle(2, [3], "succeeded");
  expect(await countOutcomes(db, id)).toEqual({ failed: 3, succeeded: 1 });
  expect(await failureReasons(db, id, 2)).toEqual([{ reason: "failed by second", count: 2 }]);
});

test("a page of due items holds what fits, at least one item, and none that is due later", async () => {
  const { db, id } = await batch(25);
  const whole = { operationId: id, generation: 1, fromBatch: 1, toBatch: 3 };
  const size = documents(1)[0]!.content.length;
  const nos = async (page: { limit: number; maxSize: number; afterItem: number }, over = whole) =>
    (await findDueItems(db, over, page)).map((item) => item.no);
  expect(await nos({ limit: 4, maxSize: 1e9, afterItem: 0 })).toEqual([1, 2, 3, 4]);
  expect(await nos({ limit: 4, maxSize: 1e9, afterItem: 4 })).toEqual([5, 6, 7, 8]);
  expect(await nos({ limit: 100, maxSize: 1, afterItem: 0 })).toEqual([1]);
  // The item that takes the page over its size is the last of it.
  expect(await nos({ limit: 100, maxSize: size * 2, afterItem: 0 })).toEqual([1, 2]);
  expect(await nos({ limit: 100, maxSize: 1e9, afterItem: 0 }, { ...whole, fromBatch: 3 })).toEqual(
    range(21, 25),
  );

  const soon = new Date(Date.now() + 60_000);
  await db.transaction((tx) =>
    recordTries(tx, { id, generation: 1 }, [
      { itemNo: 1, error: "later", dueAt: soon, spends: true },
      { itemNo: 2, error: "later\0", dueAt: soon, spends: false },
    ]),
  );
  expect(await nos({ limit: 3, maxSize: 1e9, afterItem: 0 })).toEqual([3, 4, 5]);
  const { items } = await listItems(db, id, { limit: 2 });
  expect(items).toMatchObject([
    { no: 1, attempts: 1, nextRetryAt: soon.toISOString(), lastError: "later" },
    { no: 2, attempts: 0, nextRetryAt: soon.toISOString(), lastError: "later" },
  ]);
  // The next generation begins with no tries behind it.
  expect(await nos({ limit: 2, maxSize: 1e9, afterItem: 0 }, { ...whole, generation: 2 })).toEqual([
    1, 2,
  ]);
});

test("closing what is open leaves what is settled, and a reason may hold anything", async () => {
  const { db, id, settle } = await batch(5);
  await settle(1, [1, 2], "succeeded");
  const close = () =>
    db.transaction((tx) => settleOpenItems(tx, { id, generation: 1 }, "failed", "a\0b", "me"));
  expect(await close()).toBe(3);
  expect(await close()).toBe(0);
  expect(await countOutcomes(db, id)).toEqual({ succeeded: 2, failed: 3 });
  await db.transaction((tx) =>
    settleItems(
      tx,
      { id, generation: 2 },
      [{ itemNo: 3, outcome: "failed", attempt: 1, reason: `\0${"🦀".repeat(3_000)}` }],
      "me",
    ),
  );
  const { rows } = await db.query<{ reason: string }>(
    "select reason from holdfast.outcomes where generation = 2",
  );
  expect(rows[0]!.reason).toBe("🦀".repeat(1_000));
});
