import { defineConfig } from "vitest/config";

// `unit`, `dev` and `system` use no shared servers, so running only them costs nothing;
// every other test finds one Postgres and one Temporal for the whole run.
const unit = [
  "test/contracts/**/*.test.ts",
  "test/domain/**/*.test.ts",
  "test/replay/**/*.test.ts",
];
const dev = ["test/dev/**/*.test.ts"];
// These kill servers and workers, so each file starts its own. `npm run test:crash` runs them all, many
// times; with the others there is time for one round of most.
const system = ["test/system/**/*.test.ts"];
const manyRounds = process.env["HOLDFAST_CRASH_ROUNDS"] !== undefined;
const longOnly = manyRounds ? [] : ["test/system/**/*.rounds.test.ts"];

export default defineConfig({
  test: {
    // Threads crash the Temporal worker's native part.
    pool: "forks",
    // Tests share the cores with a Postgres and a Temporal server. Crash tests mostly wait until
    // somebody who was killed is missed.
    maxWorkers: manyRounds ? 6 : 2,
    teardownTimeout: 30_000,
    reporters: ["default", "./test/support/summary.ts"],
    projects: [
      { extends: true, test: { name: "unit", include: unit, testTimeout: 10_000 } },
      {
        extends: true,
        test: { name: "dev", include: dev, testTimeout: 60_000, hookTimeout: 60_000 },
      },
      {
        extends: true,
        test: {
          name: "system",
          include: system,
          exclude: longOnly,
          testTimeout: 300_000,
          hookTimeout: 90_000,
        },
      },
      {
        extends: true,
        test: {
          name: "integration",
          include: ["test/**/*.test.ts"],
          exclude: [...unit, ...dev, ...system],
          globalSetup: "test/support/stack.ts",
          testTimeout: 30_000,
          hookTimeout: 30_000,
        },
      },
    ],
  },
});
