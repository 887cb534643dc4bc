import { createHash } from "node:crypto";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { fileSpool, memorySpool, type PayloadSpool } from "../../client/payload-spool.ts";

const content = fc.oneof(
  fc.string({ unit: "binary", maxLength: 40 }),
  // Longer than one stored piece, and of characters that take one to four bytes.
  fc
    .tuple(fc.constantFrom("a", "é", "€", "😀"), fc.integer({ min: 1, max: 300_000 }))
    .map(([unit, times]) => unit.repeat(times)),
);
const meta = fc.option(fc.dictionary(fc.string({ unit: "binary" }), fc.string()), {
  nil: undefined,
});
const items = fc.array(fc.record({ content, meta }), { minLength: 1, maxLength: 6 });

/** What comes out: by item its content, and its meta. */
async function readBack(spool: PayloadSpool) {
  const read: { content: string; meta: unknown }[] = [];
  for await (const { bytes, entries } of spool.slices()) {
    let at = 0;
    for (const { itemNo, part, contentBytes, metaBytes } of entries) {
      const item = (read[itemNo - 1] ??= { content: "", meta: undefined });
      item.content += bytes.toString("utf8", at, at + contentBytes);
      at += contentBytes;
      if (metaBytes > 0) item.meta = JSON.parse(bytes.toString("utf8", at, at + metaBytes));
      expect(part === 0 || metaBytes === 0).toBe(true);
      at += metaBytes;
    }
    expect(at).toBe(bytes.length);
  }
  return read;
}

test.each([
  ["in memory", async () => memorySpool()],
  ["in memory, with an estimate that is far too low", async () => memorySpool(10)],
  ["in a file", fileSpool],
])("what is spooled %s comes out as it went in, twice", async (_name, open) => {
  await fc.assert(
    fc.asyncProperty(items, async (all) => {
      const spool = await open();
      const digest = createHash("sha256");
      let bytes = 0;
      for (const [index, { content, meta }] of all.entries()) {
        const length = Buffer.byteLength(content);
        expect(await spool.add(index + 1, content, meta)).toBe(length);
        digest.update(content, "utf8");
        bytes += length;
      }
      expect(spool.bytes()).toBe(bytes);
      expect(spool.contentsDigest()).toEqual(digest.digest());
      // JSON has no keys of its own order nor __proto__; compared as JSON.
      const expected = JSON.parse(JSON.stringify(all)) as unknown;
      expect(JSON.parse(JSON.stringify(await readBack(spool)))).toEqual(expected);
      expect(JSON.parse(JSON.stringify(await readBack(spool)))).toEqual(expected);
      await spool.close();
    }),
    { numRuns: 15 },
  );
});

test("slices are bounded, whatever the batch", async () => {
  const spool = memorySpool();
  onTestFinished(() => spool.close());
  for (let no = 1; no <= 30; no++) await spool.add(no, "x".repeat(1_000_000), { no: String(no) });
  const lengths: number[] = [];
  for await (const { bytes } of spool.slices()) lengths.push(bytes.length);
  expect(lengths.length).toBeGreaterThan(3);
  expect(Math.max(...lengths)).toBeLessThanOrEqual(8 * 1024 * 1024);
});
