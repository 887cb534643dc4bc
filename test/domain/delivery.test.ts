import { expect, test } from "vitest";
import { afterTry, DELIVERY } from "../../domain/delivery.ts";

test("tries are spread over about a day, each wait at most an hour", () => {
  let total = 0;
  for (let attempt = 1; attempt < DELIVERY.maxAttempts; attempt++) {
    const verdict = afterTry(attempt, { status: 500 });
    if (verdict.state !== "pending") throw new Error(`given up at try ${attempt}`);
    expect(verdict.waitMs).toBe(Math.min(5_000 * 2 ** (attempt - 1), 3_600_000));
    total += verdict.waitMs;
  }
  expect(total / 3_600_000).toBeGreaterThan(20);
  expect(total / 3_600_000).toBeLessThan(28);
  expect(afterTry(DELIVERY.maxAttempts, { status: 500 })).toEqual({ state: "dead" });
});

test("any 2xx is delivered, also at the last try; 410 ends it for good; all else waits", () => {
  for (const status of [200, 202, 204, 299]) {
    expect(afterTry(DELIVERY.maxAttempts, { status })).toEqual({ state: "delivered" });
  }
  expect(afterTry(1, { status: 410 })).toEqual({ state: "dead", disable: true });
  for (const answer of [{ status: 301 }, { status: 404 }, { status: 429 }, { status: 500 }, {}]) {
    expect(afterTry(1, answer)).toEqual({ state: "pending", waitMs: 5_000 });
    expect(afterTry(1, answer, 0)).toEqual({ state: "pending", waitMs: 2_500 });
  }
});
