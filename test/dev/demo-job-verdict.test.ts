import { expect, test } from "vitest";
import { jobBroken, type JobFigures } from "../../dev/demo-job-verdict.ts";

const KEPT: JobFigures = {
  files: 400,
  bytes: 5_000_000,
  state: "completed",
  outcomes: { succeeded: 400 },
  counts: { succeeded: 400 },
  settledTwice: 0,
  countedBytes: 5_000_000,
  differing: [],
  redeliveries: 2,
  kill: { settled: 120, inHand: 80, signal: "SIGKILL" },
};

test("a job that counted every file once, in spite of a kill, is as promised", () => {
  expect(jobBroken(KEPT)).toEqual([]);
});

test.each<[string, Partial<JobFigures>, RegExp]>([
  ["another end", { state: "failed" }, /the job ended failed/],
  [
    "a lost file",
    { outcomes: { succeeded: 399, lost: 1 }, counts: { succeeded: 399 } },
    /399 of 400 files succeeded; 1 lost/,
  ],
  [
    "a file without an outcome",
    { outcomes: { succeeded: 399 }, counts: { succeeded: 399 } },
    /399 of 400 files succeeded; no others/,
  ],
  ["a file settled twice", { settledTwice: 1 }, /1 files were settled twice/],
  ["a count that drifts", { counts: { succeeded: 401 } }, /says 401 succeeded, its ledger 400/],
  ["bytes counted twice", { countedBytes: 5_000_001 }, /counted 5000001 bytes, there were 5000000/],
  ["a result of another file", { differing: ["a/b.js"] }, /1 files have .* such as a\/b\.js/],
  ["no redelivery", { redeliveries: 0 }, /nothing of what it held was handed out again/],
  ["no kill", { kill: undefined }, /no pull worker was killed/],
  ["another end of the worker", { kill: { ...KEPT.kill!, signal: null } }, /ended by itself/],
  ["a kill too late", { kill: { ...KEPT.kill!, settled: 400 } }, /killed when all was done/],
  ["a kill between batches", { kill: { ...KEPT.kill!, inHand: 0 } }, /nothing in its hands/],
])("%s is told, and is not as promised", (_, change, line) => {
  expect(jobBroken({ ...KEPT, ...change })).toEqual([expect.stringMatching(line)]);
});
