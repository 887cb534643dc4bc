import { ALL_LANES } from "./index-lanes.ts";
import { INDEX_QUEUE } from "./index-marks.ts";
import { heldKey } from "./index-held.ts";
import type { Queryable } from "./pool.ts";

/** What a writer waits for: that no mark of its own is left, nor anything that came of one. */

/** A number that no mark is above that was committed before it was asked for. */
export async function markPosition(db: Queryable): Promise<string> {
  const { rows } = await db.query<{ position: string }>(
    `select coalesce(pg_sequence_last_value(
              pg_get_serial_sequence('holdfast.index_marks', 'seq')::regclass), 0)::text as position`,
  );
  return rows[0]!.position;
}

export interface Awaited {
  schema: string;
  type: string | undefined;
  keys: readonly string[] | undefined;
  /** As markPosition gives it. */
  upTo: string;
}

// A mark that came of another begins with the number of that one.
const ORIGIN = "coalesce(substring(m.place from '^[0-9]+')::bigint, m.seq)";

/** True while a mark is left that may concern what is waited for. */
export async function isMarked(db: Queryable, what: Awaited): Promise<boolean> {
  const { rows } = await db.query<{ left: boolean }>(
    `select exists (
       select from holdfast.index_marks m
        where m.lane = any ($1::smallint[]) and m.schema_name = $2
          and ($3::text is null or m.type = $3) and ${ORIGIN} <= $5::bigint
          and ($4::text[] is null or m.keys is null or m.through is not null or m.keys && $4)) as left`,
    [ALL_LANES, what.schema, what.type ?? null, what.keys ?? null, what.upTo],
  );
  return rows[0]!.left;
}

/** Why what is waited for is not found although nothing waits: words, or undefined. */
export async function whyNotCurrent(
  db: Queryable,
  { schema, type, keys }: Awaited,
): Promise<string | undefined> {
  const { rows } = await db.query<{ reason: string }>(
    `(select format('%s.%s cannot be read: %s', schema_name, type, drift_reason) as reason
        from holdfast.search_indexes
       where schema_name = $1 and ($2::text is null or type = $2) and drifted_at is not null
       limit 1)
     union all
     (select format('%s.%s is held: %s', scope, key, reason)
        from holdfast.quarantine
       where queue = $4 and scope = $1 and held and key = any ($3::text[])
       limit 1)`,
    [schema, type ?? null, (keys ?? []).map((key) => heldKey(type!, key)), INDEX_QUEUE],
  );
  return rows[0]?.reason;
}
