/** A run of consecutive items. Item numbers are 1-based and inclusive; size is in code points. */
export interface SubBatch {
  from: number;
  to: number;
  size: number;
}

/** A run of consecutive sub-batches, 1-based and inclusive, with the items they hold. */
export interface BatchRange {
  from: number;
  to: number;
  items: number;
}

/**
 * Packs items, in order, into sub-batches: the current one closes when the next item would take it
 * over `budget` (code points) or over `maxItems`. An item above the budget is a sub-batch of its
 * own, whole. The same sizes always give the same sub-batches, and none is empty.
 */
export function packBatches(sizes: readonly number[], budget: number, maxItems = 100): SubBatch[] {
  requireWhole("budget", budget);
  requireWhole("maxItems", maxItems);
  const batches: SubBatch[] = [];
  let current: SubBatch | undefined;
  sizes.forEach((size, index) => {
    const no = index + 1;
    const fits =
      current && current.size + size <= budget && current.to - current.from + 1 < maxItems;
    if (current && fits) {
      current.to = no;
      current.size += size;
    } else {
      current = { from: no, to: no, size };
      batches.push(current);
    }
  });
  return batches;
}

/**
 * Splits sub-batches into contiguous ranges of about equal item counts, one per child workflow: as
 * many as the items fill at `itemsPerRange`, at most `maxRanges`, never an empty one.
 */
export function rangesOver(
  batchItemCounts: readonly number[],
  maxRanges = 64,
  itemsPerRange = 500,
): BatchRange[] {
  requireWhole("maxRanges", maxRanges);
  requireWhole("itemsPerRange", itemsPerRange);
  const batches = batchItemCounts.length;
  const total = batchItemCounts.reduce((sum, count) => sum + count, 0);
  const wanted = Math.min(maxRanges, batches, Math.max(1, Math.ceil(total / itemsPerRange)));

  const ranges: BatchRange[] = [];
  let from = 1;
  let seen = 0;
  let items = 0;
  batchItemCounts.forEach((count, index) => {
    const no = index + 1;
    items += count;
    seen += count;
    const rangesAfter = wanted - ranges.length - 1;
    const batchesAfter = batches - no;
    const share = (total * (ranges.length + 1)) / wanted;
    // Close at the fair share, or when every range still to come needs one of the batches left.
    if (
      batchesAfter === 0 ||
      (rangesAfter > 0 && (seen >= share || batchesAfter === rangesAfter))
    ) {
      ranges.push({ from, to: no, items });
      from = no + 1;
      items = 0;
    }
  });
  return ranges;
}

function requireWhole(name: string, value: number): void {
  if (!Number.isInteger(value) || value < 1) {
    throw new RangeError(`${name} must be a whole number of at least 1, not ${value}`);
  }
}
