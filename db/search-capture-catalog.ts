import { InvalidInput, NotFound, RefusedByPolicy } from "../contracts/errors.ts";
import type { SearchType } from "../contracts/search.ts";
import { watchedColumns } from "../domain/search.ts";
import { readSource, type Source } from "./index-source.ts";
import type { Queryable } from "./pool.ts";
import type { Watch } from "./search-capture-sql.ts";

/** Which tables capture of a type watches in one schema, as the catalog has them now. */

/** A table, or one of its partitions. */
export interface Relation {
  oid: number;
  schema: string;
  name: string;
}

interface Watched extends Watch {
  /** The table first, then its partitions; statements may name any of them. */
  relations: readonly Relation[];
}

export interface Captured {
  source: Source;
  /** The type's own table first, then those it depends on, in their order. */
  watches: readonly Watched[];
}

/**
 * Looks at every table and at the rights on it.
 * @throws NotFound, RefusedByPolicy, or InvalidInput naming type and field
 */
export async function readCaptured(
  db: Queryable,
  schema: string,
  type: SearchType,
): Promise<Captured> {
  const source = await readSource(db, schema, type);
  const own = await readTable(db, schema, type.table);
  assertFollowed(own);
  const declared = watchedColumns(type);
  assertColumns(own, [...ownColumns(type), ...(declared ?? []).map(undeclared(type))]);
  const watches: Watched[] = [
    {
      type: type.name,
      keys: source.keys,
      unique: true,
      ...columnsOf(own, declared),
      ...placeOf(own, schema),
    },
  ];
  for (const [no, dependency] of type.dependsOn.entries()) {
    const path = `type ${type.name}: dependsOn[${no}]`;
    const table = await readTable(db, schema, dependency.table);
    if (table.relations.length === 0) {
      throw new NotFound("table", `${schema}.${dependency.table}`, `check "table" of ${path}`);
    }
    assertFollowed(table);
    const columns = [dependency.key, ...(dependency.columns ?? [])];
    assertColumns(
      table,
      columns.map((column) => ({ path, column })),
    );
    watches.push({
      type: type.name,
      through: `${dependency.table}.${no}`,
      keys: [{ column: dependency.key, type: table.columns[dependency.key]! }],
      unique: table.unique.includes(dependency.key),
      ...columnsOf(table, dependency.columns),
      ...placeOf(table, schema),
    });
  }
  return { source, watches };
}

interface Table {
  name: string;
  columns: Record<string, string>;
  /** Columns computed when they are read: no trigger sees their values. */
  computed: string[];
  /** Columns of which each value is in one row. */
  unique: string[];
  parent: string | null;
  relations: (Relation & { kind: string; may: boolean; hides: boolean })[];
  role: string;
}

// Row level security, but for a policy that lets this role read everything.
const HIDES_ROWS = `row_security_active(c.oid) and (
  exists (select from pg_policy p where p.polrelid = c.oid and not p.polpermissive)
  or not exists (
    select from pg_policy p
     where p.polrelid = c.oid and p.polcmd in ('r', '*')
       and pg_get_expr(p.polqual, p.polrelid) = 'true'
       and exists (select from unnest(p.polroles) as of(role)
                    where of.role = 0 or pg_has_role(of.role, 'usage'))))`;

async function readTable(db: Queryable, schema: string, name: string): Promise<Table> {
  const { rows } = await db.query<Table>(
    `with recursive tree(oid, depth) as (
       select c.oid, 0 from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = $1 and c.relname = $2 and c.relkind not in ('i', 'I', 'S', 'c', 't')
       union
       select i.inhrelid, depth + 1 from tree join pg_inherits i on i.inhparent = tree.oid
     ), root as (select oid from tree where depth = 0)
     select format('%I.%I', $1::text, $2::text) as name, current_user::text as role,
            (select json_object_agg(attname, format_type(atttypid, null))
               from pg_attribute a join root on a.attrelid = root.oid
              where a.attnum > 0 and not a.attisdropped) as columns,
            array(select attname::text from pg_attribute a join root on a.attrelid = root.oid
                   where a.attgenerated = 'v') as computed,
            array(select a.attname::text
                    from pg_index i join root on i.indrelid = root.oid
                    join pg_attribute a on a.attrelid = root.oid and a.attnum = i.indkey[0]
                   where i.indisunique and i.indnkeyatts = 1 and i.indpred is null) as unique,
            (select inhparent::regclass::text from pg_inherits i join root on i.inhrelid = root.oid
              limit 1) as parent,
            coalesce((select json_agg(json_build_object(
                'oid', c.oid::int8, 'schema', n.nspname, 'name', c.relname, 'kind', c.relkind,
                'may', has_schema_privilege(n.oid, 'usage')
                   and has_table_privilege(c.oid, 'trigger') and has_table_privilege(c.oid, 'select'),
                'hides', ${HIDES_ROWS})
                order by depth, c.oid)
               from tree join pg_class c on c.oid = tree.oid
               join pg_namespace n on n.oid = c.relnamespace), '[]') as relations`,
    [schema, name],
  );
  return rows[0]!;
}

function assertFollowed({ name, parent, relations, role }: Table): void {
  if (parent !== null) {
    throw new RefusedByPolicy(
      `${name} is a part of ${parent}, whose writes would be missed: register ${parent}`,
    );
  }
  for (const { schema, name: relation, kind, may, hides } of relations) {
    const full = `${schema}.${relation}`;
    if (kind !== "r" && kind !== "p") {
      throw new RefusedByPolicy(
        `${full} is no ordinary table: triggers cannot follow it; register the tables underneath`,
      );
    }
    if (!may) {
      throw new RefusedByPolicy(
        `role ${role} may not put triggers on ${full}: run "grant usage on schema ${schema} to ${role}" ` +
          `and "grant select, trigger on ${full} to ${role}" as its owner`,
      );
    }
    if (hides) {
      throw new RefusedByPolicy(
        `${full} hides rows from role ${role} (row level security), which could not be found then: ` +
          `run "alter role ${role} bypassrls", or give it a policy "for select using (true)"`,
      );
    }
  }
}

interface Named {
  path: string;
  column: string;
}

function ownColumns({ name, fields, dependsOn }: SearchType): Named[] {
  return [
    ...fields.flatMap((field) => {
      const path = `type ${name}: field ${field.name}`;
      const columns = field.sql === undefined ? [field.column ?? field.name] : field.columns;
      return (columns ?? []).map((column) => ({ path, column }));
    }),
    ...dependsOn.flatMap(({ via }, no) =>
      via === undefined ? [] : [{ path: `type ${name}: dependsOn[${no}].via`, column: via }],
    ),
  ];
}

const undeclared = (type: SearchType) => (column: string) => ({
  path: `type ${type.name}`,
  column,
});

function assertColumns(table: Table, named: readonly Named[]): void {
  const there = Object.keys(table.columns);
  const missing = named.filter(({ column }) => !there.includes(column));
  if (missing.length === 0) return;
  const has = there.slice(0, 30).join(", ");
  const seen = new Map(missing.toReversed().map((one) => [one.column, one]));
  throw new InvalidInput(
    [...seen.values()].toReversed().map(({ path, column }) => ({
      path,
      message: `${table.name} has no column "${column}"; it has ${has}`,
    })),
  );
}

// A value that is computed when read changes with columns that are not named.
function columnsOf(table: Table, columns: readonly string[] | undefined) {
  if (!columns || columns.some((column) => table.computed.includes(column))) return {};
  return { columns };
}

const placeOf = ({ relations }: Table, schema: string) => ({
  relations,
  isSpread: relations.some((relation) => relation.schema !== schema),
});
