import fc from "fast-check";
import { expect, test } from "vitest";
import type { FactForConsolidation } from "../../contracts/plugins.ts";
import { unstorable } from "../../contracts/text.ts";
import { OBSERVATION_LIMITS, summarise } from "../../domain/consolidation.ts";

const fact = (id: string, text: string, occurredEnd?: string): FactForConsolidation => ({
  id,
  text,
  documentId: `document of ${id}`,
  ...(occurredEnd ? { occurredEnd } : {}),
});

test("one fact is no observation", () => {
  expect(summarise("Acme", [fact("1", "Acme was founded.")])).toBeUndefined();
});

test("what happened last comes first, then undated facts, those that open with the name first", () => {
  expect(
    summarise("Acme", [
      fact("1", "The rival of Acme is Globex."),
      fact("2", "Acme moved.", "2024-05-01"),
      fact("3", "**Acme** makes [anvils](https://acme.example)."),
      fact("4", "Acme was\nsold.", "2026-11-21"),
    ]),
  ).toEqual({
    text: "Acme: Acme was sold; Acme moved; Acme makes anvils; The rival of Acme is Globex",
    sources: ["4", "2", "3", "1"],
  });
});

test("facts that say the same are one in the text and all in the sources", () => {
  expect(
    summarise("MIT", [fact("a", "Licensed under MIT."), fact("b", "licensed  under MIT")]),
  ).toEqual({
    text: "MIT: Licensed under MIT",
    sources: ["a", "b"],
  });
});

test("the order of facts does not matter, and text and sources are bounded and never made up", () => {
  const facts = fc.uniqueArray(
    fc.record({
      id: fc.uuid(),
      text: fc.string({ unit: "grapheme", minLength: 1, maxLength: 400 }),
      documentId: fc.constantFrom("a", "b"),
      occurredEnd: fc.constantFrom("2024-01-01", "2026-11-21"),
    }),
    { selector: (f) => f.id, minLength: 2, maxLength: 30 },
  );
  fc.assert(
    fc.property(facts, fc.nat(), (facts, turn) => {
      const at = turn % facts.length;
      const turned = [...facts.slice(at), ...facts.slice(0, at)];
      const observation = summarise("Acme", facts)!;
      expect(summarise("Acme", turned)).toEqual(observation);
      expect(observation.text.length).toBeLessThanOrEqual(OBSERVATION_LIMITS.text);
      expect(unstorable(observation.text.replaceAll("\0", ""))).toBeUndefined();
      expect(new Set(observation.sources).size).toBe(observation.sources.length);
      for (const id of observation.sources) expect(facts.some((f) => f.id === id)).toBe(true);
      expect(observation.sources.length).toBeGreaterThan(0);
    }),
  );
});

test("a thousand equal facts give a bounded list of sources", () => {
  const facts = Array.from({ length: 1_000 }, (_, i) => fact(String(i), "MIT License."));
  expect(summarise("MIT", facts)?.sources).toHaveLength(OBSERVATION_LIMITS.sources);
});
