import { createHash } from "node:crypto";
import canonicalizeModule from "canonicalize";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createBatchDigest, digestBatch, digestOf } from "../../domain/digest.ts";

const canonicalize = canonicalizeModule as unknown as (value: unknown) => string;
const json = fc.jsonValue({ maxDepth: 3 });
const longText = fc
  .tuple(
    fc.string({ unit: "binary", minLength: 1, maxLength: 9 }),
    fc.integer({ min: 8_000, max: 30_000 }),
  )
  .map(([unit, times]) => unit.repeat(times));

/** The same value with the keys of every object in another order. */
function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toReversed()
      .map(([k, v]) => [k, reversed(v)]),
  );
}

test("a digest is sha-256 over versioned canonical JSON, one line per value", () => {
  const expected = createHash("sha256").update('holdfast-2\n{"a":1,"b":2}\n[3]\n"é"\n').digest();
  expect(digestBatch({ b: 2, a: 1 }, [[3], "é"])).toEqual(expected);
});

test("the order of keys does not matter, also in nested objects", () => {
  fc.assert(
    fc.property(json, (value) => {
      expect(digestOf(reversed(value))).toEqual(digestOf(value));
    }),
  );
});

test("two values have one digest only if they are the same JSON", () => {
  fc.assert(
    fc.property(json, json, (a, b) => {
      const same = canonicalize(a) === canonicalize(b);
      expect(digestOf(a).equals(digestOf(b))).toBe(same);
    }),
  );
});

test("a value changed anywhere changes the digest", () => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.string(), json, { minKeys: 1 }),
      fc.nat(),
      json,
      (object, at, other) => {
        const key = Object.keys(object)[at % Object.keys(object).length]!;
        fc.pre(canonicalize(object[key]) !== canonicalize(other));
        expect(digestOf({ ...object, [key]: other })).not.toEqual(digestOf(object));
      },
    ),
  );
});

test("where one item ends matters, and so does their order", () => {
  expect(digestBatch({}, ["ab", "c"])).not.toEqual(digestBatch({}, ["a", "bc"]));
  expect(digestBatch({}, [["a"], ["b"]])).not.toEqual(digestBatch({}, [["a", "b"]]));
  expect(digestBatch({}, [1, 2])).not.toEqual(digestBatch({}, [2, 1]));
  expect(digestBatch({}, ["a\nb"])).not.toEqual(digestBatch({}, ["a", "b"]));
  expect(digestBatch({}, [{}])).not.toEqual(digestBatch({}, []));
});

test("long contents are hashed in slices to the digest of the whole", () => {
  fc.assert(
    fc.property(longText, json, (content, other) => {
      const item = { z: other, content, a: undefined, é: 1 };
      const lines = `holdfast-2\n${canonicalize({})}\n${canonicalize(item)}\n`;
      expect(digestBatch({}, [item])).toEqual(createHash("sha256").update(lines, "utf8").digest());
    }),
    { numRuns: 30 },
  );
});

test("a slice never cuts a surrogate pair", () => {
  const content = `x${"😀".repeat(70_000)}`;
  const lines = `holdfast-2\n{}\n{"content":"${content}"}\n`;
  expect(digestBatch({}, [{ content }])).toEqual(createHash("sha256").update(lines).digest());
});

test("items that arrive over time have the digest of the whole batch", () => {
  const items = [{ content: "a" }, { content: "b".repeat(200_000) }, { content: "c" }];
  const digest = createBatchDigest({ bank: "b" });
  for (const item of items) digest.add(item);
  expect(digest.digest()).toEqual(digestBatch({ bank: "b" }, items));
});

test("an absent property and an undefined one are the same, null is another", () => {
  expect(digestOf({ a: undefined })).toEqual(digestOf({}));
  expect(digestOf({ a: null })).not.toEqual(digestOf({}));
});

test("what JSON cannot hold is refused", () => {
  expect(() => digestOf(undefined)).toThrow("no JSON form");
  expect(() => digestOf({ a: Number.NaN })).toThrow("NaN");
});

test("contents hashed apart count as much as those in the item", () => {
  const apart = (header: unknown, items: readonly (readonly [unknown, string])[]) => {
    const digest = createBatchDigest(header);
    const contents = createHash("sha256");
    for (const [item, content] of items) {
      digest.add(item, Buffer.byteLength(content));
      contents.update(content);
    }
    return digest.digest(contents.digest()).toString("hex");
  };
  const text = fc.string({ unit: "binary", maxLength: 4 });
  const batch = fc.array(fc.tuple(json, text), { maxLength: 4 });
  fc.assert(
    fc.property(batch, batch, (a, b) => {
      expect(apart({}, a) === apart({}, b)).toBe(canonicalize(a) === canonicalize(b));
    }),
  );
  // Where one ends matters, and which item it belongs to.
  expect(
    apart({}, [
      [1, "ab"],
      [2, "c"],
    ]),
  ).not.toEqual(
    apart({}, [
      [1, "a"],
      [2, "bc"],
    ]),
  );
  expect(
    apart({}, [
      [1, "a"],
      [2, "b"],
    ]),
  ).not.toEqual(
    apart({}, [
      [2, "a"],
      [1, "b"],
    ]),
  );
  expect(apart({}, [[1, ""]])).not.toEqual(digestBatch({}, [1]).toString("hex"));
});
