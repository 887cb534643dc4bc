import { gather, writePlace } from "../domain/index-batch.ts";
import { ALL_LANES, FIRST_MARKS } from "./index-lanes.ts";
import { INDEX_LANES, INDEX_QUEUE, KEYS_PER_MARK, laneOf } from "./index-marks.ts";
import type { Queryable, Tx } from "./pool.ts";

/** What the index drain takes up: whose turn it is, and a bounded batch of marks, oldest first. */

export interface IndexMark {
  seq: string;
  type: string;
  /** Absent: every object of the type. */
  keys: string[] | null;
  /** The keys are those of a parent, by the name of the dependency. */
  through: string | null;
  place: string | null;
  /** When it was made, epoch seconds. */
  at: number;
}

/** How marks are worked, wherever objects are indexed. */
export interface IndexDrain {
  /** Works a bounded batch of what waits in a lane for one schema. Safe to repeat. */
  batch(lane: number, schema: string, signal: AbortSignal): Promise<IndexBatch>;
}

export interface IndexBatch {
  /** Rows of marks that are done with. */
  marks: number;
  /** Objects brought up to date. */
  objects: number;
  /** Objects held in quarantine. */
  held: number;
  /** What an operator should hear of, in words. */
  news: string[];
  /** Somebody else works this lane: ask again after this many ms. */
  busyMs?: number;
}

export const nothingDone = (): IndexBatch => ({ marks: 0, objects: 0, held: 0, news: [] });

/** Keys of one batch, about: the last mark may bring more. */
const KEYS_PER_BATCH = 2_000;
/** A mark of many objects takes this much of a batch. */
const WEIGHT_OF_MANY = 1_000;

/** SQL: true of a schema that a brake holds. */
const isHeld = (schema: string) => `exists (
  select from holdfast.brakes b
   where b.applies_to = 'all'
      or (b.applies_to = 'queue' and b.name = '${INDEX_QUEUE}')
      or (b.applies_to = 'scope' and b.name = ${schema}))`;

/**
 * The schema to serve next: round-robin, the first after the one served last that has marks in this
 * lane, is not braked and not in `except`.
 */
export async function nextIndexSchema(
  db: Queryable,
  lane: number,
  servedLast: string,
  except: readonly string[] = [],
): Promise<string | undefined> {
  return (
    (await schemaAfter(db, lane, servedLast, except)) ??
    (servedLast === "" ? undefined : await schemaAfter(db, lane, "", except))
  );
}

/** SQL: (oldest), when the first mark was made of each schema that no brake holds, lane by lane. */
export const OLDEST_INDEX_MARKS = `
  select f.at as oldest
    from generate_series(0, ${INDEX_LANES - 1}) as lane
   cross join lateral (${FIRST_MARKS("lane")}) f
   where not ${isHeld("f.schema_name")}`;

/** True when one schema is to be served: it has marks in this lane, and no brake. */
export async function isIndexDue(db: Queryable, lane: number, schema: string): Promise<boolean> {
  const { rows } = await db.query<{ due: boolean }>(
    `select exists (select from holdfast.index_marks where lane = $1 and schema_name = $2)
        and not ${isHeld("$2")} as due`,
    [lane, schema],
  );
  return rows[0]!.due;
}

async function schemaAfter(
  db: Queryable,
  lane: number,
  after: string,
  except: readonly string[],
): Promise<string | undefined> {
  const { rows } = await db.query<{ schema: string }>(freeSchema("$1", "$2", "$3::text[]"), [
    lane,
    after,
    except,
  ]);
  return rows[0]?.schema;
}

/** SQL: true when a lane has marks that no brake holds; the one predicate for relay and drain. */
export const hasFreeIndexMarks = (lane: string) =>
  `exists (${freeSchema(lane, "''", "'{}'::text[]")})`;

// From schema to schema by index, however many marks each has, and no further than the first free one.
function freeSchema(lane: string, after: string, except: string): string {
  const isPassedOver = `s.schema = any (${except}) or ${isHeld("s.schema")}`;
  return `
    with recursive schemas as (
       select s.schema, ${isPassedOver} as passed_over
         from (select min(schema_name) as schema from holdfast.index_marks
                where lane = ${lane} and schema_name > ${after}) s
        where s.schema is not null
       union all
       select s.schema, ${isPassedOver}
         from schemas before
        cross join lateral (select min(schema_name) as schema from holdfast.index_marks
                             where lane = ${lane} and schema_name > before.schema) s
        where before.passed_over and s.schema is not null
     )
     select schema from schemas where not passed_over limit 1`;
}

