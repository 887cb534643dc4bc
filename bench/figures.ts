/** The figures a table of results is made of. */

/** The value in the middle; of an even number the mean of the two. */
export function median(values: readonly number[]): number {
  const sorted = ascending(values);
  const middle = sorted.length / 2;
  return Number.isInteger(middle)
    ? (sorted[middle - 1]! + sorted[middle]!) / 2
    : sorted[Math.floor(middle)]!;
}

/** The smallest value that `percent` of all values do not exceed (nearest rank: a value that was seen). */
export function percentile(values: readonly number[], percent: number): number {
  const rank = Math.max(1, Math.ceil((percent / 100) * values.length));
  return ascending(values)[rank - 1]!;
}

/** How many of `per` fall to each of `of`, pair by pair: the median of the ratios of one round. */
export function ratio(of: readonly number[], per: readonly number[]): number {
  return median(of.map((value, round) => value / per[round]!));
}

function ascending(values: readonly number[]): number[] {
  if (values.length === 0) throw new RangeError("no values were measured");
  return values.toSorted((a, b) => a - b);
}
