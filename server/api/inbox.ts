import type { Context } from "hono";
import { z } from "zod";
import type { Holdfast } from "../../client/index.ts";
import { InvalidInput } from "../../contracts/errors.ts";
import {
  EntityDetailShape,
  EntityFilter,
  InboxEntityId,
  EntityView,
  INBOX_LIMITS,
  InboxStatus,
  IngestAnswer,
  IngestHeader,
  RejectFilter,
  RejectView,
  Requeue,
  Requeued,
  RequestDetail,
  RequestFilter,
  RequestId,
  RequestView,
  StatusFilter,
  type EntityInput,
} from "../../contracts/inbox.ts";
import { IdempotencyKey } from "../../contracts/operation.ts";
import { exactJson } from "../../domain/exact-json.ts";
import {
  assertMediaType,
  bodyBytes,
  exactJsonObject,
  ITEMS_JSON_BYTES,
  jsonObject,
  NDJSON_TYPE,
  SEND_LINES,
} from "../body.ts";
import { KeyHeader, withKey } from "./idempotency-key.ts";
import { given, text } from "./parameters.ts";
import { listOf, pageOf, route, type Api } from "./route.ts";

const tag = "inbox";
const Answer = IngestAnswer.meta({ id: "IngestAnswer" });
const Entity = z.record(z.string(), z.unknown()).meta({
  id: "EntityInput",
  description:
    '{"timestamp": RFC 3339, "<type>": {...}} or {"object_type", "entity", "timestamp"?, "branch"?}',
});
const Body = IngestHeader.extend({ entities: z.array(Entity).max(INBOX_LIMITS.entities) }).meta({
  id: "Ingest",
});

/** What stands beside the entities of a JSON body, as parameters. The values are judged as there. */
const HeaderParameters = z.strictObject({
  tenant: text(100).optional(),
  branch: text(200).optional(),
  source: text(200).optional(),
  messageId: text(255).optional(),
  snapshot: text(200).optional(),
  graceSeconds: z.coerce.number().int().optional(),
  allowEmpty: z.stringbool().optional(),
});
type HeaderParameters = z.output<typeof HeaderParameters>;

const OfRequest = z.strictObject({ id: RequestId });

/** Entities on their way in, and what became of them. */
export function inboxRoutes(api: Api): void {
  route(
    api,
    {
      action: "ingest",
      method: "post",
      path: "/v1/inbox/entities",
      id: "ingestEntities",
      tag,
      summary: "Take entities in, in one transaction; what is wrong with one is told of it alone",
      description: [
        `JSON up to ${ITEMS_JSON_BYTES} bytes and ${INBOX_LIMITS.entities} entities, or NDJSON up to ${INBOX_LIMITS.uploadBytes} bytes and ${INBOX_LIMITS.lines} lines: one entity a line, streamed, with everything else as query parameters.`,
        "`Idempotency-Key` is the same as `messageId`: a repeat is answered with 200 as the first time, and changes nothing.",
        "With `snapshot` the entities are everything in that scope: what it held before and they do not name, is missing from now on, and its removal is planned when `graceSeconds` are over. Where an entity is rejected, nothing is missing, for it might have been named.",
        "An upload that ends early leaves nothing.",
      ].join(" "),
      query: HeaderParameters,
      headers: KeyHeader,
      body: {
        content: {
          "application/json": { schema: Body },
          [NDJSON_TYPE]: { schema: Entity },
        },
      },
      answer: Answer,
      status: 202,
      also: {
        200: { description: "Taken before, as the same message", schema: Answer },
        413: { description: "Over a stated limit" },
        429: { description: "The tenant has as many entities queued as it may have" },
      },
    },
    async ({ c, holdfast, query }) => {
      const answer = await ingest(c, holdfast, query);
      c.header("location", `/v1/inbox/requests/${answer.request}`);
      return c.json(answer, answer.repeated ? 200 : 202);
    },
  );
  requests(api);
  entities(api);
}

async function ingest(
  c: Context,
  holdfast: Holdfast,
  query: HeaderParameters,
): Promise<z.infer<typeof IngestAnswer>> {
  const type = assertMediaType(c, ["application/json", NDJSON_TYPE]);
  if (type === NDJSON_TYPE) {
    const lines = bodyBytes(c, INBOX_LIMITS.uploadBytes, "split it");
    return holdfast.inbox.ingestLines(lines, named(c, headerOf(query)));
  }
  const extra = Object.keys(query);
  if (extra.length > 0) {
    throw new InvalidInput([
      { path: "query", message: `${extra.join(", ")}: a JSON body carries this itself` },
    ]);
  }
  const body = await exactJsonObject(c, ITEMS_JSON_BYTES, SEND_LINES);
  const { entities, ...header } = body;
  if (!Array.isArray(entities)) {
    throw new InvalidInput([{ path: "entities", message: "must be a list of entities" }]);
  }
  return holdfast.inbox.ingest(entities as readonly EntityInput[], named(c, header));
}

