import { connect } from "../client/index.ts";
import { median, percentile, ratio } from "./figures.ts";
import type { Frame } from "./frame.ts";
import { inTurn, timed } from "./in-turn.ts";
import { createRival, indexInTransaction } from "./search-by-hand.ts";
import {
  createDevices,
  deviceOf,
  devices,
  insertDevice,
  insertStaged,
  renameDevice,
  SEARCH,
  stage,
  updateStaged,
} from "./search-objects.ts";

const SCHEMAS = ["plain", "captured", "synchronous"] as const;
type Schema = (typeof SCHEMAS)[number];
const BULK = 10_000;

/** What a writer pays, beside one whose table nobody follows and one that indexes in its own transaction. */
export async function measureCapture(frame: Frame): Promise<void> {
  const databaseUrl = await frame.database(await frame.postgres());
  const holdfast = connect({ databaseUrl, poolSize: 1, config: { search: SEARCH } });
  frame.atEnd(() => holdfast.close());
  const { db } = holdfast;
  await createDevices(db, ...SCHEMAS);
  await holdfast.search.install({ schemas: ["captured"] });
  await createRival(db);
  await indexInTransaction(db, "synchronous");

  const rivals = (write: (schema: Schema, round: number) => Promise<unknown>) => {
    const each = (schema: Schema) => (round: number) => timed(() => write(schema, round));
    return {
      plain: each("plain"),
      captured: each("captured"),
      synchronous: each("synchronous"),
    };
  };
  const rounds = frame.quick ? 30 : 500;
  const inserts = await inTurn(
    rounds,
    rivals((schema, round) => insertDevice(db, schema, deviceOf(round))),
  );
  const updates = await inTurn(
    rounds,
    rivals((schema, round) =>
      renameDevice(db, schema, { id: (round * 7) % rounds, name: `renamed ${round}` }),
    ),
  );
  for (const [what, seen] of [
    ["a row inserted", inserts],
    ["a row updated", updates],
  ] as const) {
    const p50 = percentile(seen.plain, 50);
    const more = (values: number[]) => 100 * (percentile(values, 50) / p50 - 1);
    frame.measure(`${what} and committed, p50, not indexed`, p50, "ms");
    frame.measure(`${what}, p50, capture adds`, more(seen.captured), "%", { atMost: 20 });
    frame.measure(`${what}, p50, indexing in the transaction adds`, more(seen.synchronous), "%");
  }

  await stage(db, devices(1, BULK));
  const cleared = (write: (schema: Schema) => Promise<unknown>) => {
    const each = (schema: Schema) => async () => {
      await db.query(
        `truncate ${schema}.devices; truncate holdfast.index_marks; truncate rival.index_rows`,
      );
      return timed(() => write(schema));
    };
    return {
      plain: each("plain"),
      captured: each("captured"),
      synchronous: each("synchronous"),
    };
  };
  const bulk = await inTurn(
    frame.quick ? 2 : 9,
    cleared((schema) => insertStaged(db, schema)),
  );
  await db.query(SCHEMAS.map((schema) => `truncate ${schema}.devices`).join("; "));
  await db.query("truncate rival.index_rows");
  for (const schema of SCHEMAS) await insertStaged(db, schema);
  const edition = (round: number) => stage(db, devices(1, BULK, round + 1));
  const changed = (schema: Schema) => async (round: number) => {
    await edition(round);
    await db.query("truncate holdfast.index_marks");
    return timed(() => updateStaged(db, schema));
  };
  const bulkUpdate = await inTurn(frame.quick ? 1 : 3, {
    plain: changed("plain"),
    captured: changed("captured"),
    synchronous: changed("synchronous"),
  });
  const rows = `${BULK.toLocaleString("en")} rows, four indexes`;
  for (const [what, seen, bar] of [
    [`${rows}, inserted`, bulk, { atMost: 25 }],
    [`${rows}, updated`, bulkUpdate, undefined],
  ] as const) {
    const more = (values: number[]) => 100 * (ratio(values, seen.plain) - 1);
    frame.measure(`${what}, not indexed`, median(seen.plain), "ms");
    frame.measure(`${what}, capture adds`, more(seen.captured), "%", bar);
    frame.measure(`${what}, indexing in the transaction adds`, more(seen.synchronous), "%");
  }
  await frame.close();
}
