import { expect, test } from "vitest";
import { gather, writePlace, type Marked } from "../../domain/index-batch.ts";

const mark = (seq: number, given: Partial<Marked>): Marked => ({
  seq: String(seq),
  type: "person",
  keys: null,
  through: null,
  place: null,
  at: 100 + seq,
  ...given,
});

test("parents marked one by one are one fan of all of them, as old as the first", () => {
  const [work] = gather([
    mark(9, { through: "cities.0", keys: ["3", "1"] }),
    mark(7, { through: "cities.0", keys: ["1", "2"] }),
    mark(8, { through: "countries.1", keys: ["1"] }),
  ]);
  expect(work).toEqual({
    type: "person",
    keys: [],
    since: [],
    fans: [
      {
        dependency: "cities.0",
        parents: ["3", "1", "2"],
        place: { origin: "7", pass: "rows", after: undefined },
        at: 107,
      },
      {
        dependency: "countries.1",
        parents: ["1"],
        place: { origin: "8", pass: "rows", after: undefined },
        at: 108,
      },
    ],
  });
});

test("a fan that is under way goes on from its place, beside one that begins", () => {
  const place = writePlace({ origin: "3", pass: "rows", after: "k" });
  const [work] = gather([
    mark(9, { through: "cities.0", keys: ["1"] }),
    mark(10, { through: "cities.0", keys: ["2"], place }),
  ]);
  expect(work!.fans.map((fan) => [fan.parents, fan.place.origin, fan.place.after])).toEqual([
    [["2"], "3", "k"],
    [["1"], "9", undefined],
  ]);
});
