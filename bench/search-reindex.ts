import { setTimeout as sleep } from "node:timers/promises";
import { openDb } from "../db/pool.ts";
import { median, ratio } from "./figures.ts";
import type { Frame } from "./frame.ts";
import { inTurn, timed } from "./in-turn.ts";
import type { Scene } from "./scene.ts";
import { countDifferent, createRival, insertAll } from "./search-by-hand.ts";
import { marksGone } from "./search-lag.ts";
import {
  deviceOf,
  devices,
  insertStaged,
  renameDevice,
  ROWS_OF_ONE,
  stage,
} from "./search-objects.ts";

/** Numbers of devices that are there all the while, above those of other measures. */
const FROM = 20_000_000;
/** Of these, whose name never changes. */
const STEADY = 50;

/** All rows built anew by an operation, beside one statement; and what a reader misses meanwhile. */
export async function measureReindex(frame: Frame, scene: Scene): Promise<void> {
  const { holdfast } = scene;
  const { db } = holdfast;
  const count = frame.quick ? 5_000 : 40_000;
  await db.query("truncate captured.devices");
  await stage(db, devices(FROM, count));
  await insertStaged(db, "captured");
  await marksGone(db);
  await createRival(db);
  await insertAll(db, "captured");

  const reindex = async () => {
    const { id } = await holdfast.search.reindex({ schemas: ["captured"] });
    await scene.completed(id);
  };
  const perSecond = (ms: number) => (count * ROWS_OF_ONE * 1_000) / ms;
  const seen = await inTurn(frame.quick ? 1 : 3, {
    ours: async () => {
      const rate = perSecond(await timed(reindex));
      await oldRowsGone(scene);
      return rate;
    },
    byHand: async (round) => {
      // Beside the rows that are there, as ours.
      const rate = perSecond(await timed(() => insertAll(db, "captured", round + 1)));
      await db.query("delete from rival.index_rows where generation = $1", [round]);
      await db.query("vacuum analyze rival.index_rows");
      return rate;
    },
  });
  const what = `${count.toLocaleString("en")} objects`;
  frame.measure(`reindex of ${what}`, median(seen.ours), "rows/s");
  frame.measure("insert ... select, the same rows", median(seen.byHand), "rows/s");
  frame.measure("reindex, of insert ... select", 100 * ratio(seen.ours, seen.byHand), "%", {
    atLeast: 50,
  });
  await measureGap(frame, scene, reindex);
  const wrong = await countDifferent(db, "captured");
  if (wrong > 0) throw new Error(`${wrong} rows differ from those by hand`);
}

/** Deletes what upkeep would delete bit by bit, so that no round works for the one before it. */
async function oldRowsGone({ holdfast: { db } }: Scene): Promise<void> {
  await db.query(
    `delete from holdfast.index_rows r using holdfast.search_indexes i
      where i.id = r.index_id and r.generation <> i.generation`,
  );
  await db.query("vacuum analyze holdfast.index_rows");
}

/** A reader asks for what is there all the while, and a writer changes everything else. */
async function measureGap(
  frame: Frame,
  { databaseUrl, holdfast }: Scene,
  reindex: () => Promise<void>,
): Promise<void> {
  const writing = openDb({ url: databaseUrl, size: 1, name: "bench-writer" });
  frame.atEnd(() => writing.close());
  let over = false;
  let asked = 0;
  let missingMs = 0;
  const reading = async () => {
    for (let lastAt = performance.now(); !over; asked++) {
      const { id, name } = deviceOf(FROM + (asked % STEADY));
      const { items } = await holdfast.search.query({ text: name, lookup: "exact" });
      const now = performance.now();
      if (!items.some(({ key }) => key === String(id))) missingMs += now - lastAt;
      lastAt = now;
    }
  };
  const changing = async () => {
    for (let no = 0; !over; no++) {
      const id = FROM + STEADY + (no % 1_000);
      await renameDevice(writing, "captured", { id, name: `renamed ${no}` });
      // The steady ones are written as well: other values of theirs are replaced all the time.
      await writing.query("update captured.devices set comments = $2 where id = $1", [
        FROM + (no % STEADY),
        `a comment on change ${no}`,
      ]);
      await sleep(2);
    }
  };
  const during = Promise.all([reading(), changing()]);
  try {
    await reindex();
  } finally {
    over = true;
  }
  await during;
  await marksGone(holdfast.db);
  frame.measure("asked while it is built and swapped, and written to", asked, "queries");
  frame.measure("seconds with missing results", missingMs / 1_000, "s", { exactly: 0 });
}
