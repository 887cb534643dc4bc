import { z } from "zod";
import { storable, Tenant } from "./operation.ts";

/**
 * What is searchable, declared once in `holdfast.config.ts`, and what may be asked of it. SQL in a
 * declaration is the operator's own: it runs with the rights of Holdfast's role, with `t` for the row
 * and `{schema}` for the schema the row lives in.
 */

const SqlName = z
  .string()
  .min(1)
  .max(63, "must be at most 63 characters, as Postgres cuts longer names")
  .superRefine(storable);
const Sql = z.string().min(1).max(10_000).superRefine(storable);
const Word = z
  .string()
  .regex(/^[a-z][a-z0-9_-]{0,62}$/, "must be 1 to 63 of a-z 0-9 _ -, first a letter");
const Label = z.string().min(1).max(100).superRefine(storable);

/**
 * How a field is matched. `text`: letters in it. `prose`: words of it, stemmed in the configured
 * language. `number`, `date`: like text, by what is shown. `address`: an IP host, in any spelling.
 * `network`: a prefix, found also by an address inside it.
 */
export const FIELD_KINDS = ["text", "prose", "number", "date", "address", "network"] as const;
export type FieldKind = (typeof FIELD_KINDS)[number];

export const SearchField = z
  .object({
    name: Word,
    label: Label.optional(),
    kind: z.enum(FIELD_KINDS).default("text"),
    /** 1 (most important) to 32,767. Guidance: 50 serial, 100 name, 500 description, 5000 comments. */
    weight: z.number().int().min(1).max(32_767).default(1_000),
    /** Default: the column of the field's name. */
    column: SqlName.optional(),
    /** A computed value: an SQL expression over `t`. */
    sql: Sql.optional(),
    /** Own columns a computed value reads. Default: any change of the row marks it. */
    columns: z.array(SqlName).max(100).optional(),
    /** The value is an array: each member is found by itself. */
    many: z.boolean().default(false),
  })
  .strict()
  .refine((field) => !(field.column && field.sql), {
    path: ["sql"],
    message: "give a column or sql, not both",
  });
export type SearchField = z.infer<typeof SearchField>;

/** An attribute shown with a result, read live, not searchable: its first 1,000 characters. */
export const SearchDisplay = z
  .object({ name: Word, label: Label.optional(), column: SqlName.optional(), sql: Sql.optional() })
  .strict();
export type SearchDisplay = z.infer<typeof SearchDisplay>;

/** What else an object's fields are made of: a change there marks the objects it concerns. */
export const SearchDependency = z
  .object({
    /** A table in the same schema. */
    table: SqlName,
    /** The column of that table by which objects refer to it. */
    key: SqlName.default("id"),
    /** Columns whose change matters. Default: all. */
    columns: z.array(SqlName).max(100).optional(),
    /** The own column that holds the parent's key. */
    via: SqlName.optional(),
    /** Or a condition over `t`, with `{keys}` for the array of changed parent keys. */
    where: Sql.optional(),
  })
  .strict()
  .refine((dependency) => (dependency.via === undefined) !== (dependency.where === undefined), {
    path: ["via"],
    message: "give either via (a column) or where (a condition with {keys})",
  });
export type SearchDependency = z.infer<typeof SearchDependency>;

export const SearchType = z
  .object({
    name: Word,
    /** Plural, for people: `Sites`. Default: the name. */
    label: Label.optional(),
    category: Label.optional(),
    /** An ordinary or partitioned table with a primary key, without its schema. */
    table: SqlName,
    /** The one schema the type lives in. Default: every schema it is installed in. */
    schema: SqlName.optional(),
    fields: z.array(SearchField).min(1).max(100),
    /** What a result is called: an SQL expression over `t`. Default: its best field. */
    title: Sql.optional(),
    display: z.array(SearchDisplay).max(20).default([]),
    /** Which rows are indexed: a condition over `t`. Default: all. */
    when: Sql.optional(),
    /** Who may find an object: a condition over `t` and `viewer` (jsonb). Default: callers without tenant scope. */
    visible: Sql.optional(),
    /** Address of an object's page, with `{key}`. */
    url: z.string().max(500).optional(),
    dependsOn: z.array(SearchDependency).max(20).default([]),
  })
  .strict()
  .superRefine((type, context) => {
    const seen = new Set<string>();
    for (const [index, { name }] of type.fields.entries()) {
      if (seen.has(name)) {
        const message = `"${name}" is declared twice`;
        context.addIssue({ code: "custom", path: ["fields", index, "name"], message });
      }
      seen.add(name);
    }
  });
