/**
 * Measures rivals in turn, A B A B: what slows the machine down for a while slows all of them down,
 * and cancels out in the ratio of a round. A first round warms everything up and is not counted.
 */
export async function inTurn<Rival extends string>(
  rounds: number,
  rivals: Readonly<Record<Rival, (round: number) => Promise<number>>>,
): Promise<Record<Rival, number[]>> {
  const names = Object.keys(rivals) as Rival[];
  const measured = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<
    Rival,
    number[]
  >;
  for (let round = 0; round <= rounds; round++) {
    // Every other round goes backwards, so that nobody always follows the same one.
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      const value = await rivals[name](round);
      if (round > 0) measured[name].push(value);
    }
  }
  return measured;
}

/** Milliseconds that `work` took. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return performance.now() - startedAt;
}
