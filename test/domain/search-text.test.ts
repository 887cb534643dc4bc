import fc from "fast-check";
import { expect, test } from "vitest";
import { excerptOf, spansOf, unmarked } from "../../domain/search-text.ts";

const found = (value: string, text: string, lookup: Parameters<typeof spansOf>[2] = "partial") =>
  spansOf(value, text, lookup).map(([from, to]) => value.slice(from, to));

test("a text is found whatever its case, also where lower case is longer", () => {
  expect(found("Rack rack RACK", "rAck")).toEqual(["Rack", "rack", "RACK"]);
  expect(found("İİ rack", "RACK")).toEqual(["rack"]);
  expect(found("🦆 Rack 🦆", "rack")).toEqual(["Rack"]);
  expect(found("aaa", "aa")).toEqual(["aa"]);
});

test("each look-up finds where it looks", () => {
  expect(spansOf("ab ab", "AB", "starts-with")).toEqual([[0, 2]]);
  expect(spansOf("ab ab", "AB", "ends-with")).toEqual([[3, 5]]);
  expect(spansOf("ab ab", "AB", "exact")).toEqual([]);
  expect(spansOf("Ab", "aB", "exact")).toEqual([[0, 2]]);
  expect(spansOf("ab", "abc", "ends-with")).toEqual([]);
});

test("marks come out of a value as spans, whatever else is in it", () => {
  const marks = ["<1>", "</1>"] as const;
  expect(unmarked("a <1>b</1> c <1>d</1>", marks)).toEqual({
    value: "a b c d",
    spans: [
      [2, 3],
      [6, 7],
    ],
  });
  expect(unmarked("nothing </b>", marks)).toEqual({ value: "nothing </b>", spans: [] });
  expect(unmarked("<1></1>x", marks)).toEqual({ value: "x", spans: [] });
});

test("a short value is shown whole, of a long one what is around the first match", () => {
  expect(excerptOf("short", [[0, 5]])).toEqual({ value: "short", highlights: [[0, 5]] });
  const long = `${"before ".repeat(40)}match${" after".repeat(40)}`;
  const { value, highlights } = excerptOf(long, spansOf(long, "match", "partial"));
  expect(value).toBe("…before before before before match after after after after after…");
  expect(highlights.map(([from, to]) => value.slice(from, to))).toEqual(["match"]);
  expect(excerptOf("x".repeat(90), []).value).toBe(`${"x".repeat(60)}…`);
});

test("an excerpt is one line, splits no character, and marks what was found, for any text", () => {
  const letters = fc.string({ unit: "grapheme", minLength: 0, maxLength: 300 });
  fc.assert(
    fc.property(
      letters,
      fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 }),
      letters,
      (before, text, after) => {
        const whole = before + text + after;
        const spans = spansOf(whole, text, "partial");
        const { value, highlights } = excerptOf(whole, spans);
        expect(value).not.toMatch(/[\n\r\t\0]/);
        expect(value).toBe(Buffer.from(value).toString());
        expect(value.length).toBeLessThan(200 + 100);
        for (const [from, to] of highlights) {
          expect(from).toBeLessThan(to);
          expect(to).toBeLessThanOrEqual(value.length);
        }
        if (spans.length > 0) expect(highlights.length).toBeGreaterThan(0);
      },
    ),
    { numRuns: 500 },
  );
});
