import { expect, test } from "vitest";
import { holdupOf, stallStep, type StallFacts } from "../../domain/job-stall.ts";

const NOW = Date.parse("2026-01-02T00:00:00Z");
const before = (seconds: number) => new Date(NOW - seconds * 1_000);

/** Just begun, with work and a worker who comes for it. */
const going: StallFacts = {
  pipeline: "p",
  atWork: true,
  startedAt: before(3_600),
  open: 10,
  ready: 2,
  leased: 0,
  workersOnline: 1,
  workerSeenAt: before(5),
  claimedAt: before(5),
  resultAt: before(5),
  repairedAt: null,
};

const heldUp = (facts: Partial<StallFacts>) => holdupOf({ ...going, ...facts }, NOW);

test("a job that goes on, or was told not to, is not held up", () => {
  expect(heldUp({})).toBeNull();
  expect(heldUp({ ready: 0, leased: 1, workersOnline: 0, claimedAt: before(9_999) })).toBeNull();
  expect(heldUp({ atWork: false, ready: 0 })).toBeNull();
  // Whoever works without ever asking is no stranger.
  expect(heldUp({ workersOnline: 0, workerSeenAt: null, claimedAt: before(59) })).toBeNull();
  expect(heldUp({ claimedAt: before(120), resultAt: null })).toBeNull();
});

test("what holds a job up is told apart, with since when", () => {
  expect(heldUp({ collecting: { collected: 105_091, pageAt: before(3) }, open: 0 })).toEqual({
    kind: "collecting",
    text: "collecting its items: 105091 so far, the last 3 s ago",
    sinceMs: NOW - 3_600_000,
  });
  expect(
    heldUp({ workersOnline: 0, workerSeenAt: before(7_200), claimedAt: null, resultAt: null }),
  ).toEqual({
    kind: "no workers online",
    text: 'no worker online for "p", the last one seen 2 h ago',
    sinceMs: NOW - 7_200_000,
  });
  expect(heldUp({ workersOnline: 0, workerSeenAt: null, claimedAt: null, resultAt: null })).toEqual(
    {
      kind: "no workers online",
      text: 'no worker has asked for "p" yet',
      sinceMs: NOW - 3_600_000,
    },
  );
  expect(heldUp({ claimedAt: before(121), resultAt: before(180) })).toEqual({
    kind: "workers idle",
    text: "1 worker online, and nothing of it claimed for 2 min",
    sinceMs: NOW - 121_000,
  });
  expect(heldUp({ open: 0, ready: 0, resultAt: before(1) })).toEqual({
    kind: "result backlog",
    text: "every item has its outcome; the job is about to be finished",
    sinceMs: NOW - 1_000,
  });
  expect(heldUp({ open: 3, ready: 0 })).toEqual({
    kind: "stuck",
    text: "3 items are open, and nothing would hand them out",
    sinceMs: NOW - 5_000,
  });
});

test("only a job that is stuck is ever mended or ended, and ended only when mending did not help for ten minutes", () => {
  const step = (facts: Partial<StallFacts>) => stallStep({ ...going, ...facts }, NOW);
  const day = 86_400;
  const old = {
    startedAt: before(30 * day),
    workerSeenAt: before(29 * day),
    claimedAt: before(29 * day),
    resultAt: before(29 * day),
    repairedAt: before(28 * day),
  };
  // Nobody online for a month, idle workers, a long collection, results that wait, a live lease.
  expect(step({ ...old, workersOnline: 0 })).toBe("wait");
  expect(step({ ...old, workersOnline: 3 })).toBe("wait");
  expect(step({ ...old, ready: 0, collecting: { collected: 0, pageAt: null } })).toBe("wait");
  expect(step({ ...old, ready: 0, open: 0 })).toBe("wait");
  expect(step({ ...old, ready: 0, open: 1, leased: 1 })).toBe("wait");
  expect(step({ ...old, ready: 0, atWork: false })).toBe("wait");

  const stuck = { ...old, ready: 0, open: 1 };
  expect(step({ ...stuck, repairedAt: null })).toBe("repair");
  expect(step({ ...stuck, repairedAt: before(599) })).toBe("wait");
  expect(step({ ...stuck, repairedAt: before(600) })).toBe("end");
  // It helped once: what is missing since then is mended first.
  expect(step({ ...stuck, repairedAt: before(900), claimedAt: before(700) })).toBe("repair");
});
