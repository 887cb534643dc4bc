import { HoldfastError, NotFound, RefusedByPolicy } from "../contracts/errors.ts";
import type { SearchField, SearchType } from "../contracts/search.ts";
import type { Queryable } from "./pool.ts";

/**
 * Where the objects of an index live, and the SQL that says what their index rows are. Everything
 * that writes, builds or checks an index uses the one select made here.
 */

/** A registered table as it really is in one schema. */
export interface Source {
  schema: string;
  schemaOid: number;
  tableOid: number;
  type: SearchType;
  /** Qualified and quoted. */
  table: string;
  /** The primary key's columns in order, with their types as SQL writes them. */
  keys: readonly { column: string; type: string }[];
  /** Type of each column. */
  columns: ReadonlyMap<string, string>;
  partitioned: boolean;
}

/** Longest value of one part, code points; parts of a long value overlap, so that no match is cut. */
export const PART_SIZE = 8_000;
export const PART_OVERLAP = 100;
/** Parts are numbered member by member; a member has fewer up to 79 million characters. */
export const PARTS_PER_MEMBER = 10_000;

/**
 * Reads the catalog.
 * @throws NotFound without such a schema or table; RefusedByPolicy for what cannot be registered
 */
export async function readSource(db: Queryable, schema: string, type: SearchType): Promise<Source> {
  const [source] = await readSources(db, [{ schema, type }]);
  if (source instanceof HoldfastError) throw source;
  return source!;
}

/** Reads the catalog for many in one statement; in the place of one that cannot be, why not. */
export async function readSources(
  db: Queryable,
  wanted: readonly { schema: string; type: SearchType }[],
): Promise<(Source | NotFound | RefusedByPolicy)[]> {
  const { rows } = await db.query<CatalogRow>(
    `select n.oid::int8::float8 as schema_oid, c.oid::int8::float8 as oid, c.relkind::text,
            (select json_agg(json_build_object('column', a.attname,
                             'type', format_type(a.atttypid, a.atttypmod)) order by k.place)
               from pg_index i
              cross join unnest(i.indkey::int2[]) with ordinality as k(attnum, place)
               join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
              where i.indrelid = c.oid and i.indisprimary and k.place <= i.indnkeyatts) as keys,
            (select json_object_agg(a.attname, format_type(a.atttypid, null))
               from pg_attribute a
              where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns
       from unnest($1::text[], $2::text[]) with ordinality as wanted(schema, name, place)
       left join pg_namespace n on n.nspname = wanted.schema
       left join pg_class c on c.relnamespace = n.oid and c.relname = wanted.name
                           and c.relkind in ('r', 'p', 'v', 'm', 'f')
      order by wanted.place`,
    [wanted.map(({ schema }) => schema), wanted.map(({ type }) => type.table)],
  );
  return wanted.map(({ schema, type }, index) => sourceOf(schema, type, rows[index]!));
}

interface CatalogRow {
  schema_oid: number | null;
  oid: number | null;
  relkind: string | null;
  keys: { column: string; type: string }[] | null;
  columns: Record<string, string> | null;
}

function sourceOf(
  schema: string,
  type: SearchType,
  found: CatalogRow,
): Source | NotFound | RefusedByPolicy {
  if (found.schema_oid === null) return new NotFound("schema", schema, "name one that exists");
  if (found.oid === null) {
    return new NotFound("table", `${schema}.${type.table}`, `check "table" of type ${type.name}`);
  }
  if (found.relkind !== "r" && found.relkind !== "p") {
    return new RefusedByPolicy(
      `${schema}.${type.table} is no ordinary table: triggers cannot follow it; register the tables underneath`,
    );
  }
  if (!found.keys) {
    return new RefusedByPolicy(
      `${schema}.${type.table} has no primary key, so its rows cannot be told apart: add one`,
    );
  }
  return {
    schema,
    schemaOid: found.schema_oid,
    tableOid: found.oid,
    type,
    table: `${quoted(schema)}.${quoted(type.table)}`,
    keys: found.keys,
    columns: new Map(Object.entries(found.columns ?? {})),
    partitioned: found.relkind === "p",
  };
}

/** A name as SQL takes it. */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** The key of a row as text: its column, or a JSON array of them. `row` is an alias, without quotes. */
export function keySql(source: Pick<Source, "keys">, row: string): string {
  const texts = source.keys.map(({ column, type }) => keyText(`${row}.${quoted(column)}`, type));
  return texts.length === 1 ? texts[0]! : `jsonb_build_array(${texts.join(", ")})::text`;
}

/**
 * SQL: one value of a key as text. The same in every session, whatever its time zone, its date style and
 * its way with bytes are; compared letter by letter, whatever the column takes for equal.
 */
export function keyText(value: string, type: string): string {
  if (/^(date$|timestamp.*without)/.test(type)) return `(to_jsonb(${value}) #>> '{}')`;
  if (/^timestamp.*with time zone/.test(type)) {
    const utc = `(to_jsonb(${value} at time zone 'UTC') #>> '{}') || '+00'`;
    return `(case when isfinite(${value}) then ${utc} else ${value}::text end)`;
  }
  if (type === "bytea") return `('\\x' || encode(${value}, 'hex'))`;
  return `(${value}::text collate "default")`;
}