function headerOf({ snapshot, graceSeconds, allowEmpty, ...rest }: HeaderParameters): IngestHeader {
  if (snapshot !== undefined) {
    return {
      ...given(rest),
      snapshot: { scope: snapshot, ...given({ graceSeconds, allowEmpty }) },
    };
  }
  if (graceSeconds !== undefined || allowEmpty !== undefined) {
    const message = "graceSeconds and allowEmpty go with it: name the scope";
    throw new InvalidInput([{ path: "query: snapshot", message }]);
  }
  return given(rest);
}

/** Of source `http` unless it says otherwise, and with the header as the name of the message. */
function named(c: Context, header: IngestHeader): IngestHeader {
  const { messageId, ...rest } = header;
  const { key } = withKey(c, { key: messageId });
  if (key === undefined) return { source: "http", ...rest };
  if (!IdempotencyKey.safeParse(key).success && messageId === undefined) {
    const message = "must be 1 to 255 printable ASCII characters";
    throw new InvalidInput([{ path: "Idempotency-Key", message }]);
  }
  return { source: "http", ...rest, messageId: key };
}

function requests(api: Api): void {
  const read = { action: "read", method: "get", tag } as const;
  route(
    api,
    {
      ...read,
      path: "/v1/inbox/requests",
      id: "listIngestRequests",
      summary: "What was taken in, by call, file or message, newest first",
      query: RequestFilter,
      answer: pageOf(RequestView.meta({ id: "IngestRequest" })).meta({ id: "IngestRequestPage" }),
    },
    ({ holdfast, query }) => holdfast.inbox.requests(given(query)),
  );
  route(
    api,
    {
      ...read,
      path: "/v1/inbox/requests/{id}",
      id: "getIngestRequest",
      summary: "One request, with what became of what it brought, by state",
      description: "`settled` is true when nothing of it happens by itself any more.",
      params: OfRequest,
      answer: RequestDetail.meta({ id: "IngestRequestDetail" }),
    },
    ({ holdfast, params }) => holdfast.inbox.request(params.id),
  );
  route(
    api,
    {
      ...read,
      path: "/v1/inbox/requests/{id}/rejects",
      id: "listRejects",
      summary: "What of a request could not be taken, and why, in its order",
      params: OfRequest,
      query: RejectFilter,
      answer: pageOf(RejectView.meta({ id: "Reject" })).meta({ id: "RejectPage" }),
    },
    ({ holdfast, params, query }) => holdfast.inbox.rejects(params.id, given(query)),
  );
  route(
    api,
    {
      ...read,
      path: "/v1/inbox/status",
      id: "getInboxStatus",
      summary: "How much is to come, by tenant and branch, how old it is, and what is held",
      query: StatusFilter,
      answer: listOf(InboxStatus.meta({ id: "InboxStatus" })),
    },
    async ({ holdfast, query }) => ({ items: await holdfast.inbox.status(given(query)) }),
  );
}

function entities(api: Api): void {
  const read = { action: "read", method: "get", tag } as const;
  route(
    api,
    {
      ...read,
      path: "/v1/inbox/entities",
      id: "listEntities",
      summary: "Entities that were taken in, newest first",
      query: EntityFilter,
      answer: pageOf(EntityView.meta({ id: "Entity" })).meta({ id: "EntityPage" }),
    },
    ({ holdfast, query }) => holdfast.inbox.list(given(query)),
  );
  route(
    api,
    {
      ...read,
      path: "/v1/inbox/entities/{id}",
      id: "getEntity",
      summary: "One entity with what it says. Integers beyond 2^53 are exact",
      params: z.strictObject({ id: InboxEntityId }),
      answer: EntityDetailShape.meta({ id: "EntityDetail" }),
    },
    async ({ c, holdfast, params }) => {
      const entity = await holdfast.inbox.get(params.id);
      // The platform's own writer refuses integers that it cannot hold.
      const json = exactJson(entity);
      return c.body(json, 200, { "content-type": "application/json" });
    },
  );
  route(
    api,
    {
      action: "decide",
      method: "post",
      path: "/v1/inbox/requeue",
      id: "requeueEntities",
      tag,
      summary: "Plan again what failed or gave up: some by id, or all that a filter finds",
      body: { content: { "application/json": { schema: Requeue.meta({ id: "Requeue" }) } } },
      answer: Requeued.meta({ id: "Requeued" }),
    },
    async ({ c, holdfast }) => holdfast.inbox.requeue((await jsonObject(c)) as Requeue),
  );
}
