import { kept } from "../contracts/text.ts";
import { hasIndexMarks, INDEX_LANES } from "./index-marks.ts";
import type { Queryable, Tx } from "./pool.ts";

/**
 * One row per lane of the index drain: how long marks waited, the last fault, and the lease of whoever
 * works the lane where the effect leaves Postgres.
 */

/** Seconds; the last bucket of `waited` is what took longer. */
export const WAITED_BOUNDS = [0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300] as const;
const BOUNDS = `array[${WAITED_BOUNDS.join(", ")}]::float8[]`;

export interface LaneRow {
  lane: number;
  /** Rows of marks that wait, counted up to MARKS_COUNTED. */
  marks: number;
  oldestMarkAt: Date | null;
  /** Objects brought up to date. */
  applied: number;
  failingSince: Date | null;
  lastError: string | null;
  /** Marks by how long they waited: one count per bound, and one above them. */
  waited: number[];
  waitedSeconds: number;
}

/** Above this, a lane has "that many or more". */
const MARKS_COUNTED = 10_000;
/** Schemas whose oldest mark is looked at. */
const SCHEMAS = 1_000;

/** Every lane, with what waits in it. */
export async function readIndexLanes(db: Queryable): Promise<LaneRow[]> {
  const { rows } = await db.query<LaneRow>(
    `select l.lane::int, w.marks, o."oldestMarkAt", l.applied::float8 as applied,
            l.failing_since as "failingSince", l.last_error as "lastError",
            l.waited::float8[] as waited, l.waited_seconds as "waitedSeconds"
       from holdfast.index_lanes l
      cross join lateral (
        select count(*)::int as marks
          from (select from holdfast.index_marks m where m.lane = l.lane
                 limit ${MARKS_COUNTED}) read) w
      cross join lateral (select min(at) as "oldestMarkAt"
                            from (${FIRST_MARKS("l.lane")}) f) o
      order by l.lane`,
  );
  return rows;
}

/**
 * SQL: (schema_name, at) of the first mark of each schema in a lane. Marks stand in order of their
 * schema and number: the first one is the oldest, or near it.
 */
export const FIRST_MARKS = (lane: string) => `
  with recursive firsts as (
    (select m.schema_name, m.at, 1 as n from holdfast.index_marks m
      where m.lane = ${lane} order by m.schema_name, m.seq limit 1)
    union all
    select next.schema_name, next.at, f.n + 1 from firsts f
     cross join lateral (
       select m.schema_name, m.at from holdfast.index_marks m
        where m.lane = ${lane} and m.schema_name > f.schema_name
        order by m.schema_name, m.seq limit 1) next
     where f.n < ${SCHEMAS})
  select schema_name, at from firsts`;

/** Notes a batch that is about to commit. `since`: when its marks were made, epoch seconds. */
export async function recordApplied(
  tx: Tx,
  lane: number,
  batch: { objects: number; since: readonly number[] },
): Promise<void> {
  await tx.query(
    `update holdfast.index_lanes l
        set applied = l.applied + $2, waited_seconds = l.waited_seconds + s.seconds,
            waited = (select array_agg(old.n + coalesce(new.n, 0) order by old.bucket)
                        from unnest(l.waited) with ordinality as old(n, bucket)
                        left join (select width_bucket(w, ${BOUNDS}) + 1 as bucket, count(*) as n
                                     from unnest(s.waits) w group by 1) new
                          on new.bucket = old.bucket),
            failing_since = null, last_error = null
       from (select coalesce(sum(w), 0) as seconds, array_agg(w) as waits
               from (select greatest(0, extract(epoch from clock_timestamp())::float8 - at) as w
                       from unnest($3::float8[]) as at) each) s
      where l.lane = $1`,
    [lane, batch.objects, batch.since],
  );
}

/** A lane cannot go on: since when, and why. */
export async function recordFailing(db: Queryable, lane: number, reason: string): Promise<void> {
  await db.query(
    `update holdfast.index_lanes
        set failing_since = coalesce(failing_since, clock_timestamp()), last_error = $2
      where lane = $1`,
    [lane, kept(reason)],
  );
}

/** A lane goes on, with nothing left that fails. */
export async function recordWorking(db: Queryable, lane: number): Promise<void> {
  await db.query(
    `update holdfast.index_lanes set failing_since = null, last_error = null
      where lane = $1 and failing_since is not null`,
    [lane],
  );
}

/** How long marks waited over all lanes: seconds at a quantile (0 to 1); null without any. */
export function waitedQuantile(waited: readonly number[], quantile: number): number | null {
  const count = waited.reduce((sum, n) => sum + n, 0);
  if (count === 0) return null;
  let left = quantile * count;
  for (const [bucket, n] of waited.entries()) {
    if (n === 0) continue;
    const from = bucket === 0 ? 0 : WAITED_BOUNDS[bucket - 1]!;
    const to = WAITED_BOUNDS[bucket] ?? from;
    if (left <= n) return from + (to - from) * (left / n);
    left -= n;
  }
  return WAITED_BOUNDS.at(-1)!;
}

/** The buckets of all lanes, summed. */
export function waitedOf(lanes: readonly LaneRow[]): number[] {
  return Array.from({ length: WAITED_BOUNDS.length + 1 }, (_, bucket) =>
    lanes.reduce((sum, { waited }) => sum + (waited[bucket] ?? 0), 0),
  );
}

/**
 * Takes a lane for whoever works outside Postgres. Answers the fence, which is above every fence there
 * was; undefined while another has it.
 */
export async function takeLease(
  db: Queryable,
  lane: number,
  leaseMs: number,
): Promise<bigint | undefined> {
  const { rows } = await db.query<{ lease: string }>(
    `update holdfast.index_lanes
        set lease = (select max(lease) + 1 from holdfast.index_lanes),
            leased_until = clock_timestamp() + $2 * interval '1 millisecond'
      where lane = $1 and (leased_until is null or leased_until < clock_timestamp())
      returning lease::text`,
    [lane, leaseMs],
  );
  return rows[0] && BigInt(rows[0].lease);
}

/** True while nobody else has taken the lane since. Held to the end of the transaction. */
export async function isLeaseHeld(tx: Tx, lane: number, fence: bigint): Promise<boolean> {
  const { rowCount } = await tx.query(
    "select from holdfast.index_lanes where lane = $1 and lease = $2 for update",
    [lane, fence.toString()],
  );
  return rowCount === 1;
}

/** Goes on with a lane. False: another has taken it. */
export async function renewLease(
  db: Queryable,
  lane: number,
  fence: bigint,
  leaseMs: number,
): Promise<boolean> {
  const { rowCount } = await db.query(
    `update holdfast.index_lanes set leased_until = clock_timestamp() + $3 * interval '1 millisecond'
      where lane = $1 and lease = $2`,
    [lane, fence.toString(), leaseMs],
  );
  return rowCount === 1;
}

export async function endLease(db: Queryable, lane: number, fence: bigint): Promise<void> {
  await db.query(
    "update holdfast.index_lanes set leased_until = null where lane = $1 and lease = $2",
    [lane, fence.toString()],
  );
}

/** True when marks wait in a lane, braked or not. */
export async function hasIndexMarksIn(db: Queryable, lane: number): Promise<boolean> {
  const { rows } = await db.query<{ some: boolean }>(`select ${hasIndexMarks("$1")} as some`, [
    lane,
  ]);
  return rows[0]!.some;
}

export const ALL_LANES: readonly number[] = Array.from({ length: INDEX_LANES }, (_, lane) => lane);