// By ctid: a plan that does not hang on what is known of a table that is filled and emptied all day.
// Marks of many objects are worked as one where they begin together: the first of a kind weighs, and
// brings along those that follow it.
const OLDEST = `
  select ctid from (
    select ctid, follows, bundled, first_value(before) over (partition by kind order by seq) as before
      from (
        select ctid, seq, kind, follows,
               sum(case when follows then 0 else weight end) over oldest
                 - case when follows then 0 else weight end as before,
               sum(case when follows then keys else 0 end) over oldest as bundled
          from (
            select m.ctid, m.seq, keys, kind,
                   case when kind like 'many%' then ${WEIGHT_OF_MANY} else keys end as weight,
                   kind like 'many%' and row_number() over (partition by kind order by m.seq) > 1 as follows
              from (select ctid, seq, coalesce(cardinality(keys), 1) as keys,
                           case when keys is not null and through is null then seq::text
                                when through is not null and place like '%/%' then 'many ' || seq
                                else 'many ' || type || ' ' || coalesce(through, '') end as kind
                      from holdfast.index_marks
                     where lane = $1 and schema_name = $2 order by seq limit ${KEYS_PER_BATCH}) m
          ) kinds
        window oldest as (order by seq)
      ) placed
  ) weighed where before < ${KEYS_PER_BATCH} and (not follows or bundled < ${KEYS_PER_BATCH})`;

const SHOWN = "seq::text, type, keys, through, place, extract(epoch from at)::float8 as at";

/** Takes the oldest marks away, in the transaction that does what they ask for. */
export async function claimIndexMarks(tx: Tx, lane: number, schema: string): Promise<IndexMark[]> {
  const { rows } = await tx.query<IndexMark>(
    `delete from holdfast.index_marks where ctid = any (array(${OLDEST})) returning ${SHOWN}`,
    [lane, schema],
  );
  return rows;
}

/** The same marks, left where they are: for an effect that comes before they may go. */
export async function peekIndexMarks(
  db: Queryable,
  lane: number,
  schema: string,
): Promise<IndexMark[]> {
  const { rows } = await db.query<IndexMark>(
    `select ${SHOWN} from holdfast.index_marks where ctid = any (array(${OLDEST})) order by seq`,
    [lane, schema],
  );
  return rows;
}

/** Marks that are done with. Answers how many there still were. */
export async function deleteIndexMarks(
  tx: Tx,
  lane: number,
  schema: string,
  seqs: readonly string[],
): Promise<number> {
  const { rowCount } = await tx.query(
    `delete from holdfast.index_marks
      where lane = $1 and schema_name = $2 and seq = any ($3::bigint[])`,
    [lane, schema, seqs],
  );
  return rowCount ?? 0;
}

/** The rest of a mark of many objects. It is as old as the mark it is the rest of. */
export async function appendRest(
  tx: Tx,
  lane: number,
  schema: string,
  rest: Pick<IndexMark, "type" | "keys" | "through" | "place" | "at">,
): Promise<void> {
  await tx.query(
    `insert into holdfast.index_marks (lane, schema_name, type, keys, through, place, at)
     values ($1, $2, $3, $4, $5, $6, to_timestamp($7))`,
    [lane, schema, rest.type, rest.keys, rest.through, rest.place, rest.at],
  );
}

/** Marks of whole types in a schema, in all lanes. */
export async function findWalks(
  db: Queryable,
  schema: string,
): Promise<(IndexMark & { lane: number })[]> {
  const { rows } = await db.query<IndexMark & { lane: number }>(
    `select lane, ${SHOWN} from holdfast.index_marks
      where lane = any ($1::smallint[]) and schema_name = $2 and keys is null
      order by type, seq`,
    [ALL_LANES, schema],
  );
  return rows;
}

/** In their place one mark per type and lane: over all live rows, of an index that was cleared. */
export async function restartWalks(
  tx: Tx,
  schema: string,
  walks: readonly (IndexMark & { lane: number })[],
): Promise<void> {
  for (const { type, walk } of gather(walks)) {
    if (!walk) continue;
    const place = writePlace({ ...walk.place, pass: "cleared", after: undefined });
    const rest = { type, keys: null, through: null, place, at: walk.at };
    for (const lane of ALL_LANES) await appendRest(tx, lane, schema, rest);
  }
  for (const lane of ALL_LANES) {
    const seqs = walks.filter((walk) => walk.lane === lane).map(({ seq }) => seq);
    await deleteIndexMarks(tx, lane, schema, seqs);
  }
}

/** Marks of the objects a mark of their parents stands for; in whatever lanes they are. */
export async function appendDerived(
  tx: Tx,
  schema: string,
  derived: { type: string; keys: readonly string[]; place: string; at: number },
): Promise<void> {
  await tx.query(
    `insert into holdfast.index_marks (lane, schema_name, type, keys, place, at)
     select lane, $1, $2, array_agg(key), $4, to_timestamp($5)
       from (select key, lane, row_number() over (partition by lane) / ${KEYS_PER_MARK} as bundle
               from (select key, ${laneOf("key")} as lane from unnest($3::text[]) as key) placed) bundled
      group by lane, bundle`,
    [schema, derived.type, derived.keys, derived.place, derived.at],
  );
}
