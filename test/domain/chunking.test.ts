import fc from "fast-check";
import { expect, test } from "vitest";
import { codePointLength, unstorable } from "../../contracts/text.ts";
import type { Chunk } from "../../contracts/plugins.ts";
import { chunk, createChunker } from "../../domain/chunking.ts";

const text = fc
  .array(
    fc.oneof(
      fc.constantFrom("\n", "\n\n", "\r\n", "\r\n\r\n", " ", ". ", "! ", "。", "\t", "\u00a0"),
      fc.constantFrom("word", "Another", "é", "e\u0301", "漢字", "😀", "👩‍👩‍👧", "👍🏽", "x"),
      fc.string({ unit: "grapheme", maxLength: 6 }),
    ),
    { maxLength: 200 },
  )
  .map((parts) => parts.join(""));
const size = fc.integer({ min: 1, max: 40 });

test("chunks joined are the text, with gapless numbers and offsets in code points", () => {
  fc.assert(
    fc.property(text, size, (text, size) => {
      const chunks = chunk(text, size);
      expect(chunks.map((c) => c.text).join("")).toBe(text);
      let end = 0;
      chunks.forEach((c, index) => {
        expect(c.no).toBe(index);
        expect(c.start).toBe(end);
        expect(c.end - c.start).toBe(codePointLength(c.text));
        end = c.end;
      });
      expect(end).toBe(codePointLength(text));
    }),
  );
});

test("no chunk is empty or longer than the size, and none splits a surrogate pair", () => {
  fc.assert(
    fc.property(text, size, (text, size) => {
      for (const c of chunk(text, size)) {
        expect(c.end - c.start).toBeGreaterThan(0);
        expect(c.end - c.start).toBeLessThanOrEqual(size);
        expect(unstorable(c.text.replaceAll("\0", ""))).toBeUndefined();
      }
    }),
  );
});

test("a text in pieces, divided anywhere, gives the chunks of the whole", () => {
  const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 12 });
  fc.assert(
    fc.property(text, size, cuts, (text, size, cuts) => {
      expect(chunkPieces(divide(text, cuts), size)).toEqual(chunk(text, size));
    }),
    { numRuns: 500 },
  );
});

test("a text one code unit at a time gives the chunks of the whole", () => {
  fc.assert(
    fc.property(text, size, (text, size) => {
      expect(chunkPieces(text.split(""), size)).toEqual(chunk(text, size));
    }),
  );
});

test("a chunker gives out all but about one chunk at once", () => {
  const chunker = createChunker(100);
  let given = 0;
  for (let pieces = 1; pieces <= 100; pieces++) {
    given += chunker.push("ten chars ".repeat(10)).reduce((sum, c) => sum + c.text.length, 0);
    expect(pieces * 100 - given).toBeLessThan(400);
  }
});

test.each([
  ["paragraph", "One is it.\n\nTwo.\nThree", "One is it.\n\nTwo.\n", "One is it.\n\n"],
  ["line", "One is here. Two.\nThree is", "One is here. Two.\n", "One is here. Two.\n"],
  ["sentence", "One is here now. Two is there", "One is here now. Two ", "One is here now. "],
  ["word", "one two three four", "one two thr", "one two "],
  ["full-width stop", "一二三四五六。七八九十一二", "一二三四五六。七八九", "一二三四五六。"],
])("cuts prefer the end of a %s", (_, text, longest, first) => {
  expect(chunk(text, longest.length)[0]?.text).toBe(first);
});

test("a paragraph end is found in either line ending", () => {
  expect(chunk("One two.\r\n\r\nThree four five", 16)[0]?.text).toBe("One two.\r\n\r\n");
});

test("without any boundary the size decides, but CRLF and joined characters stay whole", () => {
  expect(chunk("abcdefgh", 3).map((c) => c.text)).toEqual(["abc", "def", "gh"]);
  expect(chunk("abc\r\ndef", 4).map((c) => c.text)).toEqual(["abc", "\r\n", "def"]);
  expect(chunk("aae\u0301b", 3).map((c) => c.text)).toEqual(["aa", "e\u0301b"]);
  expect(chunk("a👩‍👧b", 3).map((c) => c.text)).toEqual(["a", "👩‍👧", "b"]);
});

test("an empty text has no chunks, a short one is one", () => {
  expect(chunk("")).toEqual([]);
  expect(chunk("a\n\nb")).toEqual([{ no: 0, start: 0, end: 4, text: "a\n\nb" }]);
});

function chunkPieces(pieces: readonly string[], size: number): Chunk[] {
  const chunker = createChunker(size);
  return [...pieces.flatMap((piece) => chunker.push(piece)), ...chunker.finish()];
}

function divide(text: string, cuts: readonly number[]): string[] {
  const places = [0, ...cuts.map((c) => Math.floor(c * text.length)), text.length];
  const sorted = places.toSorted((a, b) => a - b);
  return sorted.slice(1).map((to, index) => text.slice(sorted[index], to));
}
