import { SearchType } from "../contracts/search.ts";

/**
 * What is searchable out of the box: retained documents and facts, and objects of the inventory. Visible
 * to callers of their tenant; `viewer.tenants` is absent for callers of all tenants.
 */

const ofTheTenant = (bank: string) =>
  `exists (select from {schema}.banks b
            where b.id = ${bank} and b.erased_at is null
              and (viewer -> 'tenants' is null or viewer -> 'tenants' ? b.tenant))`;

/** SQL: a field of an object, where it is text. */
const text = (field: string) =>
  `case when jsonb_typeof(t.data -> '${field}') = 'string' then t.data ->> '${field}' end`;

/** By what people look for an object, whatever registry it is of; best first. */
const OBJECT_FIELDS = [
  { name: "serial", weight: 50, sql: text("serial"), columns: ["data"] },
  { name: "asset_tag", weight: 60, sql: text("asset_tag"), columns: ["data"] },
  { name: "name", weight: 100, sql: text("name"), columns: ["data"] },
  { name: "address", kind: "address", weight: 110, sql: text("address"), columns: ["data"] },
  { name: "prefix", kind: "network", weight: 110, sql: text("prefix"), columns: ["data"] },
  { name: "mac_address", weight: 120, sql: text("mac_address"), columns: ["data"] },
  { name: "model", weight: 200, sql: text("model"), columns: ["data"] },
  { name: "slug", weight: 200, sql: text("slug"), columns: ["data"] },
  { name: "label", weight: 300, sql: text("label"), columns: ["data"] },
  { name: "version", weight: 400, sql: text("version"), columns: ["data"] },
  { name: "description", kind: "prose", weight: 500, sql: text("description"), columns: ["data"] },
  { name: "comments", kind: "prose", weight: 5_000, sql: text("comments"), columns: ["data"] },
] as const;

export function builtInTypes(schema: string): SearchType[] {
  return [
    {
      name: "document",
      label: "Documents",
      category: "Retained",
      table: "documents",
      schema,
      // A row without parts only remembers an order: nothing was written yet, or it was erased.
      when: `exists (select from {schema}.document_parts p
                      where p.bank_id = t.bank_id and p.document_id = t.document_id)`,
      visible: ofTheTenant("t.bank_id"),
      title: "t.document_id",
      fields: [
        { name: "id", column: "document_id", weight: 100 },
        {
          name: "tags",
          weight: 300,
          many: true,
          sql: `(select array_agg(distinct tag)
                   from {schema}.document_parts p cross join unnest(p.tags) tag
                  where p.bank_id = t.bank_id and p.document_id = t.document_id
                    and p.seq >= coalesce(t.head_seq, 0))`,
        },
        {
          name: "content",
          kind: "prose" as const,
          weight: 5_000,
          many: true,
          sql: `(select array_agg(c.text order by c.part_seq, c.no)
                   from {schema}.document_parts p
                   join {schema}.chunks c on c.part_seq = p.seq
                  where p.bank_id = t.bank_id and p.document_id = t.document_id)`,
        },
      ],
      display: [
        { name: "tenant", sql: "(select b.tenant from {schema}.banks b where b.id = t.bank_id)" },
        { name: "bank", sql: "(select b.name from {schema}.banks b where b.id = t.bank_id)" },
        { name: "updated", sql: "to_char(t.updated_at, 'YYYY-MM-DD HH24:MI')" },
      ],
    },
    {
      name: "fact",
      label: "Facts",
      category: "Retained",
      table: "facts",
      schema,
      // Those of a part that is being written belong to no document yet.
      visible: `${ofTheTenant("t.bank_id")}
        and exists (select from {schema}.document_parts p where p.seq = t.part_seq)`,
      title: "left(t.text, 120)",
      fields: [
        {
          name: "entities",
          weight: 200,
          many: true,
          columns: ["part_seq", "chunk_no", "ordinal"],
          sql: `(select array_agg(e.name) from {schema}.fact_entities e
                  where (e.part_seq, e.chunk_no, e.ordinal)
                      = (t.part_seq, t.chunk_no, t.ordinal))`,
        },
        { name: "text", kind: "prose" as const, weight: 500 },
      ],
      display: [
        { name: "tenant", sql: "(select b.tenant from {schema}.banks b where b.id = t.bank_id)" },
        { name: "bank", sql: "(select b.name from {schema}.banks b where b.id = t.bank_id)" },
        {
          name: "document",
          sql: "(select p.document_id from {schema}.document_parts p where p.seq = t.part_seq)",
        },
      ],
    },
    {
      name: "object",
      label: "Objects",
      category: "Inventory",
      table: "objects",
      schema,
      visible: "viewer -> 'tenants' is null or viewer -> 'tenants' ? t.tenant",
      title: `initcap(replace(t.type, '_', ' ')) || ' '
        || coalesce(${["name", "address", "prefix", "model", "serial", "asset_tag"].map(text).join(", ")}, t.id::text)`,
      fields: OBJECT_FIELDS,
      display: [
        { name: "tenant" },
        { name: "branch" },
        { name: "type" },
        { name: "status", sql: text("status") },
        { name: "updated", sql: "to_char(t.updated_at, 'YYYY-MM-DD HH24:MI')" },
      ],
    },
  ].map((type) => SearchType.parse(type));
}
