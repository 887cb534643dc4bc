import { test } from "vitest";

/**
 * Crash scenarios run once with `npm test` and many times with `npm run test:crash -- --rounds 20`;
 * the seed of a round decides its moments, and stands in the title.
 */
const ROUNDS = Number(process.env["HOLDFAST_CRASH_ROUNDS"] ?? 1);
const FIRST_SEED = Number(process.env["HOLDFAST_CRASH_SEED"] ?? 1);

/** True in `npm run test:crash`: scenarios too long for every test run take place as well. */
export const isFullRun = process.env["HOLDFAST_CRASH_ROUNDS"] !== undefined;

export interface Random {
  readonly seed: number;
  /** A whole number from `from` to `to`, both included. */
  between(from: number, to: number): number;
  pick<T>(things: readonly T[]): T;
  shuffle<T>(things: readonly T[]): T[];
}

/**
 * One test per round, each with its own seed, so that a failure can be had again. `timeoutMs` is for
 * rounds that need more than the five minutes of every scenario.
 */
export function rounds(
  title: string,
  scenario: (random: Random) => Promise<void>,
  timeoutMs?: number,
): void {
  for (let seed = FIRST_SEED; seed < FIRST_SEED + ROUNDS; seed++) {
    test(`${title} (seed ${seed})`, () => scenario(randomFrom(seed)), timeoutMs);
  }
}

/** The same, in `npm run test:crash` only: half a minute or more a round. */
export function longRounds(
  title: string,
  scenario: (random: Random) => Promise<void>,
  timeoutMs?: number,
): void {
  if (isFullRun) rounds(title, scenario, timeoutMs);
}

// mulberry32: small, and the same everywhere.
function randomFrom(seed: number): Random {
  let state = (seed * 0x9e3779b9) >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const between = (from: number, to: number) => from + Math.floor(next() * (to - from + 1));
  return {
    seed,
    between,
    pick: (things) => things[between(0, things.length - 1)]!,
    shuffle: (things) => {
      const left = [...things];
      return things.map(() => left.splice(between(0, left.length - 1), 1)[0]!);
    },
  };
}
