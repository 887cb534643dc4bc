import { decide } from "../db/review.ts";
import type { Db } from "../db/pool.ts";
import type { Frame } from "./frame.ts";
import { timed } from "./in-turn.ts";
import { planDatabase } from "./plan-scene.ts";

const PAGE = 1_000;

/** Everything that waits is approved by one filter. */
export async function measureReview(frame: Frame): Promise<void> {
  const { db } = await planDatabase(frame);
  const size = frame.quick ? 5_000 : 100_000;
  await fillOpen(db, size);
  let decided = 0;
  const ms = await timed(async () => {
    let after: string | undefined;
    do {
      const target = { tenant: "review", types: ["site"] };
      const page = await decide(
        db,
        target,
        { act: "approve", by: "bench" },
        { after, limit: PAGE },
      );
      decided += page.decided;
      after = page.next;
    } while (after !== undefined);
  });
  if (decided !== size) throw new Error(`${decided} of ${size} were approved`);
  frame.measure(`${size.toLocaleString("en")} approved by a filter`, ms / 1_000, "s", {
    below: 10,
  });
  await frame.close();
}

/** Entities that wait, each with its change set, as a plan leaves them. */
async function fillOpen(db: Db, count: number): Promise<void> {
  await db.transaction(
    async (tx) => {
      await tx.query(
        `insert into holdfast.entities
           (id, tenant, branch, request, type, identity, hash, fields, state, plans, plan_hash, planned_at)
         select nextval('holdfast.entity_ids'), 'review', 'main', gen_random_uuid(), 'site',
                substring(sha256(('i' || n)::bytea) for 16), sha256(('h' || n)::bytea),
                jsonb_build_object('name', 'Site ' || n), 2, 1, sha256(('p' || n)::bytea), clock_timestamp()
           from generate_series(1, $1::int) as n`,
        [count],
      );
      await tx.query(
        `insert into holdfast.change_sets (entity, hash, title, creates, updates, deletes, changes)
         select id, plan_hash, 'Site ' || (fields ->> 'name') || ' created', 1, 0, 0,
                jsonb_build_array(jsonb_build_object(
                  'no', 0, 'kind', 'create', 'type', type, 'identity', fields, 'objectId', id::text,
                  'version', 0, 'before', '{}'::jsonb, 'after', fields, 'newRefs', '[]'::jsonb,
                  'primary', true))
           from holdfast.entities where tenant = 'review'`,
      );
    },
    { statementTimeoutMs: 600_000 },
  );
  await db.query("vacuum analyze holdfast.entities");
}
