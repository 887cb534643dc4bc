import type { SearchType } from "../contracts/search.ts";
import type { SearchRegistry } from "../domain/search.ts";
import { indexSql, type Indexed } from "./index-apply.ts";
import { readSource } from "./index-source.ts";
import type { Queryable } from "./pool.ts";

/**
 * What this process knows of the tables behind indexes: their catalog, and the SQL made from it. Kept
 * as long as the stamp of the table says that nothing about it has changed.
 */
export class IndexSources {
  readonly #language: string;
  readonly #known = new Map<string, { stamp: string; type: SearchType; indexed: Indexed }>();

  constructor({ settings }: Pick<SearchRegistry, "settings">) {
    this.#language = settings.language;
  }

  /**
   * @param stamp as `stampOf` gives it
   * @throws as `readSource`
   */
  async get(
    db: Queryable,
    schema: string,
    type: SearchType,
    stamp: string | null,
  ): Promise<Indexed> {
    const name = `${schema}\0${type.name}`;
    const known = this.#known.get(name);
    if (known && known.stamp === stamp && known.type === type) return known.indexed;
    this.#known.delete(name);
    const source = await readSource(db, schema, type);
    const indexed = { source, sql: indexSql(source, this.#language) };
    if (stamp !== null) {
      if (this.#known.size >= MOST_KNOWN) this.#known.clear();
      this.#known.set(name, { stamp, type, indexed });
    }
    return indexed;
  }

  /** What is known of a type turned out to be wrong. */
  forget(schema: string, type: SearchType): void {
    this.#known.delete(`${schema}\0${type.name}`);
  }
}

const MOST_KNOWN = 5_000;

/** SQL: all of a table's shape that the SQL made for it hangs on; null without such a table. */
export const stampOf = (schema: string, table: string) => `(
  select c.oid || ':' || coalesce((select i.indexrelid from pg_index i
                                    where i.indrelid = c.oid and i.indisprimary), 0) || ':' ||
         (select string_agg(a.attname || ' ' || a.atttypid || ' ' || a.atttypmod, ',' order by a.attnum)
            from pg_attribute a
           where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
   where n.nspname = ${schema} and c.relname = ${table})`;
