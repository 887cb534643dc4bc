import { expect, test } from "vitest";
import { LatencyTarget } from "../../activities/target-latency.ts";
import { openTargets } from "../../activities/targets.ts";
import type { TargetEntity } from "../../contracts/target.ts";
import type { TargetScope } from "../../domain/target.ts";
import { SMALL_REGISTRY } from "../support/inventory-feeds.ts";

const scope: TargetScope = { registry: SMALL_REGISTRY, branch: "main" };
const { signal } = new AbortController();
const entities = (n: number): TargetEntity[] =>
  Array.from({ length: n }, (_, no) => ({
    id: String(no),
    type: "box",
    fields: { asset: `a${no}` },
    warnings: [],
  }));

const opened = (perCallMs: number, perEntityMs: number): LatencyTarget => {
  const targets = { practice: { latency: { perCallMs, perEntityMs } } };
  return openTargets({ inventory: { targets } }).get("practice") as LatencyTarget;
};

test("a call takes the time of a call and that of each of its entities", async () => {
  const target = opened(40, 10);
  const taken = async (n: number) => {
    const from = performance.now();
    await target.planApply(entities(n), scope, "key", signal);
    return performance.now() - from;
  };
  expect(await taken(1)).toBeGreaterThanOrEqual(49);
  expect(await taken(10)).toBeGreaterThanOrEqual(139);
  expect(target.calls).toBe(2);
});

test("every entity is a creation of its own, planned, applied, or both", async () => {
  const target = opened(0, 0);
  const plans = await target.plan(entities(3), scope, signal);
  const sets = plans.flatMap((plan) => (plan.outcome === "planned" ? plan : []));
  expect(
    sets.map(({ changeSet }) => changeSet.changes.map(({ kind, after }) => [kind, after])),
  ).toEqual(entities(3).map(({ fields }) => [["create", fields]]));
  expect(new Set(sets.map(({ changeSet }) => changeSet.hash)).size).toBe(3);
  const applies = sets.map((plan, no) => ({ key: String(no), plan }));
  expect(await target.apply(applies, scope, signal)).toEqual(
    applies.map(() => ({ outcome: "applied" })),
  );
});

test("a call that is ended does not take its time", async () => {
  const target = opened(60_000, 0);
  const ending = new AbortController();
  const call = target.plan(entities(1), scope, ending.signal);
  ending.abort(new Error("the process ends"));
  await expect(call).rejects.toThrow();
});

test("what is wrong with a target is told by its field, and never with its secret", () => {
  const wrong = { lab: { url: "ftp://lab", auth: { token: "hush-hush" } } };
  expect(() => openTargets({ inventory: { targets: wrong } })).toThrow(
    /^inventory\.targets\.lab\.url/,
  );
  expect(() => openTargets({ inventory: { targets: wrong } })).not.toThrow(/hush-hush/);
  const taken = { inventory: { latency: { perCallMs: 1, perEntityMs: 0 } } };
  expect(() => openTargets({ inventory: { targets: taken } })).toThrow(/choose another/);
});
