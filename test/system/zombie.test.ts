import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { longRounds, rounds } from "../support/rounds.ts";
import { letters } from "../support/letters.ts";
import { startSystem, type System } from "../support/system.ts";

/** A worker whose heartbeat is missing this long has lost its page. */
const HEARTBEAT_MS = 6_000;

let system: System;
beforeAll(async () => (system = await startSystem()));
afterEach(() => system.tidy());
afterAll(() => system.stop());

// A stopped worker keeps its polls open, and what Temporal hands to them comes back only when its own
// time is over: these take a minute.
longRounds(
  "a worker that slept past its heartbeat wakes up and changes nothing",
  async (random) => {
    const sleeper = await system.worker();
    const { id } = await submitSlow(40);
    await inFlight(id);
    await sleep(random.between(0, 500));
    await sleeper.send("SIGSTOP");
    await system.worker();
    expect(await system.ended(id)).toMatchObject({ state: "completed", result: { succeeded: 40 } });
    const before = await ledger(id);

    await sleeper.send("SIGCONT");
    await quiet();
    expect(await ledger(id)).toEqual(before);
    await system.sound();
  },
);

rounds("a worker stopped inside its commit holds the page, and nobody does it twice", async () => {
  const gate = await system.gate({ table: "outcomes" });
  const sleeper = await system.worker();
  const { id } = await system.submit(letters(40));
  await gate.reached();
  await sleeper.send("SIGSTOP");
  await gate.open();
  await system.worker();
  await sleep(HEARTBEAT_MS + 1_000);
  await sleeper.send("SIGCONT");
  expect(await system.ended(id)).toMatchObject({ state: "completed", result: { succeeded: 40 } });
  await quiet();
  await system.sound();
});

longRounds("a worker stopped past a cancel writes nothing when it goes on", async (random) => {
  const sleeper = await system.worker();
  const { id } = await submitSlow(40);
  await inFlight(id);
  await sleep(random.between(0, 500));
  await sleeper.send("SIGSTOP");
  await system.holdfast.operation.cancel(id);
  await system.worker();
  expect(await system.ended(id)).toMatchObject({ state: "cancelled" });
  const before = await ledger(id);

  await sleeper.send("SIGCONT");
  await quiet();
  expect(await ledger(id)).toEqual(before);
  await system.sound();
});

function submitSlow(items: number) {
  return system.submit(letters(items, "[[sleep 1000]]"));
}

function inFlight(id: string): Promise<void> {
  return system.eventually("a page is in flight", async () => {
    const { rowCount } = await system.db.query(
      "select from holdfast.flights where operation_id = $1",
      [id],
    );
    return rowCount! > 0;
  });
}

/** Time for the zombie to say what it still has to say, and for Postgres to have answered it. */
async function quiet(): Promise<void> {
  await sleep(4_000);
  await system.eventually("no transaction is open", async () => {
    const { rowCount } = await system.db.query(
      `select from pg_stat_activity
        where application_name like 'holdfast-%' and xact_start is not null`,
    );
    return rowCount === 0;
  });
}

async function ledger(id: string): Promise<unknown[]> {
  const { rows } = await system.db.query(
    `select o.*, p.written_at from holdfast.outcomes o
       join holdfast.items i on i.operation_id = o.operation_id and i.no = o.item_no
       left join holdfast.document_parts p on p.seq = i.seq
      where o.operation_id = $1 order by item_no`,
    [id],
  );
  return rows;
}
