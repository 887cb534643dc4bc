import fc from "fast-check";
import { expect, test } from "vitest";
import type { Fields } from "../../contracts/inventory.ts";
import type { Fault } from "../../dev/fault-target-faults.ts";
import { parseExactJson } from "../../domain/exact-json.ts";
import { feeds, isSmallReference, SMALL_REGISTRY, SMALL_SEED } from "../support/inventory-feeds.ts";
import { createOracle } from "../support/inventory-oracle.ts";
import { contentOf } from "../support/memory-inventory.ts";
import { targeting } from "../support/targeting.ts";

const ROUNDS = Number(process.env["HOLDFAST_ORACLE_RUNS"] ?? 4);
/** What is nobody's fault, so that all ends as if it had not been. */
const faults: fc.Arbitrary<Fault[]> = fc.array(
  fc.oneof(
    fc.record({
      fault: fc.constantFrom<Fault["fault"]>(
        "timeout-after",
        "reset",
        "missing-result",
        "duplicate-ids",
        "wrong-order",
        "not-json",
      ),
      path: fc.constantFrom("bulk-apply/", "bulk-plan-apply/"),
      times: fc.constantFrom(1, 2),
    }),
    fc.record({
      fault: fc.constantFrom<Fault["fault"]>(
        "status-503",
        "status-429",
        "timeout-before",
        "no-bulk",
        "stale-token",
      ),
      times: fc.constantFrom(1, 2),
    }),
  ),
  { minLength: 2, maxLength: 5 },
);

test(
  "random feeds through a target that goes wrong end as they end one by one without it",
  { timeout: 240_000 },
  async () => {
    const samples = fc.sample(
      fc.tuple(feeds, faults, fc.boolean(), fc.integer({ min: 1, max: 8 })),
      ROUNDS,
    );
    let changed = 0;
    for (const [feed, wrong, combined, batchSize] of samples) {
      const given = { concurrency: 1, batchSize, requestTimeoutMs: 4_000, combined };
      const { db, outside, take, drain, forgive } = await targeting(given, {}, { attempts: 0 });
      await take(feed);
      outside.fail(...wrong);
      const unsettled = async () => {
        const { rows } = await db.query<{ n: number }>(
          "select count(*)::int as n from holdfast.entities where settled_at is null",
        );
        return rows[0]!.n;
      };
      for (let tries = 0; (await unsettled()) > 0 && tries < 60; tries++) {
        await drain();
        await forgive();
      }
      const { rows } = await db.query<{
        type: string;
        fields: string;
        state: number;
        error: unknown;
        unseen: boolean;
      }>(`select type, fields::text as fields, state, error,
                exists (select from holdfast.change_sets c
                         where c.entity = e.id and c.changes = '[]') as unseen
           from holdfast.entities e order by id`);
      const oracle = createOracle(SMALL_REGISTRY, SMALL_SEED);
      const expected = rows.map(({ type, fields }) =>
        oracle.apply({ type, fields: parseExactJson(fields) as Fields }),
      );
      changed += expected.filter((end) => end === "changed").length;
      const what = JSON.stringify({ given, wrong, feed: rows });
      expect(
        rows.map(({ state }) => ENDS[state] ?? state),
        what,
      ).toEqual(
        expected.map((end, no) => {
          // Of one call for both whose answer was lost nobody can say whether it changed something.
          if (end === "unchanged" && rows[no]!.unseen) return "changed";
          return end === "changed" || end === "unchanged" ? end : "refused";
        }),
      );
      expect(contentOf(outside.inventory.objects, isSmallReference), what).toEqual(
        contentOf(oracle.objects, isSmallReference),
      );
      const { rows: open } = await db.query(
        "select 1 from holdfast.apply_attempts where ended_at is null",
      );
      expect(open).toEqual([]);
    }
    expect(changed).toBeGreaterThan(ROUNDS);
  },
);

const ENDS: Record<number, string> = { 3: "changed", 5: "unchanged", 4: "refused", 7: "refused" };
