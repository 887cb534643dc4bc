import { expect, test } from "vitest";
import { isNestedTooDeep, MOST_NESTED } from "../../contracts/json-depth.ts";

const FILLING = `"${"x".repeat(70_000)}"`;
const isDeep = (text: string) => isNestedTooDeep(Buffer.from(text));
const nested = (depth: number, inner = FILLING) =>
  `${"[".repeat(depth)}${inner}${"]".repeat(depth)}`;

test("arrays and objects inside each other are counted, and only those", () => {
  expect(isDeep(nested(MOST_NESTED))).toBe(false);
  expect(isDeep(nested(MOST_NESTED + 1))).toBe(true);
  expect(isDeep(`{"a":`.repeat(MOST_NESTED + 1) + FILLING)).toBe(true);
  expect(isDeep(`[${Array(1_000).fill("[{}]").join(",")},${FILLING}]`)).toBe(false);
});

test("brackets in texts are no nesting, whatever is escaped in them", () => {
  const brackets = "[".repeat(70_000);
  expect(isDeep(`["${brackets}"]`)).toBe(false);
  expect(isDeep(`["a\\"${brackets}"]`)).toBe(false);
  expect(isDeep(`["a\\\\",${brackets}`)).toBe(true);
  expect(isDeep(`["a\\\\\\"${brackets}"]`)).toBe(false);
  expect(isDeep(`["${brackets}`)).toBe(false);
});

test("ten megabytes of brackets are refused in a moment", () => {
  const began = performance.now();
  expect(isDeep("[".repeat(10_000_000))).toBe(true);
  expect(performance.now() - began).toBeLessThan(1_000);
});