/** True of a row whose key, as text, is in the array `keys` (SQL); finds by the primary key. */
export function keyIn(source: Pick<Source, "keys">, row: string, keys: string): string {
  const [only, ...others] = source.keys;
  if (others.length === 0) {
    return `${row}.${quoted(only!.column)} = any ((${keys})::text[]::${only!.type}[])`;
  }
  const columns = source.keys.map(({ column }) => `${row}.${quoted(column)}`).join(", ");
  const members = source.keys.map(({ type }, index) => `(k::jsonb ->> ${index})::${type}`);
  return `(${columns}) in (select ${members.join(", ")} from unnest((${keys})::text[]) k)`;
}

/** SQL of a declaration, with its schema in place. */
export function placed(sql: string, schema: string): string {
  // By a function: in a text put in place of another, `$` is a sign.
  return sql.replaceAll("{schema}", () => quoted(schema));
}

/**
 * Selects what the index rows of some rows are: (key, field, part, weight, kind, value, net, words).
 * `which` is a condition over `t`. `language` is a text search configuration.
 */
export function expectedRows(source: Source, language: string, which: string): string {
  const { type } = source;
  const condition = type.when ? `(${placed(type.when, source.schema)}) and (${which})` : which;
  return `
    select k.key, f.field, ((f.member - 1) * ${PARTS_PER_MEMBER} + piece.no)::int as part,
           f.weight, f.kind, piece.value, f.net,
           case when f.kind = 'prose' then to_tsvector('pg_catalog.${language}', piece.value) end as words
      from ${source.table} t
     cross join lateral (select ${keySql(source, "t")} as key) k
     cross join lateral (${fieldsOf(source)}) f
     cross join lateral (${PIECES}) piece
     where f.value <> '' and (${condition})`;
}

const STEP = PART_SIZE - PART_OVERLAP;
/** A long value is cut into blocks of so many parts first, or each would be counted out from its beginning. */
const BLOCK = 50;
const UP_TO = (last: string) => `unnest(array(select generate_series(0, ${last})))`;

// The offsets keep what is made once from being made again for each part; an array is taken for a few
// rows, so that the plan of a page does not prepare for millions of parts.
const PIECES = `
       select 0 as no, f.value as value where length(f.value) <= ${PART_SIZE}
        union all
       select block.no * ${BLOCK} + p.no, substr(block.value, p.no * ${STEP} + 1, ${PART_SIZE})
         from (select f.value || '' as value,
                      (length(f.value) - ${PART_OVERLAP + 1}) / ${STEP} as last offset 0) as whole
        cross join lateral (
          select no, substr(whole.value, no * ${BLOCK * STEP} + 1, ${BLOCK * STEP + PART_OVERLAP}) as value
            from ${UP_TO(`whole.last / ${BLOCK}`)} as no offset 0) as block
        cross join lateral ${UP_TO(`least(${BLOCK - 1}, whole.last - block.no * ${BLOCK})`)} as p(no)
        where length(f.value) > ${PART_SIZE}`;

function fieldsOf(source: Source): string {
  const { fields } = source.type;
  const single = fields.filter((field) => !field.many);
  const selects = fields
    .filter((field) => field.many)
    .map((field) => {
      const value = "member.value";
      return `select ${constants(field)}, ${value}, ${netOf(source, field, value)}, member.no
                from unnest((${valueOf(source, field)})::text[]) with ordinality as member(value, no)`;
    });
  if (single.length > 0) {
    const rows = single.map((field) => {
      const value = valueOf(source, field);
      return `(${constants(field)}, (${value})::text, ${netOf(source, field, value)}, 1::bigint)`;
    });
    selects.unshift(`select * from (values ${rows.join(",\n")}) as v`);
  }
  return `select * from (${selects.join("\nunion all\n")}) as fields(field, weight, kind, value, net, member)`;
}

function constants({ name, weight, kind }: SearchField): string {
  return `'${name}'::text, ${weight}::smallint, '${kind}'::text`;
}

/** SQL: the value of a field of the row `t`, an array where it is `many`. */
export function valueOf(source: Source, field: SearchField): string {
  return field.sql === undefined
    ? `t.${quoted(field.column ?? field.name)}`
    : placed(field.sql, source.schema);
}

// The host alone: an address is found whatever mask it is written with.
function netOf(source: Source, field: SearchField, value: string): string {
  if (field.kind !== "address" && field.kind !== "network") return "null::inet";
  const type = field.sql === undefined ? source.columns.get(field.column ?? field.name) : undefined;
  const native = !field.many && (type === "inet" || type === "cidr");
  const net = native ? `(${value})::inet` : `holdfast.as_inet((${value})::text)`;
  return field.kind === "network" ? net : `host(${net})::inet`;
}
