import { expect, test } from "vitest";
import type { Db } from "../../db/pool.ts";
import { fault, statementsOf, watched } from "./failing.ts";
import { snapshotOf } from "./snapshot.ts";

/**
 * The questions asked of every activity: does running it twice change nothing more, and does all end
 * well when each of its statements in turn fails?
 */
export interface ActivityCase {
  name: string;
  /** A database of its own, as it stands before the activity runs. */
  arrange(): Promise<{ db: Db; run: (db: Db) => Promise<unknown> }>;
  /** What must be the same in the end, however it came about. */
  essence(db: Db): Promise<unknown>;
}

/** Rows a repeat may add to or touch: they are told, not believed. */
const TOLD = ["logs", "drains", "workers"];

/** A second run, as after a lost answer, leaves every table as the first left it. */
export function everyActivityRepeats(cases: readonly ActivityCase[]): void {
  test.each(cases)("$name: run twice, it changes nothing the second time", async ({ arrange }) => {
    const { db, run } = await arrange();
    await run(db);
    const before = await snapshotOf(db, { but: TOLD });
    await run(db);
    expect(await snapshotOf(db, { but: TOLD })).toEqual(before);
  });
}

/**
 * Fails statement 1, 2, ... n with a lost connection, and once after it was done, as when only its
 * answer is lost. The activity runs again, and in the end all is as if nothing had happened.
 */
export function everyStepMayFail(cases: readonly ActivityCase[]): void {
  test.each(cases)(
    "$name: whichever statement fails, the next run brings it to the same end",
    async ({ arrange, essence }) => {
      const clean = await arrange();
      const statements = await statementsOf(clean.db, clean.run);
      const expected = await essence(clean.db);
      for (let failing = 1; failing <= statements.length; failing++) {
        const { db, run } = await arrange();
        const faulty = watched(db, (statement) => {
          if (statement === failing) throw fault("08006");
        });
        await run(faulty).catch((error: unknown) => {
          expect(error, `statement ${failing}: ${statements[failing - 1]}`).toMatchObject({
            code: "08006",
          });
        });
        expect(await openTransactions(db), `after statement ${failing}`).toBe(0);
        await run(db);
        expect(await essence(db), `statement ${failing}: ${statements[failing - 1]}`).toEqual(
          expected,
        );
      }
    },
    180_000,
  );
}

async function openTransactions(db: Db): Promise<number> {
  const { rows } = await db.query<{ n: number }>(
    `select count(*)::int as n from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid()
        and (state like 'idle in transaction%'
             or pid in (select pid from pg_locks where locktype = 'advisory'))`,
  );
  return rows[0]!.n;
}
