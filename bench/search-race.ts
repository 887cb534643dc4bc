import { openDb } from "../db/pool.ts";
import type { Frame } from "./frame.ts";
import type { Scene } from "./scene.ts";
import { countDifferent } from "./search-by-hand.ts";
import { marksGone } from "./search-lag.ts";
import { deviceOf } from "./search-objects.ts";

const CONNECTIONS = 16;
const OBJECTS = 2_000;
/** What is asked for, and the time it may take. */
const OPERATIONS = 1_000_000;
const LONGEST_MS = 300_000;
const SCHEMAS = ["captured", "branch"];
const DEADLOCK = "40P01";
const DUPLICATE = "23505";

/**
 * Sixteen connections insert, update and delete the same objects of two schemas, in transactions with
 * savepoints of which some are undone, while the drain and reindexes run; then all marks are applied,
 * and the index is compared with what an independent statement makes of the committed rows.
 */
export async function measureRace(frame: Frame, scene: Scene): Promise<void> {
  const { databaseUrl, holdfast } = scene;
  const racing = openDb({ url: databaseUrl, size: CONNECTIONS, name: "bench-writer" });
  frame.atEnd(() => racing.close());
  for (const schema of SCHEMAS) await holdfast.db.query(`truncate ${schema}.devices`);
  const endsAt = performance.now() + (frame.quick ? 4_000 : LONGEST_MS);
  let operations = 0;
  const goesOn = () => performance.now() < endsAt && operations < OPERATIONS;
  const racers = Array.from({ length: CONNECTIONS }, async (_, no) => {
    const random = randomFrom(no + 1);
    while (goesOn()) {
      const { sql, count } = transaction(random);
      try {
        // One round trip: what counts is how much happens at once, not how long it travels.
        await racing.query(sql);
        operations += count;
      } catch (error) {
        const { code } = error as { code?: string };
        if (code !== DEADLOCK && code !== DUPLICATE) throw error;
      }
    }
  });
  const reindexes = (async () => {
    let n = 0;
    for (; goesOn(); n++) {
      const { id } = await holdfast.search.reindex();
      await scene.completed(id);
    }
    return n;
  })();
  await Promise.all(racers);
  frame.measure("reindexes during the race", await reindexes, "reindexes");
  await marksGone(holdfast.db);
  let wrong = 0;
  for (const schema of SCHEMAS) wrong += await countDifferent(holdfast.db, schema);
  frame.measure("racing operations (rows written, some undone again)", operations, "operations");
  frame.measure("stale, orphan, missing and duplicate rows after them", wrong, "rows", {
    exactly: 0,
  });
}

/** A transaction of 3 to 12 statements, as one text. */
function transaction(random: () => number): { sql: string; count: number } {
  const schema = SCHEMAS[below(random, SCHEMAS.length)]!;
  const statements: string[] = [];
  let count = 0;
  let savepoints = 0;
  for (let left = 3 + below(random, 10); left > 0; left--) {
    const dice = random();
    if (dice < 0.12) statements.push(`savepoint s${++savepoints}`);
    else if (dice < 0.2 && savepoints > 0) statements.push(`rollback to s${savepoints--}`);
    else if (dice < 0.25 && savepoints > 0) statements.push(`release s${savepoints--}`);
    else {
      const { sql, rows } = write(random, schema);
      statements.push(sql);
      count += rows;
    }
  }
  const end = random() < 0.1 ? "rollback" : "commit";
  return { sql: ["begin", ...statements, end].join("; "), count };
}

function write(random: () => number, schema: string): { sql: string; rows: number } {
  const id = 1 + below(random, OBJECTS);
  const device = deviceOf(id, below(random, 1_000));
  const dice = random();
  if (dice < 0.35) {
    const { tenant, name, serial, site, address, comments } = device;
    return {
      sql: `insert into ${schema}.devices (id, tenant, name, serial, site, address, comments)
            values (${id}, '${tenant}', '${name}', '${serial}', ${site}, '${address}',
                    '${comments.replaceAll("'", "''")}')
            on conflict (id) do update set name = excluded.name, serial = excluded.serial,
              address = excluded.address`,
      rows: 1,
    };
  }
  if (dice < 0.7) {
    return {
      sql: `update ${schema}.devices set name = '${device.name}' where id = ${id}`,
      rows: 1,
    };
  }
  if (dice < 0.9) return { sql: `delete from ${schema}.devices where id = ${id}`, rows: 1 };
  const rows = 20;
  return {
    sql: `update ${schema}.devices set name = name || '!', comments = left(comments, 100) || ' again'
           where id between ${id} and ${id + rows - 1}`,
    rows,
  };
}

const below = (random: () => number, bound: number) => Math.floor(random() * bound);

/** The same numbers in every run (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
