import fc from "fast-check";
import { expect, test } from "vitest";
import { codePointLength, isBlank, unstorable } from "../../contracts/text.ts";

test.each(["", " ", "\n\t\r", "\u00a0", "\ufeff", "\u2003\u3000", "\u2028", "\u200b"])(
  "%j is blank",
  (text) => {
    expect(isBlank(text)).toBe(true);
  },
);

test.each(["a", " .", "\u200d", "0", "漢"])("%j is not blank", (text) => {
  expect(isBlank(text)).toBe(false);
});

test("lengths are code points, as iterating counts them, halves of pairs included", () => {
  const units = fc.array(fc.constantFrom("a", "漢", "\ud83d", "\ude00", "😀"));
  fc.assert(
    fc.property(units, (units) => {
      const text = units.join("");
      expect(codePointLength(text)).toBe(Array.from(text).length);
    }),
  );
  expect(codePointLength("a😀b")).toBe(3);
  expect(codePointLength("\ud83da")).toBe(2);
  expect(codePointLength("\ud83d\ud83d\ude00")).toBe(2);
});

test("NUL and half a surrogate pair are refused by name, everything else is stored", () => {
  expect(unstorable("a\0b")).toContain("NUL");
  expect(unstorable("a\ud83d")).toContain("half a surrogate pair");
  expect(unstorable("\ude00a")).toContain("half a surrogate pair");
  expect(unstorable("a😀\u0001\n")).toBeUndefined();
});
