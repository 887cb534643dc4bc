import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { prose } from "../../bench/prose.ts";
import { rounds } from "../support/rounds.ts";
import { startSystem, type System } from "../support/system.ts";

/** Characters, as Unicode counts them. */
const SIZE = 47_000_000;
const PAGE = 10_000;
const WITHIN_MS = 300_000;

let system: System;
beforeAll(async () => (system = await startSystem()));
afterEach(async () => {
  await system.tidy();
  // The invariants are looked at over all that is there: one such text is enough.
  await system.forget();
});
afterAll(() => system.stop());

rounds(
  "an item of 47 million characters whose worker is killed in the middle goes on from there",
  async (random) => {
    const content = longProse(SIZE);
    const places = [random.between(SIZE * 0.1, SIZE * 0.4), random.between(SIZE * 0.5, SIZE * 0.9)];
    const { id } = await system.submit([{ documentId: "long", content }]);
    for (const place of places) {
      const isCommitted = random.between(0, 1) === 1;
      const gate = await system.gate({
        table: "staged_parts",
        on: "update",
        at: isCommitted ? "commit" : "row",
        when: `new.position >= ${place}`,
      });
      const worker = await system.worker();
      await gate.reached(WITHIN_MS);
      const before = await position();
      await worker.send("SIGKILL");
      await gate.open();
      await system.eventually("its session has ended", noWorkerSession);
      const after = await position();
      expect(after >= place).toBe(isCommitted);
      if (!isCommitted) expect(after).toBe(before);
    }
    const stoppedAt = await position();
    expect(stoppedAt).toBeGreaterThan(SIZE * 0.3);
    const first = await system.gate({ table: "staged_parts", on: "update" });
    await system.worker();
    await first.reached(WITHIN_MS);
    expect(await position()).toBe(stoppedAt);
    await first.open();

    const { state, result } = await system.ended(id, WITHIN_MS);
    expect({ state, result }).toEqual({ state: "completed", result: { succeeded: 1 } });
    const { items } = await system.holdfast.operation.items(id);
    expect(items).toMatchObject([{ outcome: "succeeded", attempts: 0 }]);
    const { rows } = await system.db.query(
      "select size from holdfast.document_parts where operation_id = $1",
      [id],
    );
    expect(rows).toEqual([{ size: SIZE }]);
    await system.sound();
  },
  1_200_000,
);

/** Real prose over and over, with a character outside the basic plane on every page. */
function longProse(size: number): string {
  const text = prose();
  const pages = Array.from({ length: size / PAGE }, (_, page) => {
    const from = (page * PAGE) % (text.length - PAGE);
    return `🦀${text.slice(from, from + PAGE - 1)}`;
  });
  return pages.join("");
}

/** Characters of the item that stand written. */
async function position(): Promise<number> {
  const { rows } = await system.db.query<{ position: number }>(
    "select position from holdfast.staged_parts",
  );
  return rows[0]?.position ?? 0;
}

async function noWorkerSession(): Promise<boolean> {
  const { rowCount } = await system.db.query(
    "select from pg_stat_activity where application_name like 'holdfast-worker%'",
  );
  return rowCount === 0;
}
