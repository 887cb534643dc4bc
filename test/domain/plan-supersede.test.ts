import fc from "fast-check";
import { expect, test } from "vitest";
import type { Entity } from "../../contracts/inventory.ts";
import { readEntity } from "../../domain/inventory-line.ts";
import { mergeDuplicates } from "../../domain/plan-duplicates.ts";
import { createBatchNodes, layOut, type EntityNodes } from "../../domain/plan-nodes.ts";
import { findSuperseded } from "../../domain/plan-supersede.ts";
import { feeds, isSmallReference, SMALL_REGISTRY, SMALL_SEED } from "../support/inventory-feeds.ts";
import { createOracle } from "../support/inventory-oracle.ts";
import { contentOf } from "../support/memory-inventory.ts";

function supersededIn(
  entities: readonly Pick<Entity, "type" | "fields">[],
): ReadonlyMap<number, number> {
  const batch = createBatchNodes(SMALL_REGISTRY);
  const sound: number[] = [];
  const laidOut: EntityNodes[] = [];
  for (const [no, { type, fields }] of entities.entries()) {
    const nodes = mergeDuplicates(batch, layOut(batch, SMALL_REGISTRY.types.get(type)!, fields));
    if ("fault" in nodes) continue;
    sound.push(no);
    laidOut.push(nodes);
  }
  return new Map(
    [...findSuperseded(laidOut)].map(([older, newer]) => [sound[older]!, sound[newer]!]),
  );
}

function superseded(...given: object[]): [number, number][] {
  const entities = given.map((one) => {
    const reading = readEntity(SMALL_REGISTRY, { timestamp: "2026-01-01T00:00:00Z", ...one });
    if (reading.read !== "entity") throw new Error(JSON.stringify(reading));
    return reading.entity;
  });
  return [...supersededIn(entities)];
}

const port = (given: object) => ({
  port: {
    name: "e0",
    box: { name: "b", place: { name: "p" }, kind: "big" },
    type: "copper",
    ...given,
  },
});

test("a version is left out when a newer one sets all that it sets", () => {
  expect(superseded(port({ on: true }), port({ on: false }))).toEqual([[0, 1]]);
  expect(superseded(port({ on: true }), port({}))).toEqual([]);
  expect(superseded(port({ on: true }), port({ _clear: ["on"] }))).toEqual([[0, 1]]);
  expect(superseded(port({ _clear: ["on"] }), port({ on: true }))).toEqual([[0, 1]]);
  expect(superseded(port({ tags: [{ name: "t1" }] }), port({ tags: [{ name: "t2" }] }))).toEqual(
    [],
  );
  expect(
    superseded(port({ tags: [{ name: "t1" }] }), port({ tags: [{ name: "t2" }, { name: "t1" }] })),
  ).toEqual([[0, 1]]);
});

test("a version is kept when it makes an object that no newer one speaks of", () => {
  const at = (name: string) => ({ place: { name: "x", parent: { name } } });
  expect(superseded(at("p1"), at("p2"))).toEqual([]);
  const owned = (owner: string) => ({
    box: { name: "b", place: { name: "p" }, kind: "big", owner: { name: owner } },
  });
  expect(superseded(owned("o1"), owned("o2"))).toEqual([]);
});

test("a version that may rename something, or before one that may mean its objects, is kept", () => {
  const box = (given: object) => ({ box: { kind: "big", ...given } });
  const both = { asset: "a", name: "b", place: { name: "p" } };
  expect(superseded(box(both), box(both))).toEqual([]);
  const named = { name: "b", place: { name: "p" } };
  expect(superseded(box({ ...named, size: 1 }), box({ ...named, size: 2 }))).toEqual([[0, 1]]);
  expect(
    superseded(box({ ...named, size: 1 }), box({ asset: "a" }), box({ ...named, size: 2 })),
  ).toEqual([]);
  expect(
    superseded(
      box({ ...named, size: 1 }),
      box({ ...named, name: "c" }),
      box({ ...named, size: 2 }),
    ),
  ).toEqual([[0, 2]]);
});

test(
  "leaving out what is superseded by an applied version never changes the inventory",
  { timeout: 120_000 },
  () => {
    let left = 0;
    fc.assert(
      fc.property(feeds, (feed) => {
        const whole = createOracle(SMALL_REGISTRY, SMALL_SEED);
        const ends = feed.map((entity) => whole.apply(entity));
        const applied = (no: number) => ends[no] === "changed" || ends[no] === "unchanged";
        const needless = new Set(
          [...supersededIn(feed)].flatMap(([older, newer]) => (applied(newer) ? older : [])),
        );
        left += needless.size;
        const rest = createOracle(SMALL_REGISTRY, SMALL_SEED);
        for (const [no, entity] of feed.entries()) if (!needless.has(no)) rest.apply(entity);
        expect(contentOf(rest.objects, isSmallReference)).toEqual(
          contentOf(whole.objects, isSmallReference),
        );
      }),
      { numRuns: Number(process.env["HOLDFAST_ORACLE_RUNS"] ?? 400) },
    );
    expect(left).toBeGreaterThan(0);
  },
);
