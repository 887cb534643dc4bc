import { expect, test } from "vitest";
import type { InventoryFigures } from "../../dev/demo-inventory-verdict.ts";
import type { JobFigures } from "../../dev/demo-job-verdict.ts";
import { brokenPromises, lineOf, type Figures } from "../../dev/demo-verdict.ts";

const JOB: JobFigures = {
  files: 9,
  bytes: 90,
  state: "completed",
  outcomes: { succeeded: 9 },
  counts: { succeeded: 9 },
  settledTwice: 0,
  countedBytes: 90,
  differing: [],
  redeliveries: 1,
  kill: { settled: 3, inHand: 2, signal: "SIGKILL" },
};
const INVENTORY: InventoryFigures = {
  sent: 300,
  states: { applied: 300 },
  rejected: 0,
  again: { no_changes: 300 },
  changeSetsAgain: 0,
  expected: { package: 350, release: 300 },
  found: { package: 350, release: 300 },
  plan: { changed: 5, approved: 3, applied: 3, rejected: 2 },
  notAsDecided: [],
};
const KEPT: Figures = {
  items: 400,
  state: "completed",
  reason: null,
  outcomes: { succeeded: 390, unchanged: 10 },
  counts: { unchanged: 10, succeeded: 390 },
  notOnce: 0,
  unexplained: 0,
  orphans: 0,
  kill: { settled: 100, signal: "SIGKILL", settledByOthers: 300 },
  doctor: 0,
  replayed: true,
  differences: 0,
  job: JOB,
  inventory: INVENTORY,
  seconds: 20,
};
const FAILED = { outcomes: { succeeded: 399, failed: 1 }, counts: { succeeded: 399, failed: 1 } };

test("a demo in which all was kept, or in which what failed says why, is as promised", () => {
  expect(brokenPromises(KEPT)).toEqual([]);
  const explained = { ...KEPT, ...FAILED, state: "failed", reason: "too large" };
  expect(brokenPromises(explained)).toEqual([]);
});

test.each<[string, Partial<Figures>, RegExp]>([
  ["an item without an outcome", { notOnce: 1 }, /1 items have not exactly one outcome/],
  ["fewer outcomes than items", { items: 401 }, /400 outcomes for 401 items/],
  ["an operation that says otherwise", { counts: { succeeded: 400 } }, /the operation says/],
  ["an end that no item explains", { state: "failed" }, /ended failed, and no item failed/],
  ["failures under a success", FAILED, /ended completed, and 1 items failed/],
  ["a failure without its cause", { ...FAILED, state: "failed" }, /ended failed, and 1 items/],
  [
    "failed items without reasons",
    { ...FAILED, state: "failed", reason: "x", unexplained: 1 },
    /1 items failed without a reason/,
  ],
  [
    "lost items",
    { outcomes: { lost: 400 }, counts: { lost: 400 } },
    /400 items were cancelled or lost/,
  ],
  ["rows without a source", { orphans: 2 }, /2 rows belong to nothing/],
  ["findings", { doctor: 1 }, /the doctor has 1 findings/],
  ["an index that is not true", { differences: 3 }, /search index differs from 3 objects/],
  ["a job that lost a file", { job: { ...JOB, state: "failed" } }, /the job ended failed/],
  ["another decision", { replayed: false }, /decides otherwise/],
  [
    "a worker that ended by itself",
    { kill: { ...KEPT.kill!, signal: null } },
    /ended by itself, not by SIGKILL/,
  ],
  ["a kill too late", { kill: { ...KEPT.kill!, settled: 400 } }, /killed when all was done/],
  ["nobody after the kill", { kill: { ...KEPT.kill!, settledByOthers: 0 } }, /no other worker/],
])("%s is told, and is not as promised", (_, change, line) => {
  expect(brokenPromises({ ...KEPT, ...change })).toEqual([expect.stringMatching(line)]);
});

test("a demo without a kill proves nothing, and says so", () => {
  const { kill, ...without } = KEPT;
  expect(kill).toBeDefined();
  expect(brokenPromises(without)).toEqual([expect.stringMatching(/no worker was killed/)]);
});

test("the line for scripts says how all items ended, and counts what is nowhere as an orphan", () => {
  const figures = { ...KEPT, ...FAILED, orphans: 1, notOnce: 2 };
  figures.outcomes = { succeeded: 390, unchanged: 8, superseded: 1, failed: 1 } as never;
  expect(lineOf(figures)).toEqual({
    items: 400,
    succeeded: 390,
    failed: 1,
    other: 9,
    orphans: 3,
    doctor: 0,
    replayed: true,
    seconds: 20,
  });
});