/** A type as read: every default in its place. */
export type SearchType = z.infer<typeof SearchType>;
/** A type as written in `holdfast.config.ts`. */
export type SearchTypeInput = z.input<typeof SearchType>;

export const SearchSettings = z
  .object({
    types: z.array(SearchType).max(1_000).default([]),
    /** Schemas types are installed in by default. The first is searched when none is named. */
    schemas: z.array(SqlName).min(1).max(1_000).default(["public"]),
    /** A Postgres text search configuration, for prose. */
    language: z
      .string()
      .regex(/^[a-z_]+$/)
      .default("english"),
    /** Apply marks where they are made, without a worker. Writers pay for it. */
    inline: z.boolean().default(false),
    /** Retained documents and facts. */
    builtIn: z.boolean().default(true),
  })
  .strict()
  .superRefine(({ types }, context) => {
    const seen = new Set<string>();
    for (const [index, { name }] of types.entries()) {
      if (seen.has(name)) {
        const message = `"${name}" is declared twice`;
        context.addIssue({ code: "custom", path: ["types", index, "name"], message });
      }
      seen.add(name);
    }
  });
export type SearchSettings = z.infer<typeof SearchSettings>;
export type SearchSettingsInput = z.input<typeof SearchSettings>;

/**
 * How text is matched against values; all but `regex` take it literally, none minds case. `partial`
 * (the default) also matches prose by its words, networks by an address inside and hosts in any
 * spelling. `words` matches prose and nothing else.
 */
export const LOOKUPS = ["partial", "exact", "starts-with", "ends-with", "regex", "words"] as const;
export type Lookup = (typeof LOOKUPS)[number];

/** Nothing deeper is read of a viewer; deeper than this nobody says who somebody is. */
const VIEWER_DEPTH = 10;

function readableByPostgres(viewer: unknown, context: z.RefinementCtx): void {
  let level: unknown[] = [viewer];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > VIEWER_DEPTH) {
      const message = `must not be nested more than ${VIEWER_DEPTH} deep`;
      context.addIssue({ code: "custom", message });
      return;
    }
    const inside: unknown[] = [];
    for (const value of level) {
      if (typeof value === "string") storable(value, context);
      if (typeof value !== "object" || value === null) continue;
      if (!Array.isArray(value)) inside.push(...Object.keys(value));
      inside.push(...Object.values(value));
    }
    level = inside;
  }
}

// Looked at before it is taken apart, which goes as deep as it is nested.
const Viewer = z
  .custom<Record<string, unknown>>()
  .superRefine(readableByPostgres)
  .pipe(z.record(z.string(), z.json()));

export const SearchQuery = z
  .object({
    text: z
      .string()
      .trim()
      .min(1, "must not be empty")
      .max(1_000, "must be at most 1,000 characters")
      .superRefine(storable),
    lookup: z.enum(LOOKUPS).default("partial"),
    types: z.array(Word).min(1).max(100).optional(),
    fields: z.array(Word).min(1).max(100).optional(),
    /** Which schema's objects. Default: the first configured one. */
    schema: SqlName.optional(),
    /** Whom the results are for; read by each type's `visible`. */
    viewer: Viewer.optional(),
    limit: z.coerce.number().int().min(1).max(200).default(50),
    /** The `next` of the page before. */
    after: z.string().max(8_000).optional(),
  })
  .strict();
export type SearchQuery = z.input<typeof SearchQuery>;

export const SearchHit = z.object({
  type: z.string(),
  typeLabel: z.string(),
  schema: z.string(),
  /** The primary key as text; a JSON array of texts when it has several columns. */
  key: z.string(),
  title: z.string(),
  url: z.string().nullable(),
  field: z.string(),
  fieldLabel: z.string(),
  weight: z.number().int(),
  /** About 60 characters of the value around the match. */
  value: z.string(),
  /** Where in `value` the text was found: pairs of offsets, UTF-16 units. */
  highlights: z.array(z.tuple([z.number().int(), z.number().int()])),
  display: z.array(z.object({ name: z.string(), label: z.string(), value: z.string().nullable() })),
});
export type SearchHit = z.infer<typeof SearchHit>;

