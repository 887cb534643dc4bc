import fc from "fast-check";
import { expect, test } from "vitest";
import {
  afterTurn,
  errorLines,
  etaSeconds,
  fairnessOf,
  jobProgress,
  jobVerdict,
  nextTurn,
  pipelineTime,
  throughputOf,
  turnWeight,
  type JobTurn,
} from "../../domain/job.ts";

test("a job fails when more than its share of items failed or was lost, and exactly that share is no failure", () => {
  const state = (counts: Parameters<typeof jobVerdict>[0], share = 0.5) =>
    jobVerdict(counts, share, false).state;
  expect(state({ succeeded: 5, failed: 5 })).toBe("completed");
  expect(state({ succeeded: 5, failed: 3, lost: 2 })).toBe("completed");
  expect(state({ succeeded: 5, failed: 3, lost: 3 })).toBe("failed");
  expect(state({ succeeded: 17, failed: 3 })).toBe("completed");
  expect(state({ succeeded: 2, lost: 18 })).toBe("failed");
  expect(state({ succeeded: 99, failed: 1 }, 0)).toBe("failed");
  expect(state({ failed: 10 }, 1)).toBe("completed");
  expect(jobVerdict({}, 0.5, false)).toEqual({ state: "completed" });
  expect(jobVerdict({ succeeded: 8, failed: 1, lost: 1 }, 0.5, false)).toEqual({
    state: "completed",
    reason: "completed with 2 errors",
  });
  expect(
    jobVerdict({ lost: 3, failed: 1 }, 0.5, false, [{ reason: "no answer", count: 3 }]),
  ).toEqual({
    state: "failed",
    reason: "of 4 items, 1 failed, 3 lost: mostly no answer (3 times)",
  });
});

test("a job with cancelled items is cancelled, whatever failed before; a cancel after the last item changes nothing", () => {
  expect(jobVerdict({ failed: 9, cancelled: 1 }, 0.5, true)).toEqual({
    state: "cancelled",
    reason: "cancelled on request, with 1 of 10 items open",
  });
  expect(jobVerdict({ succeeded: 10 }, 0.5, true)).toEqual({ state: "completed" });
  expect(jobVerdict({}, 0.5, true)).toMatchObject({ state: "cancelled" });
});

test("turns share out batches by weight, and nobody with work waits longer than its share", () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom(1, 2, 4, 8), { minLength: 2, maxLength: 8 }),
      (weights) => {
        let turns: JobTurn[] = weights.map((weight, n) => ({
          id: `${n}`,
          weight,
          served: 0,
          started: 0,
        }));
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        const rounds = 10;
        const served = weights.map(() => 0);
        for (let n = 0; n < total * rounds; n++) {
          const next = nextTurn(turns, () => true)!;
          served[Number(next.id)]!++;
          const time = pipelineTime(turns);
          turns = turns.map((turn) => (turn === next ? afterTurn(turn, time) : turn));
        }
        for (const [n, weight] of weights.entries()) {
          expect(Math.abs(served[n]! - weight * rounds)).toBeLessThanOrEqual(weight);
        }
      },
    ),
  );
  expect(turnWeight(1, 5)).toBe(1);
  expect(turnWeight(3, 1)).toBe(48);
});

test("one that was away is served next, and no oftener than the others after that", () => {
  const away: JobTurn = { id: "away", weight: 1, served: 3, started: 2 };
  const others: JobTurn = { id: "others", weight: 1, served: 1_000, started: 999 };
  let turns = [away, others];
  const order: string[] = [];
  for (let n = 0; n < 20; n++) {
    const next = nextTurn(turns, () => true)!;
    order.push(next.id);
    const time = pipelineTime(turns);
    turns = turns.map((turn) => (turn === next ? afterTurn(turn, time) : turn));
  }
  expect(order[0]).toBe("away");
  expect(order.filter((id) => id === "away").length).toBeLessThanOrEqual(12);
});

test("fairness is 1 when shares are equal and 1/n when one has all", () => {
  expect(fairnessOf([5, 5, 5])).toBe(1);
  expect(fairnessOf([9, 0, 0])).toBeCloseTo(1 / 3);
  expect(fairnessOf([])).toBe(1);
});

test("speed and time to the end are unknown until something is settled", () => {
  const none = { settled: 0, fromMs: 0, toMs: 60_000 };
  expect([throughputOf(none), etaSeconds(10, none)]).toEqual(["unknown", "unknown"]);
  expect(etaSeconds(0, none)).toBe(0);
  const some = { settled: 120, fromMs: 0, toMs: 60_000 };
  expect([throughputOf(some), etaSeconds(60, some)]).toEqual([120, 30]);
  const now = { settled: 5, fromMs: 7, toMs: 7 };
  expect([throughputOf(now), etaSeconds(1, now)]).toEqual(["unknown", "unknown"]);
  expect(throughputOf({ settled: 1, fromMs: 0, toMs: 3 * 60_000 })).toBe(0.33);
});

test("errors name ten items each and say how many more there are", () => {
  const items = Array.from({ length: 12 }, (_, n) => `i${n + 1}`);
  expect(errorLines([{ reason: "lost", count: 12, items }])).toEqual([
    "lost: i1, i2, i3, i4, i5, i6, i7, i8, i9, i10 and 2 more",
  ]);
  expect(errorLines([{ reason: "bad", count: 2, items: ["a", "b"] }])).toEqual(["bad: a, b"]);
  const many = Array.from({ length: 25 }, (_, n) => ({ reason: `r${n}`, count: 1, items: ["x"] }));
  expect(errorLines(many)).toHaveLength(21);
  expect(errorLines(many).at(-1)).toBe("and 5 more reasons");
});

test("progress adds up, never passes the whole, and says complete only when all of it is", () => {
  fc.assert(
    fc.property(fc.nat(50), fc.nat(50), fc.nat(50), fc.nat(50), (open, succeeded, failed, lost) => {
      const total = open + succeeded + failed + lost;
      const counts = { succeeded, failed, lost };
      const progress = jobProgress({ state: "running", total, counts, sums: {}, errors: [] });
      const params = Object.fromEntries(
        progress.stages.flatMap((stage) => stage.params.map(({ key, value }) => [key, value])),
      );
      expect(params["processed"]).toBe(succeeded + failed + lost);
      expect(Number(params["processed"]) + Number(params["remaining"])).toBe(total);
      expect(progress.summary.progress).toBeLessThanOrEqual(1);
      if (open > 0) expect(progress.summary.status_label).not.toBe("100% complete");
    }),
  );
  expect(
    jobProgress({ state: "completed", total: 0, counts: {}, sums: {}, errors: [] }).summary,
  ).toEqual({ status: "completed", progress: 1, status_label: "100% complete" });
  const collecting = jobProgress({
    state: "running",
    total: 0,
    counts: {},
    sums: {},
    errors: [],
    collecting: { collected: 40, done: false },
  });
  expect(collecting.summary.progress).toBe(0);
  expect(collecting.stages[1]!.params[1]).toMatchObject({ key: "remaining", value: "" });
});
