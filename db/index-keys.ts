import { classify } from "../domain/faults.ts";
import { ALL_LANES } from "./index-lanes.ts";
import { laneOf } from "./index-marks.ts";
import { keyText, type Source } from "./index-source.ts";
import type { Queryable } from "./pool.ts";

/** Keys as the table itself writes them: `007` of a number is `7`, and lies in the lane of `7`. */
export async function canonicalKeys(
  db: Queryable,
  source: Pick<Source, "keys">,
  keys: readonly string[],
): Promise<{ keys: string[] } | { wrong: number; reason: string }> {
  try {
    return { keys: await written(db, source, keys) };
  } catch (error) {
    if (classify(error) !== "domain") throw error;
    const wrong = await firstWrong(db, source, keys);
    return { wrong, reason: (error as Error).message };
  }
}

async function written(
  db: Queryable,
  source: Pick<Source, "keys">,
  keys: readonly string[],
): Promise<string[]> {
  const { rows } = await db.query<{ key: string }>(
    `select distinct ${writtenSql(source)} as key from unnest($1::text[]) as k`,
    [keys],
  );
  return rows.map(({ key }) => key);
}

// A member that is missing is as wrong as one that cannot be read.
function writtenSql({ keys }: Pick<Source, "keys">): string {
  if (keys.length === 1) return keyText(`(k::${keys[0]!.type})`, keys[0]!.type);
  const member = (no: number) => `(k::jsonb ->> ${no})`;
  const members = keys.map(({ type }, no) => keyText(`(${member(no)}::${type})`, type));
  const isWhole = `jsonb_array_length(k::jsonb) = ${keys.length} and num_nulls(${keys.map((_, no) => member(no)).join(", ")}) = 0`;
  return `case when ${isWhole} then jsonb_build_array(${members.join(", ")})
               else jsonb_build_array(('expected ' || k)::int) end::text`;
}

async function firstWrong(
  db: Queryable,
  source: Pick<Source, "keys">,
  keys: readonly string[],
): Promise<number> {
  let from = 0;
  let to = keys.length;
  while (to - from > 1) {
    const half = Math.ceil((from + to) / 2);
    const isFine = await written(db, source, keys.slice(from, half)).then(
      () => true,
      () => false,
    );
    if (isFine) from = half;
    else to = half;
  }
  return from;
}

/** The lanes of some keys, in order. */
export async function lanesOf(db: Queryable, keys: readonly string[]): Promise<number[]> {
  const { rows } = await db.query<{ lane: number }>(
    `select distinct ${laneOf("key")}::int as lane from unnest($1::text[]) as key
      order by lane limit ${ALL_LANES.length}`,
    [keys],
  );
  return rows.map(({ lane }) => lane);
}
