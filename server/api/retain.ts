import { z } from "zod";
import type { Context } from "hono";
import type { Holdfast } from "../../client/index.ts";
import { InvalidInput } from "../../contracts/errors.ts";
import { Accepted } from "../../contracts/operation.ts";
import { RETAIN_LIMITS, RetainItem, RetainOptions, RetainSubmit } from "../../contracts/retain.ts";
import {
  assertMediaType,
  bodyBytes,
  ITEMS_JSON_BYTES,
  jsonObject,
  NDJSON_BYTES,
  NDJSON_TYPE,
  SEND_LINES,
} from "../body.ts";
import { KeyHeader, withKey } from "./idempotency-key.ts";
import { text } from "./parameters.ts";
import { route, type Api } from "./route.ts";

type Header = Omit<RetainSubmit, "items">;

const whole = z.coerce.number().int().optional();

/** What stands beside the items of a JSON body, as parameters. The values are judged as there. */
const HeaderParameters = z.strictObject({
  bank: text(1_000).optional(),
  tenant: text(100).optional(),
  key: text(255).optional(),
  documentTags: z.union([z.string(), z.array(z.string())]).optional(),
  priority: whole,
  budget: whole,
  batchItems: whole,
  chunkSize: whole,
  maxAttempts: whole,
  startAfter: z.string().optional(),
});
type HeaderParameters = z.output<typeof HeaderParameters>;

const AcceptedAnswer = Accepted.meta({ id: "Accepted" });
const Item = RetainItem.meta({ id: "RetainItem" });
const Submit = RetainSubmit.extend({
  items: z.array(Item).min(1).max(RETAIN_LIMITS.items),
}).meta({ id: "RetainSubmit" });

/** Handing over documents. */
export function retainRoutes(api: Api): void {
  route(
    api,
    {
      action: "submit",
      method: "post",
      path: "/v1/retain",
      id: "submitRetain",
      tag: "retain",
      summary: "Accept a batch of documents in one transaction",
      description: [
        `JSON up to ${ITEMS_JSON_BYTES} bytes, or NDJSON up to ${NDJSON_BYTES} bytes: one item a line, streamed, with everything else as query parameters.`,
        "`Idempotency-Key` is the same as `key`: a repeat with the same content answers the same operation with 200, with other content 409.",
        "An upload that ends early leaves nothing.",
      ].join(" "),
      query: HeaderParameters,
      headers: KeyHeader,
      body: {
        content: {
          "application/json": { schema: Submit },
          [NDJSON_TYPE]: { schema: Item },
        },
      },
      answer: AcceptedAnswer,
      status: 202,
      also: {
        200: { description: "Accepted before, under the same key", schema: AcceptedAnswer },
        409: { description: "The key was used for other content" },
        413: { description: "Over a stated limit" },
        422: { description: "The validator refused an item" },
        429: { description: "The tenant has as much open work as it may have" },
      },
    },
    async ({ c, holdfast, query }) => {
      const accepted = await submit(c, holdfast, query);
      c.header("location", `/v1/operations/${accepted.id}`);
      return c.json(accepted, accepted.existing ? 200 : 202);
    },
  );
}

async function submit(c: Context, holdfast: Holdfast, query: HeaderParameters): Promise<Accepted> {
  const type = assertMediaType(c, ["application/json", NDJSON_TYPE]);
  if (type === NDJSON_TYPE) {
    const header = withKey(c, headerOf(query));
    return holdfast.retain.submitLines(header, bodyBytes(c, NDJSON_BYTES));
  }
  const extra = Object.keys(query);
  if (extra.length > 0) {
    throw new InvalidInput([
      { path: "query", message: `${extra.join(", ")}: a JSON body carries this itself` },
    ]);
  }
  const input = await jsonObject(c, ITEMS_JSON_BYTES, SEND_LINES);
  return holdfast.retain.submit(withKey(c, input as unknown as RetainSubmit));
}

function headerOf(query: HeaderParameters): Header {
  const { bank, tenant, key, documentTags, ...rest } = query;
  const options = RetainOptions.partial()
    .keyof()
    .options.flatMap((name) => {
      const value = rest[name];
      return value === undefined ? [] : [[name, value] as const];
    });
  return {
    // A missing bank is refused with everything else that is wrong.
    bank: bank as string,
    ...(tenant === undefined ? {} : { tenant }),
    ...(key === undefined ? {} : { key }),
    ...(documentTags === undefined ? {} : { documentTags: [documentTags].flat() }),
    ...(options.length > 0 ? { options: Object.fromEntries(options) } : {}),
  };
}
