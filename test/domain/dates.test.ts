import fc from "fast-check";
import { expect, test } from "vitest";
import { datesIn } from "../../domain/dates.ts";

test.each([
  ["released on 2026-11-21", "2026-11-21", "2026-11-21"],
  ["released on 2026-11-21.", "2026-11-21", "2026-11-21"],
  ["at 2026-11-21T10:00:00Z sharp", "2026-11-21", "2026-11-21"],
  ["on 2026/1/5, early", "2026-01-05", "2026-01-05"],
  ["from 2026-11-01 to 2026-11-05", "2026-11-01", "2026-11-05"],
  ["on 21 November 2026 we met", "2026-11-21", "2026-11-21"],
  ["on the 1st of May 2019", "2019-05-01", "2019-05-01"],
  ["On November 21, 2026 we met", "2026-11-21", "2026-11-21"],
  ["On November 21st 2026 we met", "2026-11-21", "2026-11-21"],
  ["from 21-23 November 2026", "2026-11-21", "2026-11-23"],
  ["November 21–23, 2026", "2026-11-21", "2026-11-23"],
  ["in Nov 2026", "2026-11-01", "2026-11-30"],
  ["in Sept. 2026", "2026-09-01", "2026-09-30"],
  ["As of February 2024, all", "2024-02-01", "2024-02-29"],
  ["in February 1900, all", "1900-02-01", "1900-02-28"],
  ["29 February 2024", "2024-02-29", "2024-02-29"],
  ["It began in 2019.", "2019-01-01", "2019-12-31"],
  ["Since 2019 it works", "2019-01-01", "2019-12-31"],
  ["It began in 2019 and ended on 3 June 2021", "2019-01-01", "2021-06-03"],
])("%j speaks of %s to %s", (sentence, start, end) => {
  expect(datesIn(sentence)).toEqual({ start, end });
});

test.each([
  "on 2026-02-30",
  "on 2026-13-01",
  "on 2026-00-10",
  "in 2026-02-30",
  "on 30 February 2026",
  "on February 30, 2026",
  "on 31 April 2026",
  "on 29 February 2023",
  "from 23-21 November 2026",
  "they may 2026 times",
  "version 2026.11.21",
  "id 12026-11-21",
  "build 2026-11-21-3",
  "done in 2000 ms",
  "fits in 2048 bytes",
  "in 2019.5 seconds",
  "Copyright (c) 2010-2020 Somebody",
  "error 2024 happened",
  "call 1999 now",
  "no digits at all",
])("%j speaks of no date", (sentence) => {
  expect(datesIn(sentence)).toBeUndefined();
});

test("a date is found exactly when the calendar has it", () => {
  const day = fc.integer({ min: 0, max: 33 });
  const month = fc.integer({ min: 0, max: 14 });
  fc.assert(
    fc.property(fc.integer({ min: 1800, max: 2200 }), month, day, (year, month, day) => {
      const iso = `${year}-${String(month).padStart(2, "0")}-${String(day).padStart(2, "0")}`;
      const date = new Date(`${iso}T00:00:00Z`);
      const exists = !Number.isNaN(date.getTime()) && date.toISOString().startsWith(iso);
      expect(datesIn(`It was ${iso} then.`)).toEqual(exists ? { start: iso, end: iso } : undefined);
    }),
    { numRuns: 1_000 },
  );
});
