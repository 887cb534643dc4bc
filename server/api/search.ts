import { z } from "zod";
import { InvalidInput } from "../../contracts/errors.ts";
import { Accepted } from "../../contracts/operation.ts";
import { ReindexSubmit, SearchAudit } from "../../contracts/reindex.ts";
import { Marked } from "../../contracts/search-mark.ts";
import {
  LOOKUPS,
  MarkDirty,
  SearchPage,
  SearchStatus,
  SearchTypeView,
  type SearchQuery,
} from "../../contracts/search.ts";
import { jsonObject, jsonObjectIfAny, NDJSON_TYPE } from "../body.ts";
import { answerLines } from "./lines.ts";
import { given, text } from "./parameters.ts";
import { listOf, route, type Api } from "./route.ts";

const Found = SearchPage.meta({ id: "SearchPage" });
const Status = SearchStatus.meta({ id: "SearchStatus" });
const Type = SearchTypeView.meta({ id: "SearchType" });
const Marks = MarkDirty.meta({ id: "SearchMarks" });
const Reindex = ReindexSubmit.meta({ id: "Reindex" });
const Audit = SearchAudit.meta({ id: "SearchAudit" });
const AcceptedAnswer = Accepted.meta({ id: "Accepted" });

/** Bytes of a body of keys. */
const KEYS_BYTES = 16 * 1024 * 1024;

const repeatable = z
  .union([text(63), z.array(text(63)).max(100)])
  .transform((value) => [value].flat())
  .optional();

const Query = z.strictObject({
  text: text(1_000),
  lookup: z.enum(LOOKUPS).optional(),
  type: repeatable,
  field: repeatable,
  schema: text(63).optional(),
  viewer: text(8_000).optional().meta({ description: "A JSON object: whom the results are for" }),
  limit: z.coerce.number().int().min(1).max(200).optional(),
  after: text(8_000).optional(),
});

/** Finding objects, and looking after what makes that true. */
export function searchRoutes(api: Api): void {
  const tag = "search";
  route(
    api,
    {
      action: "read",
      method: "get",
      path: "/v1/search",
      id: "search",
      tag,
      summary: "Objects by what is written in them, one result each, the best first",
      query: Query,
      answer: Found,
      also: {
        409: { description: "Nothing is installed to be searched" },
        422: { description: "More is found than can be put in order: narrow it" },
      },
    },
    ({ holdfast, query: { type, field, viewer, ...query } }) =>
      holdfast.search.query(
        given({ ...query, types: type, fields: field, viewer: viewerIn(viewer) }),
      ),
  );
  route(
    api,
    {
      action: "read",
      method: "get",
      path: "/v1/search/types",
      id: "listSearchTypes",
      tag,
      summary: "What is registered, with its fields",
      answer: listOf(Type).meta({ id: "SearchTypeList" }),
    },
    ({ holdfast }) => ({ items: holdfast.search.types() }),
  );
  route(
    api,
    {
      action: "read",
      method: "get",
      path: "/v1/search/status",
      id: "getSearchStatus",
      tag,
      summary: "Every index: what waits for it, what is wrong, and how long changes take",
      answer: Status,
    },
    ({ holdfast }) => holdfast.search.status(),
  );
  route(
    api,
    {
      action: "mark",
      method: "post",
      path: "/v1/search/marks",
      id: "markDirty",
      tag,
      summary: "Say that objects are dirty, where no trigger can see it",
      body: { content: { "application/json": { schema: Marks } } },
      answer: Marked.meta({ id: "SearchMarked" }),
      status: 202,
      also: { 409: { description: "The type is not installed there" } },
    },
    async ({ c, holdfast }) =>
      holdfast.search.markDirty((await jsonObject(c, KEYS_BYTES)) as unknown as MarkDirty),
  );
  route(
    api,
    {
      action: "reindex",
      method: "post",
      path: "/v1/search/reindex",
      id: "reindex",
      tag,
      summary: "Build indexes anew beside those that are searched, then swap them",
      body: { required: false, content: { "application/json": { schema: Reindex } } },
      answer: AcceptedAnswer,
      status: 202,
      also: {
        200: { description: "Accepted before", schema: AcceptedAnswer },
        409: { description: "They are being built already" },
      },
    },
    async ({ c, holdfast }) => {
      const accepted = await holdfast.search.reindex(await jsonObjectIfAny(c));
      c.header("location", `/v1/operations/${accepted.id}`);
      return c.json(accepted, accepted.existing ? 200 : 202);
    },
  );
  route(
    api,
    {
      action: "repair",
      method: "post",
      path: "/v1/search/audit",
      id: "auditSearch",
      tag,
      summary: "Compare indexes with what they are made from, a page at a time",
      description: "With `repair`, what differs is marked to be indexed again.",
      body: { required: false, content: { "application/json": { schema: Audit } } },
      streams: { mediaType: NDJSON_TYPE, description: "One audited page a line" },
    },
    async ({ c, holdfast }) => {
      const pages = holdfast.search.audit(await jsonObjectIfAny(c))[Symbol.asyncIterator]();
      return answerLines(async () => {
        const { done, value } = await pages.next();
        return done ? { items: [] } : { items: [value], next: "the next page" };
      }, undefined);
    },
  );
}

function viewerIn(text: string | undefined): SearchQuery["viewer"] {
  if (text === undefined) return undefined;
  try {
    const viewer: unknown = JSON.parse(text);
    if (typeof viewer === "object" && viewer !== null && !Array.isArray(viewer)) {
      return viewer as NonNullable<SearchQuery["viewer"]>;
    }
  } catch {
    // Said below, as for JSON that is no object.
  }
  throw new InvalidInput([{ path: "query: viewer", message: "must be a JSON object" }]);
}
