import type { Queryable } from "./pool.ts";

/** An index is one type in one schema: a row says what is searched, what is built, what is wrong. */

export interface SearchIndex {
  id: number;
  schema: string;
  schemaOid: number;
  type: string;
  /** What is searched. */
  generation: number;
  /** What a reindex makes beside it. The drain writes both. */
  building: number | null;
  buildingOperation: string | null;
  /** Digest of what it is built from. */
  buildingDefinition: Buffer | null;
  buildingSince: Date | null;
  /** Key of the last object that is done. */
  buildingAfter: string | null;
  buildingObjects: number;
  definition: Buffer;
  capture: Buffer;
  builtAt: Date | null;
  objects: number;
  driftedAt: Date | null;
  driftReason: string | null;
  installedAt: Date;
}

export const INDEX_COLUMNS = `id, schema_name as schema, schema_oid::int8::float8 as "schemaOid", type, generation,
  building, building_operation as "buildingOperation", building_definition as "buildingDefinition",
  building_since as "buildingSince", building_after as "buildingAfter",
  building_objects::float8 as "buildingObjects", definition, capture, built_at as "builtAt",
  objects::float8 as objects, drifted_at as "driftedAt", drift_reason as "driftReason",
  installed_at as "installedAt"`;

export async function findIndex(
  db: Queryable,
  schema: string,
  type: string,
): Promise<SearchIndex | undefined> {
  const { rows } = await db.query<SearchIndex>(
    `select ${INDEX_COLUMNS} from holdfast.search_indexes where schema_name = $1 and type = $2`,
    [schema, type],
  );
  return rows[0];
}

/** All indexes, or those of one schema. */
export async function listIndexes(db: Queryable, schema?: string): Promise<SearchIndex[]> {
  const { rows } = await db.query<SearchIndex>(
    `select ${INDEX_COLUMNS} from holdfast.search_indexes
      where $1::text is null or schema_name = $1 order by schema_name, type`,
    [schema ?? null],
  );
  return rows;
}
