import fc from "fast-check";
import { expect, test } from "vitest";
import { drive, planBatch } from "../../domain/plan-batch.ts";
import { feeds, isSmallReference, SMALL_REGISTRY, SMALL_SEED } from "../support/inventory-feeds.ts";
import { createOracle } from "../support/inventory-oracle.ts";
import { contentOf, createMemoryInventory } from "../support/memory-inventory.ts";

const RUNS = Number(process.env["HOLDFAST_ORACLE_RUNS"] ?? 250);

function inventory() {
  const memory = createMemoryInventory();
  memory.seed(SMALL_REGISTRY, SMALL_SEED);
  return memory;
}

test(
  "feeds planned and applied in batches of any size end in the inventory that one by one gives",
  { timeout: 120_000 },
  () => {
    const ends: Record<string, number> = {};
    fc.assert(
      fc.property(feeds, fc.integer({ min: 1, max: 24 }), (feed, size) => {
        const memory = inventory();
        const oracle = createOracle(SMALL_REGISTRY, SMALL_SEED);
        for (let at = 0; at < feed.length; at += size) {
          const entities = feed.slice(at, at + size);
          const { newId, known } = memory;
          const plan = planBatch({
            registry: SMALL_REGISTRY,
            entities,
            newId,
            decide: () => "apply",
          });
          const batch = drive(plan, known);
          memory.apply(batch.writes);
          const expected = entities.map((entity) => oracle.apply(entity));
          // Of two faults in one entity either may be told.
          expect(
            batch.entities.map((one) => (one.outcome === "planned" ? "changed" : one.outcome)),
          ).toEqual(
            expected.map((end) => (end === "changed" || end === "unchanged" ? end : "failed")),
          );
          for (const end of expected) ends[end] = (ends[end] ?? 0) + 1;
        }
        expect(contentOf(memory.objects, isSmallReference)).toEqual(
          contentOf(oracle.objects, isSmallReference),
        );
      }),
      { numRuns: RUNS },
    );
    // Feeds that all fail, or never do, would prove little.
    for (const end of ["changed", "unchanged", "conflict", "required", "missing-reference"]) {
      expect(ends[end] ?? 0, end).toBeGreaterThan(0);
    }
  },
);
