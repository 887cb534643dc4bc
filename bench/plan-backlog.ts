import { claimEntities } from "../db/plan-claim.ts";
import { planAndApply } from "../db/plan-apply.ts";
import type { Db } from "../db/pool.ts";
import { median } from "./figures.ts";
import type { Frame } from "./frame.ts";
import { inTurn, timed } from "./in-turn.ts";
import { NETWORK } from "./inventory-feed.ts";
import { APPLY_ALL, placeOf, planDatabase } from "./plan-scene.ts";

const BATCH = 1_000;
const ROUNDS = 7;

/** One batch out of a short queue and out of long ones, with a million that are done beside them. */
export async function measureBacklog(frame: Frame): Promise<void> {
  const { db } = await planDatabase(frame);
  const depths = frame.quick ? [2_000, 20_000] : [10_000, 100_000, 1_000_000];
  const done = frame.quick ? 20_000 : 1_000_000;
  const tenants = depths.map((depth) => `q${depth}`);
  for (const [at, tenant] of tenants.entries()) {
    await fill(db, tenant, Math.round(done / depths.length), true);
    await fill(db, tenant, depths[at]!, false);
  }
  await db.query("vacuum analyze holdfast.entities");

  const rounds = frame.quick ? 1 : ROUNDS;
  const claim = await inTurn(
    rounds,
    each(tenants, (tenant) =>
      timed(() => db.transaction((tx) => claimEntities(tx, placeOf(tenant), BATCH))),
    ),
  );
  const batch = await inTurn(
    rounds,
    each(tenants, (tenant) =>
      timed(() => planAndApply(db, NETWORK, placeOf(tenant), { ...APPLY_ALL, limit: BATCH })),
    ),
  );
  for (const [what, seen] of Object.entries({ "claim of 1,000": claim, "batch of 1,000": batch })) {
    const ms = tenants.map((tenant) => median(seen[tenant]!));
    for (const [at, depth] of depths.entries()) {
      frame.measure(`${what}, ${depth.toLocaleString("en")} queued`, ms[at]!, "ms");
    }
    frame.measure(`${what}, the longest queue, of the shortest`, ms.at(-1)! / ms[0]!, "x", {
      atMost: 2,
    });
  }
  await frame.close();
}

function each(tenants: readonly string[], measure: (tenant: string) => Promise<number>) {
  return Object.fromEntries(tenants.map((tenant) => [tenant, () => measure(tenant)]));
}

/** Entities as the inbox writes them, without their way through it. */
async function fill(db: Db, tenant: string, count: number, ended: boolean): Promise<void> {
  for (let from = 0; from < count; from += 100_000) {
    await db.transaction(
      (tx) =>
        tx.query(
          `insert into holdfast.entities
             (id, tenant, branch, request, type, identity, hash, fields, state, settled_at)
           select nextval('holdfast.entity_ids'), $1, 'main', gen_random_uuid(), 'site',
                  substring(sha256(('i' || $2 || n)::bytea) for 16), sha256(('h' || $2 || n)::bytea),
                  jsonb_build_object('name', 'Site ' || $2 || n, 'status', 'active',
                                     'description', repeat('x', 200)),
                  case when $3 then 3 else 1 end, case when $3 then clock_timestamp() end
             from generate_series($4::int, $5::int) as n`,
          [tenant, ended ? "done-" : "", ended, from + 1, Math.min(count, from + 100_000)],
        ),
      { statementTimeoutMs: 600_000 },
    );
  }
}
