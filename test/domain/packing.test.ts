import fc from "fast-check";
import { expect, test } from "vitest";
import { packBatches, rangesOver } from "../../domain/packing.ts";

const sizes = fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 400 });
const budget = fc.integer({ min: 1, max: 120 });
const maxItems = fc.integer({ min: 1, max: 20 });

/** Every number from 1 on, once and in order, as the runs name them. */
function numbers(runs: readonly { from: number; to: number }[]): number[] {
  return runs.flatMap(({ from, to }) => Array.from({ length: to - from + 1 }, (_, i) => from + i));
}
const upTo = (count: number) => Array.from({ length: count }, (_, i) => i + 1);

test("packing keeps the order and loses, doubles and splits no item", () => {
  fc.assert(
    fc.property(sizes, budget, maxItems, (sizes, budget, maxItems) => {
      const batches = packBatches(sizes, budget, maxItems);
      expect(numbers(batches)).toEqual(upTo(sizes.length));
      for (const { from, to, size } of batches) {
        expect(size).toBe(sizes.slice(from - 1, to).reduce((a, b) => a + b, 0));
      }
    }),
  );
});

test("no sub-batch is empty, over the item cap, or over the budget unless it is one big item", () => {
  fc.assert(
    fc.property(sizes, budget, maxItems, (sizes, budget, maxItems) => {
      for (const { from, to, size } of packBatches(sizes, budget, maxItems)) {
        expect(to).toBeGreaterThanOrEqual(from);
        expect(to - from + 1).toBeLessThanOrEqual(maxItems);
        if (size > budget) expect(from).toBe(to);
      }
    }),
  );
});

test("a sub-batch closes only when the next item does not fit", () => {
  fc.assert(
    fc.property(sizes, budget, maxItems, (sizes, budget, maxItems) => {
      const batches = packBatches(sizes, budget, maxItems);
      batches.slice(1).forEach((next, index) => {
        const { from, to, size } = batches[index]!;
        const full = to - from + 1 === maxItems || size + sizes[next.from - 1]! > budget;
        expect(full).toBe(true);
      });
    }),
  );
});

test("an item over the budget is a sub-batch of its own", () => {
  expect(packBatches([3, 40, 3, 3], 10)).toEqual([
    { from: 1, to: 1, size: 3 },
    { from: 2, to: 2, size: 40 },
    { from: 3, to: 4, size: 6 },
  ]);
});

test("two documents of about half a budget and a little more are two sub-batches", () => {
  expect(packBatches([5_100, 5_100], 10_000)).toHaveLength(2);
  expect(packBatches([5_000, 5_000], 10_000)).toHaveLength(1);
});

test("nothing packs to nothing, and a budget that is no whole number is refused by name", () => {
  expect(packBatches([], 10)).toEqual([]);
  expect(() => packBatches([1], 0)).toThrow("budget must be a whole number of at least 1, not 0");
});

test("ranges own every sub-batch once, in order, and are never empty nor too many", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 100 }), { maxLength: 300 }),
      fc.integer({ min: 1, max: 70 }),
      fc.integer({ min: 1, max: 600 }),
      (counts, maxRanges, itemsPerRange) => {
        const ranges = rangesOver(counts, maxRanges, itemsPerRange);
        const total = counts.reduce((a, b) => a + b, 0);
        const wanted = Math.min(maxRanges, counts.length, Math.ceil(total / itemsPerRange));
        expect(numbers(ranges)).toEqual(upTo(counts.length));
        expect(ranges).toHaveLength(wanted);
        for (const { from, to, items } of ranges) {
          expect(items).toBe(counts.slice(from - 1, to).reduce((a, b) => a + b, 0));
          expect(to).toBeGreaterThanOrEqual(from);
        }
      },
    ),
  );
});

test("ranges are even: 10,000 items in sub-batches of 100 make 20 ranges of 500", () => {
  const ranges = rangesOver(Array.from({ length: 100 }, () => 100));
  expect(ranges.map((range) => range.items)).toEqual(Array.from({ length: 20 }, () => 500));
});

test("a small batch is one range, and a huge one is never more than 64", () => {
  expect(rangesOver([3])).toEqual([{ from: 1, to: 1, items: 3 }]);
  expect(rangesOver(Array.from({ length: 1_000 }, () => 100))).toHaveLength(64);
  expect(rangesOver([])).toEqual([]);
});
