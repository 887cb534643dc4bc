import { connect } from "../client/index.ts";
import { median, ratio } from "./figures.ts";
import type { Frame } from "./frame.ts";
import { inTurn, timed } from "./in-turn.ts";
import { countDifferent, createRival, insertAll, replaceRows } from "./search-by-hand.ts";
import {
  createDevices,
  devices,
  insertStaged,
  ROWS_OF_ONE,
  SEARCH,
  stage,
  updateStaged,
} from "./search-objects.ts";

/** Marks of changed devices applied over one connection, beside one transaction that replaces their rows. */
export async function measureDrain(frame: Frame): Promise<void> {
  const databaseUrl = await frame.database(await frame.postgres());
  const holdfast = connect({ databaseUrl, poolSize: 1, config: { search: SEARCH } });
  frame.atEnd(() => holdfast.close());
  const { db } = holdfast;
  const count = frame.quick ? 2_000 : 20_000;
  const ids = Array.from({ length: count }, (_, index) => index + 1);

  await createDevices(db, "captured");
  await holdfast.search.install({ schemas: ["captured"] });
  await createRival(db);
  await stage(db, devices(1, count));
  await insertStaged(db, "captured");
  await holdfast.search.drainOnce();
  await insertAll(db, "captured");

  let edition = 0;
  // Both bring the same change to their rows, each after the table was changed anew.
  const afterAChange = (apply: () => Promise<unknown>) => async () => {
    await stage(db, devices(1, count, ++edition));
    await updateStaged(db, "captured");
    const tookMs = await timed(apply);
    await holdfast.search.drainOnce();
    await db.query("vacuum analyze holdfast.index_rows");
    await db.query("vacuum analyze rival.index_rows");
    return (count * ROWS_OF_ONE * 1_000) / tookMs;
  };
  const seen = await inTurn(frame.quick ? 1 : 3, {
    ours: afterAChange(() => holdfast.search.drainOnce()),
    byHand: afterAChange(() => replaceRows(db, "captured", ids)),
  });
  const wrong = await countDifferent(db, "captured");
  if (wrong > 0) throw new Error(`not the same rows: ${wrong} differ from those by hand`);
  const what = `${count.toLocaleString("en")} changed objects`;
  frame.measure(`drain, ${what}`, median(seen.ours), "rows/s");
  frame.measure("delete and insert by hand, the same rows", median(seen.byHand), "rows/s");
  frame.measure("drain, of the one by hand", 100 * ratio(seen.ours, seen.byHand), "%", {
    atLeast: 60,
  });
  await frame.close();
}
