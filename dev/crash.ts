import { spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";

/**
 * The crash tests, many rounds of each: `npm run test:crash -- --rounds 20`. Each round has a seed that
 * decides what is killed and when; `--seed` begins with that one, to have a failure again.
 * `--only <text>` runs the scenarios whose title holds the text.
 */
const { values: flags } = parseArgs({
  options: {
    rounds: { type: "string", default: "20" },
    seed: { type: "string", default: String(randomInt(1, 1_000_000)) },
    only: { type: "string" },
  },
});
const rounds = wholeNumber("--rounds", flags.rounds);
const seed = wholeNumber("--seed", flags.seed);
process.stdout.write(
  `${rounds} rounds, seeds ${seed} to ${seed + rounds - 1}; again with --rounds ${rounds} --seed ${seed}\n`,
);
const { status } = spawnSync(
  process.execPath,
  ["node_modules/vitest/vitest.mjs", "run", "--project", "system", "--reporter", "verbose"].concat(
    flags.only === undefined ? [] : ["--testNamePattern", flags.only],
  ),
  {
    stdio: "inherit",
    env: {
      ...process.env,
      HOLDFAST_CRASH_ROUNDS: String(rounds),
      HOLDFAST_CRASH_SEED: String(seed),
    },
  },
);
process.exit(status ?? 1);

function wholeNumber(flag: string, given: string): number {
  if (/^[1-9]\d{0,6}$/.test(given)) return Number(given);
  process.stderr.write(`${flag} must be a whole number from 1 on, not "${given}"\n`);
  process.exit(2);
}
