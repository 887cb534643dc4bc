/** How many entities one call holds: halved when the target cannot stand so many, grown slowly when it can. */

export function halvedBatch(size: number): number {
  return Math.max(1, Math.floor(size / 2));
}

/** Undefined when it is as large as it may be. */
export function grownBatch(size: number, most: number): number | undefined {
  return size >= most ? undefined : Math.min(most, size + Math.max(1, Math.floor(size / 10)));
}