export const SearchPage = z.object({
  items: z.array(SearchHit),
  /** Objects found, counted up to a bound. */
  total: z.number().int(),
  /** False: there are more than `total`. */
  totalIsExact: z.boolean(),
  /** Types that could not be searched just now, with the reason: nothing of them is in the page. */
  leftOut: z.array(z.object({ type: z.string(), reason: z.string() })),
  next: z.string().optional(),
});
export type SearchPage = z.infer<typeof SearchPage>;

/** A registered type, for whoever offers a choice of them. */
export const SearchTypeView = z.object({
  name: z.string(),
  label: z.string(),
  category: z.string().nullable(),
  /** Where it is installed by default. */
  schemas: z.array(z.string()),
  fields: z.array(
    z.object({
      name: z.string(),
      label: z.string(),
      kind: z.enum(FIELD_KINDS),
      weight: z.number().int(),
    }),
  ),
});
export type SearchTypeView = z.infer<typeof SearchTypeView>;

/** "This object is dirty": by hand, for what no trigger can see. */
export const MarkDirty = z
  .object({
    schema: SqlName.optional(),
    type: Word,
    /** Primary keys as text; a JSON array of texts when there are several columns. */
    keys: z.array(z.string().min(1).max(2_000).superRefine(storable)).min(1).max(100_000),
    tenant: Tenant.optional(),
  })
  .strict();
export type MarkDirty = z.input<typeof MarkDirty>;

/** One type in one schema, as `search status` shows it. Times are ISO instants. */
export const SearchIndexView = z.object({
  schema: z.string(),
  type: z.string(),
  label: z.string(),
  installed: z.boolean(),
  objects: z.number().int(),
  generation: z.number().int(),
  builtAt: z.string().nullable(),
  building: z.object({ operationId: z.string(), objects: z.number().int() }).nullable(),
  /** Rows of marks that wait, and since when the oldest does. */
  marks: z.number().int(),
  oldestMarkAt: z.string().nullable(),
  quarantined: z.number().int(),
  /** What is not as it should be, in words, with the next step. */
  problems: z.array(z.string()),
});
export type SearchIndexView = z.infer<typeof SearchIndexView>;

export const SearchLaneView = z.object({
  lane: z.number().int(),
  marks: z.number().int(),
  oldestMarkAt: z.string().nullable(),
  applied: z.number().int(),
  failingSince: z.string().nullable(),
  lastError: z.string().nullable(),
});
export type SearchLaneView = z.infer<typeof SearchLaneView>;

export const SearchStatus = z.object({
  indexes: z.array(SearchIndexView),
  lanes: z.array(SearchLaneView),
  /** Seconds from commit to visible, over all that was applied. */
  visibleAfter: z.object({
    count: z.number().int(),
    p50: z.number().nullable(),
    p95: z.number().nullable(),
    p99: z.number().nullable(),
  }),
  trigrams: z.boolean(),
});
export type SearchStatus = z.infer<typeof SearchStatus>;

/** An object as external backends are given it. */
export interface SearchObject {
  schema: string;
  type: string;
  key: string;
  fields: readonly { field: string; weight: number; kind: FieldKind; value: string }[];
}

/**
 * Where objects are indexed when not in Postgres: four methods, all safe to repeat. They know
 * nothing of marks, lanes or transactions: `cache` and `remove` are called after the commit, with
 * what is live, one caller at a time for an object. `fence` rises; a backend that can, refuses less.
 */
export interface SearchBackend {
  search(
    query: z.output<typeof SearchQuery>,
    context: { schema: string; types: readonly string[]; signal: AbortSignal },
  ): Promise<{
    items: { type: string; key: string; field: string; value: string }[];
    total: number;
  }>;
  cache(
    objects: readonly SearchObject[],
    context: { fence: bigint; signal: AbortSignal },
  ): Promise<void>;
  remove(
    objects: readonly { schema: string; type: string; key: string }[],
    context: { fence: bigint; signal: AbortSignal },
  ): Promise<void>;
  /** Forgets everything of these types in a schema; without types, of the schema. */
  clear(
    scope: { schema: string; types?: readonly string[] },
    context: { fence: bigint; signal: AbortSignal },
  ): Promise<void>;
}
