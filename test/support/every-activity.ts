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
  test.each(named(cases))(
    "%s run twice changes nothing the second time",
    async (_, { arrange }) => {
      const { db, run } = await arrange();
      await run(db);
      const before = await snapshotOf(db, { but: TOLD });
      await run(db);
      expect(await snapshotOf(db, { but: TOLD })).toEqual(before);
    },
  );
}

/**
 * Loses the connection at statement 1, 2, ... n: before it is done, and where that makes a difference
 * also after, when only its answer is lost. The activity runs again, and in the end all is as if
 * nothing had happened.
 */
export function everyStepMayFail(cases: readonly ActivityCase[]): void {
  test.each(named(cases))(
    "%s comes to the same end whichever of its statements fails",
    async (_, { arrange, essence }) => {
      const clean = await arrange();
      const statements = await statementsOf(clean.db, clean.run);
      const expected = await essence(clean.db);
      for (const [index, text] of statements.entries()) {
        for (const when of ["before", "after"] as const) {
          const step = `${when} statement ${index + 1}: ${text}`;
          const { db, run } = await arrange();
          if (await failsAt(db, run, index + 1, when)) {
            expect(await openTransactions(db), step).toBe(0);
            await run(db);
            expect(await essence(db), step).toEqual(expected);
          }
          // A database a step: their connections together would be more than the server has.
          await db.close();
        }
      }
    },
    300_000,
  );
}

function named(cases: readonly ActivityCase[]): [string, ActivityCase][] {
  return cases.map((one) => [one.name, one]);
}

/** False: the fault changes nothing there that the other kind of fault does not. */
async function failsAt(
  db: Db,
  run: (db: Db) => Promise<unknown>,
  step: number,
  when: "before" | "after",
): Promise<boolean> {
  let failed = false;
  const fail = (statement: number) => {
    if (statement !== step) return;
    failed = true;
    throw fault("08006");
  };
  const quiet = () => undefined;
  const faulty = when === "before" ? watched(db, fail) : watched(db, quiet, fail);
  await run(faulty).catch((error: unknown) => expect(error).toMatchObject({ code: "08006" }));
  return failed;
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
