import { expect, test } from "vitest";
import { ENTITY_STATES, wireState, type EntityState } from "../../contracts/inventory.ts";
import {
  isSettled,
  ofDuplicate,
  stateAfter,
  statesBefore,
  type EntityAct,
} from "../../domain/inventory-state.ts";

const states = Object.keys(ENTITY_STATES) as EntityState[];

test("states keep their numbers on the wire, and later ones are shown as states it knows", () => {
  expect(Object.entries(ENTITY_STATES).map(([name, n]) => `${n} ${name}`)).toEqual([
    "0 unspecified",
    "1 queued",
    "2 open",
    "3 applied",
    "4 failed",
    "5 no_changes",
    "6 ignored",
    "7 errored",
    "8 applying",
    "9 pending_retry",
    "10 planning",
    "11 superseded",
  ]);
  expect(wireState("planning")).toBe("queued");
  for (const state of states) expect(ENTITY_STATES[wireState(state)]).toBeLessThan(10);
});

test("an act leads where it should, and from nowhere else", () => {
  expect(stateAfter("queued", "claim-apply")).toBe("applying");
  expect(stateAfter("applying", "release")).toBe("queued");
  expect(stateAfter("open", "approve")).toBe("open");
  expect(stateAfter("queued", "approve")).toBeUndefined();
  expect(stateAfter("ignored", "reopen")).toBe("queued");
  expect(stateAfter("applied", "apply")).toBeUndefined();
  expect(stateAfter("applying", "supersede")).toBeUndefined();
  expect(stateAfter("failed", "requeue")).toBe("queued");
  expect(statesBefore("reject")).toEqual(["open"]);
});

test("no state is a dead end: from each, people or the system can go on", () => {
  const acts: EntityAct[] = ["claim-plan", "release", "approve", "reopen", "rediff", "requeue"];
  for (const state of states) {
    if (state === "unspecified" || state === "superseded") continue;
    expect(
      acts.some((act) => stateAfter(state, act) !== undefined),
      state,
    ).toBe(true);
  }
});

test("an equal newest version that has ended is planned again, one that is to come is counted", () => {
  const again = states.filter((state) => ofDuplicate(state) === "new-version");
  expect(again).toEqual([
    "unspecified",
    "applied",
    "failed",
    "no_changes",
    "errored",
    "superseded",
  ]);
  for (const state of ["queued", "open", "applying", "pending_retry", "planning"] as const) {
    expect(isSettled(state)).toBe(false);
  }
});
