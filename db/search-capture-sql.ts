import { INDEX_LANES, KEYS_PER_MARK, laneOf } from "./index-marks.ts";
import { keySql, quoted } from "./index-source.ts";

/**
 * The functions behind the triggers that mark what was written. They run inside the statements of
 * others, so they must never be why one of these fails: names are resolved whatever the caller's path
 * is, a column that is gone reads as null, rows are compared as they are stored and not by an operator
 * their type may lack, and there is no exception block, for each would be a subtransaction.
 */

export const EVENTS = ["insert", "update", "delete", "truncate"] as const;
export type CaptureEvent = (typeof EVENTS)[number];

/** What one set of triggers marks. */
export interface Watch {
  type: string;
  /** Name of the dependency whose keys these are; absent: they are the objects' own. */
  through?: string;
  /** Columns of the key in order, with their types as SQL writes them. */
  keys: readonly { column: string; type: string }[];
  /** No two rows have one key. */
  unique: boolean;
  /** Columns whose change matters; absent: any. */
  columns?: readonly string[];
  /** A partition is in another schema: triggers are told which schema the index is of. */
  isSpread?: boolean;
}

// The table really written says which schema it is, wherever a caller believes to be.
const schemaOf = ({ isSpread }: Watch) =>
  isSpread ? "coalesce(tg_argv[0], tg_table_schema)" : "tg_table_schema";

/** Body of the trigger function, in PL/pgSQL. */
export function captureBody(watch: Watch, event: CaptureEvent): string {
  return `
#variable_conflict use_column
declare
  ${event === "update" ? "new_key text; old_key text; differs boolean; many boolean;" : "marked bigint;"}
begin
  if to_regclass('holdfast.index_marks') is null then
    ${unmarked(watch, "Holdfast's tables are away")}
    return null;
  end if;
  ${event === "truncate" ? markingAll(watch) : markingRows(watch, event)}
  return null;
end `;
}

// A truncated table leaves no keys to name.
function markingAll(watch: Watch): string {
  return `insert into holdfast.index_marks (lane, schema_name, type)
  select lane, ${schemaOf(watch)}, '${watch.type}' from generate_series(0, ${INDEX_LANES - 1}) as lane;`;
}

// One row is by far the commonest write, and needs none of what makes many cheap.
function markingRows(watch: Watch, event: Exclude<CaptureEvent, "truncate">): string {
  if (event === "update") {
    return `${readingOne(watch)}
  if many then
    ${markingMany(watch, changed(watch))}
    if not found then
      ${whenNothing(watch, "holdfast_new")}
    end if;
  elsif new_key is null or old_key is null then
    ${markingEach(watch, "select unnest(array[new_key, old_key]) as key")}
    if not found then
      ${whenNothing(watch, "holdfast_new")}
    end if;
  elsif new_key <> old_key then
    ${markingEach(watch, "select unnest(array[new_key, old_key]) as key")}
  elsif differs then
    ${into(watch)}
    values (${laneOf("new_key")}, ${schemaOf(watch)}, '${watch.type}', array[new_key]${throughOf(watch)});
  end if;`;
  }
  const rows = event === "delete" ? "holdfast_old" : "holdfast_new";
  const keys = `${keysOf(watch, rows)} where ${keyOf(watch)} is not null`;
  return `${markingEach(watch, `${keys} limit ${FEW}`)}
  get diagnostics marked = row_count;
  if marked = ${FEW} then
    ${markingMany(watch, `${keys} offset ${FEW}`)}
  elsif marked = 0 then
    ${whenNothing(watch, rows)}
  end if;`;
}

/** So many rows get a mark each; those after them are bundled. */
const FEW = 2;

const into = ({ through }: Watch) =>
  `insert into holdfast.index_marks (lane, schema_name, type, keys${through ? ", through" : ""})`;
const throughOf = ({ through }: Watch) => (through ? `, '${through.replaceAll("'", "''")}'` : "");

function markingEach(watch: Watch, keys: string): string {
  return `${into(watch)}
    select ${laneOf("key")}, ${schemaOf(watch)}, '${watch.type}', array[key]${throughOf(watch)}
      from (${keys}) as dirty where key is not null;`;
}

