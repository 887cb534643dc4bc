import fc from "fast-check";
import type pg from "pg";
import { expect, test } from "vitest";
import { sweepBuilds } from "../../db/index-sweep.ts";
import type { Fresh } from "../support/fresh.ts";
import { connectedTo, estate, reindexed } from "../support/estate-at-work.ts";
import { draining, type Draining } from "../support/draining.ts";
import { ESTATE, ESTATE_SCHEMAS, estateSql, RIGHT, scoreOf } from "../support/estate.ts";
import { runProgram, writePrograms } from "../support/write-program.ts";

/** More of them with HOLDFAST_PROGRAMS; a failure tells its seed, which HOLDFAST_PROGRAM_SEED takes. */
const PROGRAMS = Number(process.env["HOLDFAST_PROGRAMS"] ?? 12);
const SEED = process.env["HOLDFAST_PROGRAM_SEED"];
const settings = { numRuns: PROGRAMS, ...(SEED && { seed: Number(SEED) }) };
const CONNECTIONS = 16;
const WITHIN_MS = 30_000 + PROGRAMS * 4_000;

test(
  "whatever is done in transactions on one connection, the index ends as a rebuild would make it",
  async () => {
    const made = await estate();
    const app = await connectedTo(made);
    const drains = draining({ db: made.db, config: ESTATE });
    await fc.assert(
      fc.asyncProperty(writePrograms(40), async (program) => {
        await refilled(made, app, drains);
        await runProgram(app, program);
        await drains.settled();
        expect(await scoreOf(made.db)).toEqual(RIGHT);
      }),
      { ...settings, interruptAfterTimeLimit: WITHIN_MS - 20_000 },
    );
  },
  WITHIN_MS,
);

test(
  "whatever is done on sixteen connections while all is reindexed, nothing is stale, orphaned or twice",
  async () => {
    const made = await estate();
    const apps = await Promise.all(Array.from({ length: CONNECTIONS }, () => connectedTo(made)));
    const drains = draining({ db: made.db, config: ESTATE });
    const all = fc.array(writePrograms(60), {
      minLength: CONNECTIONS,
      maxLength: CONNECTIONS,
      size: "max",
    });
    let statements = 0;
    await fc.assert(
      fc.asyncProperty(all, async (programs) => {
        await refilled(made, apps[0]!, drains);
        const running = Promise.all(programs.map((program, no) => runProgram(apps[no]!, program)));
        await reindexed(made, {});
        await sweepBuilds(made.db);
        statements += (await running).reduce((sum, n) => sum + n, 0);
        await drains.settled();
        expect(await scoreOf(made.db)).toEqual(RIGHT);
      }),
      // Which of them wins is chance: a smaller program that fails would prove nothing.
      {
        ...settings,
        numRuns: Math.ceil(PROGRAMS / 8),
        endOnFailure: true,
        interruptAfterTimeLimit: WITHIN_MS - 20_000,
      },
    );
    expect(statements).toBeGreaterThan(CONNECTIONS);
  },
  WITHIN_MS,
);

/** The same beginning for every program. */
async function refilled({ db }: Fresh, app: pg.Client, drains: Draining): Promise<void> {
  const tables = ESTATE_SCHEMAS.flatMap((schema) =>
    ["notes", "addresses", "devices", "sites"].map((table) => `delete from ${schema}.${table}`),
  );
  await app.query(`begin; ${tables.join(";")}; ${estateSql(3, 2)}; commit`);
  await drains.settled();
  expect(await scoreOf(db)).toEqual(RIGHT);
}
