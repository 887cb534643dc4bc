import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import type { OperationView } from "../../contracts/operation.ts";
import { Conflict } from "../../contracts/errors.ts";
import type { Random } from "../support/rounds.ts";
import { rounds } from "../support/rounds.ts";
import { letters } from "../support/letters.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeAll(async () => (system = await startSystem()));
afterEach(() => system.tidy());
afterAll(() => system.stop());

rounds("a cancel that races with the end is one of the two, whole", async (random) => {
  await system.worker();
  const batches = await Promise.all(Array.from({ length: 20 }, () => system.submit(letters(20))));
  await Promise.all(batches.map(({ id }) => cancelSomeTime(id, random)));
  for (const { id } of batches) {
    const { state, result } = await system.ended(id);
    const { succeeded = 0, cancelled = 0 } = result as Record<string, number>;
    expect(succeeded + cancelled).toBe(20);
    expect(state).toBe(cancelled > 0 ? "cancelled" : "completed");
  }
  await system.sound();
});

rounds("a bank erased while its batch commits keeps nothing of it", async (random) => {
  const gate = await system.gate({ table: random.pick(["outcomes", "chunks", "facts"]) });
  await system.worker();
  const bank = `erased-${random.seed}`;
  const { id } = await system.holdfast.retain.submit({ bank, items: letters(40) });
  await gate.reached();
  const erasing = system.holdfast.bank.erase(bank);
  await system.eventually("the erase waits for the commit", async () => {
    const { rowCount } = await system.db.query(
      "select from pg_stat_activity where wait_event = 'advisory' and application_name = 'holdfast-client'",
    );
    return rowCount! > 0;
  });
  await gate.open();
  await erasing;
  await system.eventually("nothing of the bank is left", async () => {
    const { rows } = await system.db.query(
      `select from holdfast.operations where id = $1
        union all
       select from holdfast.document_parts p
         join holdfast.banks b on b.id = p.bank_id where b.name = $2
        union all
       select from holdfast.facts f
         join holdfast.banks b on b.id = f.bank_id where b.name = $2`,
      [id, bank],
    );
    return rows.length === 0;
  });
  await system.sound();
});

rounds("what is submitted many times at once is one batch", async (random) => {
  const key = `twice-${random.seed}`;
  const submit = () => system.holdfast.retain.submit({ bank: key, key, items: letters(30) });
  const answers = await Promise.all(Array.from({ length: random.between(2, 12) }, submit));
  expect(new Set(answers.map(({ id }) => id)).size).toBe(1);
  expect(answers.filter(({ existing }) => !existing)).toHaveLength(1);
  await system.worker();
  await system.ended(answers[0]!.id);
  await system.sound();
});

async function cancelSomeTime(id: string, random: Random): Promise<OperationView | undefined> {
  await sleep(random.between(0, 1_500));
  try {
    return await system.holdfast.operation.cancel(id);
  } catch (error) {
    if (error instanceof Conflict) return undefined; // it had ended
    throw error;
  }
}
