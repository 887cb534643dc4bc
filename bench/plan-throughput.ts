import type { Db } from "../db/pool.ts";
import { median, ratio } from "./figures.ts";
import type { Frame } from "./frame.ts";
import { inTurn, timed } from "./in-turn.ts";
import { feed } from "./inventory-feed.ts";
import { applyByHand, createRivalInventory } from "./plan-by-hand.ts";
import { APPLY_ALL, applyAll, counting, planDatabase, take } from "./plan-scene.ts";

/** Of the path entity by entity so many are measured: the rest would be the same. */
const ONE_BY_ONE = 1_000;

/** A new network, from the inbox into the inventory. */
export async function measureThroughput(frame: Frame): Promise<void> {
  const { db } = await planDatabase(frame);
  await createRivalInventory(db);
  const size = frame.quick ? 5_000 : 50_000;
  const entities = feed(size);
  const few = entities.slice(0, Math.min(ONE_BY_ONE, size / 5));

  const ours = async (round: number) => {
    const tenant = `ours-${round}`;
    await take(db, tenant, entities);
    await settled(db);
    const ms = await timed(() => applyAll(db, tenant, APPLY_ALL));
    return (size * 1_000) / ms;
  };
  const oneByOne = async (round: number) => {
    const tenant = `one-by-one-${round}`;
    await take(db, tenant, few);
    const ms = await timed(() => applyAll(db, tenant, { ...APPLY_ALL, limit: 1 }));
    return (few.length * 1_000) / ms;
  };
  const byHand = async (round: number) => {
    const tenant = `by-hand-${round}`;
    await take(db, tenant, entities);
    await db.query(
      "with e as (delete from holdfast.entities where tenant = $1 returning *) insert into rival.entities select * from e",
      [tenant],
    );
    await settled(db);
    const ms = await timed(() => applyByHand(db, tenant));
    return (size * 1_000) / ms;
  };
  const seen = await inTurn(frame.quick ? 1 : 3, { ours, byHand, oneByOne });
  await compare(db);

  const what = `${size.toLocaleString("en")} entities`;
  frame.measure(`plan and apply, ${what}`, median(seen.ours), "entities/s");
  frame.measure("entity by entity, a transaction each", median(seen.oneByOne), "entities/s");
  frame.measure("set-based SQL by hand, the same change", median(seen.byHand), "entities/s");
  frame.measure("of the path entity by entity", ratio(seen.ours, seen.oneByOne), "x", {
    atLeast: 20,
  });
  frame.measure("of the SQL by hand", 100 * ratio(seen.ours, seen.byHand), "%", { atLeast: 40 });
  await measureWaste(frame, db, size);
  await frame.close();
}

/** What one entity costs, beside time. */
async function measureWaste(frame: Frame, db: Db, size: number): Promise<void> {
  const entities = feed(size);
  const wal = async () => {
    const { rows } = await db.query<{ at: string }>("select pg_current_wal_lsn() - '0/0' as at");
    return Number(rows[0]!.at);
  };
  const start = await wal();
  await take(db, "waste", entities);
  const taken = await wal();
  const { db: counted, seen } = counting(db);
  await applyAll(counted, "waste", APPLY_ALL);
  const applied = await wal();
  frame.measure("statements per 1,000 entities", (1_000 * seen.statements) / size, "statements");
  frame.measure("WAL of an entity taken in", (taken - start) / size, "bytes");
  frame.measure("WAL of an entity planned and applied", (applied - taken) / size, "bytes");
}

/** Rivals start alike: what was written before is on disk, and the planner of Postgres knows of it. */
async function settled(db: Db): Promise<void> {
  await db.query("analyze holdfast.entities");
  await db.query("analyze rival.entities");
  await db.query("checkpoint");
}

/** The rival wrote the same: objects, names, references, journal and change sets. */
async function compare(db: Db): Promise<void> {
  const { rows } = await db.query<{ ours: string; theirs: string }>(
    `select (select string_agg(line, ' ' order by line) from (${sums("holdfast", "ours-1")}) o) as ours,
            (select string_agg(line, ' ' order by line) from (${sums("rival", "by-hand-1")}) t) as theirs`,
  );
  const { ours, theirs } = rows[0]!;
  if (ours !== theirs) throw new Error(`not the same change: ${ours}, by hand ${theirs}`);
}

function sums(schema: string, tenant: string): string {
  const objects = `select id from ${schema}.objects where tenant = '${tenant}'`;
  const entities = `select id from ${schema}.entities where tenant = '${tenant}' and state = 3`;
  return `
    select type || ' ' || count(*) as line from ${schema}.objects where tenant = '${tenant}' group by type
    union all select 'names ' || count(*) from ${schema}.object_keys where tenant = '${tenant}'
    union all select 'references ' || count(*) from ${schema}.object_refs where from_object in (${objects})
    union all select 'journal ' || count(*) from ${schema}.object_journal where object in (${objects})
    union all select 'changes ' || sum(jsonb_array_length(changes)) from ${schema}.change_sets
               where entity in (${entities})
    union all select 'summed ' || sum(creates) || ' ' || sum(updates) || ' ' || sum(deletes)
               from ${schema}.change_sets where entity in (${entities})
    union all select 'created ' || count(*) from ${schema}.change_sets, jsonb_array_elements(changes) c
               where entity in (${entities}) and c ->> 'kind' = 'create'`;
}
