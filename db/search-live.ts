import { labelOf } from "../domain/search.ts";
import { keyIn, keySql, placed, quoted, valueOf, type Source } from "./index-source.ts";
import type { Queryable } from "./pool.ts";

/** What the live row says about a result: that it is there, who may find it, how it is shown. */

/** One index as it is searched. */
export interface Searched {
  id: number;
  generation: number;
  source: Source;
}

/** True of a row `b (index_id, key)` whose object is live and may be found by `viewer` (SQL, jsonb). */
export function isVisible(indexes: readonly Searched[], viewer: string): string {
  const cases = indexes.map(
    ({ id, source }) => `when ${id} then exists (
      select from ${source.table} t cross join (select ${viewer} as viewer) as asking
       where ${isRowOf(source)} and (${placed(source.type.visible ?? "true", source.schema)}))`,
  );
  // A case, so that a key is never read as one of another type.
  return `case b.index_id ${cases.join(" ")} else false end`;
}

function isRowOf({ keys }: Source): string {
  if (keys.length === 1) return `t.${quoted(keys[0]!.column)} = b.key::${keys[0]!.type}`;
  return keys
    .map(({ column, type }, no) => `t.${quoted(column)} = (b.key::jsonb ->> ${no})::${type}`)
    .join(" and ");
}

/** An object as it is shown: names of `display` to values. */
export interface ShownObject {
  key: string;
  title: string | null;
  display: Record<string, string | null>;
}

/** A result is a line, whatever its table holds. Characters. */
const LONGEST_SHOWN = 1_000;

/** Reads how objects of one type are shown, in one statement. */
export async function readShown(
  db: Queryable,
  source: Source,
  keys: readonly string[],
): Promise<ShownObject[]> {
  const { type, schema } = source;
  const pairs = type.display.map(({ name, column, sql }) => {
    const value = sql === undefined ? `t.${quoted(column ?? name)}` : placed(sql, schema);
    return `'${name}', left((${value})::text, ${LONGEST_SHOWN})`;
  });
  const { rows } = await db.query<ShownObject>(
    `select ${keySql(source, "t")} as key,
            left((${titleOf(source)})::text, ${LONGEST_SHOWN}) as title,
            jsonb_build_object(${pairs.join(", ")}) as display
       from ${source.table} t where ${keyIn(source, "t", "$1")}`,
    [keys],
  );
  return rows;
}

// Without a title of its own an object is called by the best field that says anything.
function titleOf(source: Source): string {
  const { type, schema } = source;
  if (type.title !== undefined) return placed(type.title, schema);
  const values = type.fields
    .toSorted((a, b) => a.weight - b.weight)
    .map((field) => {
      const value = `(${valueOf(source, field)})`;
      return `nullif(left(${field.many ? `(${value}::text[])[1]` : `${value}::text`}, 200), '')`;
    });
  return `coalesce(${values.join(", ")})`;
}

/** The attributes of a result with their labels, in the order declared. */
export function displayOf({ type }: Source, shown: ShownObject | undefined) {
  return type.display.map((attribute) => ({
    name: attribute.name,
    label: labelOf(attribute),
    value: shown?.display[attribute.name] ?? null,
  }));
}
