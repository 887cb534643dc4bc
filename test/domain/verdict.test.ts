import fc from "fast-check";
import { expect, test } from "vitest";
import { OUTCOMES } from "../../contracts/operation.ts";
import { mostCommonCause, verdictOf } from "../../domain/verdict.ts";

const counts = fc.record(
  Object.fromEntries(OUTCOMES.map((outcome) => [outcome, fc.nat({ max: 5 })])),
  { requiredKeys: [] },
) as fc.Arbitrary<Partial<Record<(typeof OUTCOMES)[number], number>>>;

test("all that ended well is completed, overtaken and blocked items included", () => {
  expect(verdictOf({ succeeded: 3, unchanged: 2, superseded: 1, blocked: 1 }, false)).toEqual({
    state: "completed",
  });
});

test("one failed item fails the operation, with its real cause", () => {
  expect(
    verdictOf({ succeeded: 99, failed: 1 }, false, [{ reason: "too long", count: 1 }]),
  ).toEqual({
    state: "failed",
    reason: "of 100 items, 1 failed: too long",
  });
});

test("of several causes the most common is told, with how often", () => {
  const causes = [
    { reason: "timed out", count: 1 },
    { reason: "quota spent", count: 2 },
  ];
  expect(verdictOf({ succeeded: 1, failed: 2, lost: 1, cancelled: 4 }, true, causes)).toEqual({
    state: "failed",
    reason: "of 8 items, 2 failed, 1 lost, 4 cancelled: mostly quota spent (2 times)",
  });
});

test("a cancel that left items open ends cancelled, one that came too late changes nothing", () => {
  expect(verdictOf({ succeeded: 3, cancelled: 2 }, true)).toEqual({
    state: "cancelled",
    reason: "cancelled on request, with 2 of 5 items open",
  });
  expect(verdictOf({ succeeded: 5 }, true)).toEqual({ state: "completed" });
  expect(verdictOf({}, true).state).toBe("cancelled");
});

test("the state follows the ledger for all counts, and every bad end has a reason", () => {
  fc.assert(
    fc.property(counts, fc.boolean(), (counts, cancelRequested) => {
      const { state, reason } = verdictOf(counts, cancelRequested);
      const bad = (counts.failed ?? 0) + (counts.lost ?? 0);
      const cancelled = counts.cancelled ?? 0;
      const total = Object.values(counts).reduce((a, b) => a + b, 0);
      if (bad > 0) expect(state).toBe("failed");
      else if (cancelled > 0 || (cancelRequested && total === 0)) expect(state).toBe("cancelled");
      else expect(state).toBe("completed");
      expect(reason === undefined).toBe(state === "completed");
    }),
  );
});

test("a very long cause is cut", () => {
  const { reason } = verdictOf({ failed: 1 }, false, [{ reason: "x".repeat(9_000), count: 1 }]);
  expect(reason?.length).toBeLessThan(1_100);
});

test("the most common cause does not depend on the order they come in", () => {
  const causes = fc.array(
    fc.record({ reason: fc.constantFrom("a", "b", "c"), count: fc.integer({ min: 0, max: 3 }) }),
  );
  fc.assert(
    fc.property(causes, (causes) => {
      expect(mostCommonCause(causes.toReversed())).toEqual(mostCommonCause(causes));
    }),
  );
});

test("equal reasons are summed, and a tie goes to the one that sorts first", () => {
  expect(
    mostCommonCause([
      { reason: "b", count: 2 },
      { reason: "c", count: 1 },
      { reason: "a", count: 1 },
      { reason: "c", count: 1 },
      { reason: "a", count: 1 },
    ]),
  ).toEqual({ reason: "a", count: 2 });
  expect(mostCommonCause([])).toBeUndefined();
});