// Bundled in the order rows come in, which needs no sort.
function markingMany(watch: Watch, keys: string): string {
  const distinct = watch.unique ? "" : "distinct ";
  return `${into(watch)}
    select lane, ${schemaOf(watch)}, '${watch.type}', array_agg(key)${throughOf(watch)}
      from (select key, lane, (row_number() over () - 1) / ${KEYS_PER_MARK} as bundle
              from (select ${distinct}key, ${laneOf("key")} as lane from (${keys}) as dirty
                     where key is not null) as placed) as bundled
     group by lane, bundle;`;
}

function whenNothing(watch: Watch, rows: string): string {
  const known = watch.keys.map(({ column }) => `'${column.replaceAll("'", "''")}'`).join(", ");
  return `if exists (select from (${keysOf(watch, rows)}) as written where key is null) then
      if (select count(*) < ${watch.keys.length} from pg_attribute
           where attrelid = tg_relid and attname = any (array[${known}]) and not attisdropped) then
        ${unmarked(watch, "a column of the key is not there any more")}
      end if;
    end if;`;
}

const keysOf = (watch: Watch, rows: string) => written(watch, rows, "");

// Both images of the one row, or of any when there are many. A key that changed is two: of the object
// that is gone and of the one that is there.
function readingOne(watch: Watch): string {
  const differs =
    watch.columns?.length === 0 ? "false" : "n.image operator(pg_catalog.*<>) o.image";
  return `select n.key, o.key, ${differs}, exists (select from holdfast_new offset 1)
      into new_key, old_key, differs, many
      from ${both(watch, "cross join")}
     limit 1;`;
}

function changed(watch: Watch): string {
  if (watch.unique) {
    return `select coalesce(n.key, o.key) as key
      from ${both(watch, "full join")} on n.key = o.key
     where n.key is null or o.key is null${orImage(watch)}`;
  }
  const text = ", image::text as image";
  const news = `select key${text} from (${written(watch, "holdfast_new", IMAGE)}) n`;
  const olds = `select key${text} from (${written(watch, "holdfast_old", IMAGE)}) o`;
  return `select key from ((${news} except all ${olds}) union all (${olds} except all ${news})) as d`;
}

const both = (watch: Watch, join: string) =>
  `(${written(watch, "holdfast_new", IMAGE)}) as n
      ${join} (${written(watch, "holdfast_old", IMAGE)}) as o`;
const orImage = ({ columns }: Watch) =>
  columns?.length === 0 ? "" : " or n.image operator(pg_catalog.*<>) o.image";

const IMAGE = "image";

/**
 * Selects key and, if asked for, image of a transition table's rows. A name that the table does not
 * have is found in `absent` instead, one level up.
 */
function written(watch: Watch, rows: string, image: "" | typeof IMAGE): string {
  const columns = watch.columns ?? [];
  const keys = watch.keys.map(({ column }) => column);
  const named = new Set(image ? [...keys, ...columns] : keys);
  const absent = [...named].map((column) => {
    const key = watch.keys.find((one) => one.column === column);
    return `null::${key && IS_TIME.test(key.type) ? key.type : "text"} as ${quoted(column)}`;
  });
  const present = [...named].map(quoted);
  if (image && !watch.columns) present.push("holdfast_row as holdfast_image");
  const compared = watch.columns
    ? `row(${columns.map((column) => `r.${quoted(column)}`).join(", ")})`
    : "r.holdfast_image";
  return `select ${keyOf(watch)} collate "C" as key${image ? `, ${compared} as image` : ""}
      from (select ${absent.join(", ")}) as absent
     cross join lateral (select ${present.join(", ")} from ${rows} as holdfast_row) as r`;
}

// What the text of a key is made of by functions of its type.
const IS_TIME = /^(date|timestamp|bytea)/;

function keyOf(watch: Watch): string {
  const key = keySql(watch, "r");
  if (watch.keys.length === 1) return `(${key})`;
  const there = watch.keys.map(({ column }) => `r.${quoted(column)} is not null`);
  return `(case when ${there.join(" and ")} then ${key} end)`;
}

// The write goes on; the doctor has the index brought up to date.
function unmarked(watch: Watch, why: string): string {
  return `raise warning 'holdfast: search of ${watch.type} in % misses this write: ${why.replaceAll("'", "''")}', ${schemaOf(watch)}
      using hint = 'Run "holdfast doctor".';
    if to_regclass('holdfast.index_gaps') is not null then
      insert into holdfast.index_gaps (schema_name, type)
      select ${schemaOf(watch)}, '${watch.type}'
       where not exists (select from holdfast.index_gaps
                          where schema_name = ${schemaOf(watch)} and type = '${watch.type}');
    end if;`;
}
