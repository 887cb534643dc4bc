import { z } from "zod";
import {
  BatchView,
  ItemView,
  LogLine,
  OperationFilter,
  OperationId,
  OperationView,
  OUTCOMES,
  STATES,
} from "../../contracts/operation.ts";
import { jsonObjectIfAny, NDJSON_TYPE } from "../body.ts";
import { parseInput } from "../../client/input.ts";
import { AuditView, auditView } from "./audit.ts";
import { EventView, eventView } from "./events.ts";
import { answerLines, PAGE_OF_LINES, wantsLines } from "./lines.ts";
import { cursor, given, limit, number, OfOperation, smallCursor, text } from "./parameters.ts";
import { answerProgress } from "./progress-stream.ts";
import { listOf, pageOf, route, type Api } from "./route.ts";

const tag = "operations";
const lines = {
  mediaType: NDJSON_TYPE,
  description: "With this in `Accept`: all of them from `after` on, one a line, without pages",
};
const Operation = OperationView.meta({ id: "Operation" });
const Filter = OperationFilter.extend({
  state: z.enum([...STATES, "open"]).optional(),
  scope: text(1_000).optional(),
  after: OperationId.optional(),
});
const Pause = z.strictObject({ reason: text(500).min(1).optional() });
const LEVELS = ["debug", "info", "warn", "error"] as const;

/** Following and steering operations of every kind. */
export function operationRoutes(api: Api): void {
  route(
    api,
    {
      action: "read",
      method: "get",
      path: "/v1/operations",
      id: "listOperations",
      tag,
      summary: "Operations, newest first",
      query: Filter,
      answer: pageOf(Operation).meta({ id: "OperationPage" }),
    },
    ({ holdfast, query }) => holdfast.operation.list(query),
  );
  route(
    api,
    {
      action: "read",
      method: "get",
      path: "/v1/operations/{id}",
      id: "getOperation",
      tag,
      summary: "One operation with its progress",
      params: OfOperation,
      answer: Operation,
    },
    ({ holdfast, params }) => holdfast.operation.get(params.id),
  );
  route(
    api,
    {
      action: "read",
      method: "get",
      path: "/v1/operations/{id}/watch",
      id: "watchOperation",
      tag,
      summary: "Progress as server-sent events until the operation has ended",
      description:
        "`progress` carries the operation whenever it changed; `end` follows the terminal one, and then the stream closes.",
      params: OfOperation,
      streams: { mediaType: "text/event-stream", description: "Events `progress` and `end`" },
    },
    ({ c, holdfast, params }) => answerProgress(c, api.deps, holdfast.operation, params.id),
  );
  steering(api);
  parts(api);
}

function steering(api: Api): void {
  const change = { method: "post", tag, params: OfOperation, answer: Operation } as const;
  const also = { 409: { description: "Its state does not allow it" } };
  route(
    api,
    {
      ...change,
      also,
      action: "cancel",
      path: "/v1/operations/{id}/cancel",
      id: "cancelOperation",
      summary: "Cancel: nothing of it starts any more; a second cancel changes nothing",
    },
    ({ holdfast, params }) => holdfast.operation.cancel(params.id),
  );
  route(
    api,
    {
      ...change,
      also,
      action: "retry",
      path: "/v1/operations/{id}/retry",
      id: "retryOperation",
      summary: "Run again over the items that failed, were lost or were cancelled",
    },
    ({ holdfast, params }) => holdfast.operation.retry(params.id),
  );
  route(
    api,
    {
      ...change,
      also,
      action: "pause",
      path: "/v1/operations/{id}/pause",
      id: "pauseOperation",
      summary: "Pause: work stops at the next page and everything is kept",
      body: { required: false, content: { "application/json": { schema: Pause } } },
    },
    async ({ c, holdfast, params }) => {
      const { reason } = parseInput(Pause, await jsonObjectIfAny(c));
      return holdfast.operation.pause(params.id, reason);
    },
  );
  route(
    api,
    {
      ...change,
      also,
      action: "pause",
      path: "/v1/operations/{id}/resume",
      id: "resumeOperation",
      summary: "Go on after a pause",
    },
    ({ holdfast, params }) => holdfast.operation.resume(params.id),
  );
}

function parts(api: Api): void {
  const read = { action: "read", method: "get", tag, params: OfOperation } as const;
  route(
    api,
    {
      ...read,
      path: "/v1/operations/{id}/items",
      id: "listItems",
      summary: "Items with their current outcome, in order",
      query: z.strictObject({
        outcome: z.enum([...OUTCOMES, "open"]).optional(),
        batch: number.optional(),
        limit: limit(100, 1_000),
        after: smallCursor,
      }),
      answer: pageOf(ItemView.meta({ id: "Item" })).meta({ id: "ItemPage" }),
      streams: lines,
    },
    ({ c, holdfast, params, query }) =>
      wantsLines(c)
        ? answerLines(
            (after) =>
              holdfast.operation.items(params.id, given({ ...query, limit: PAGE_OF_LINES, after })),
            query.after,
          )
        : holdfast.operation.items(params.id, given(query)),
  );
  route(
    api,
    {
      ...read,
      path: "/v1/operations/{id}/batches",
      id: "listBatches",
      summary: "Sub-batches with how far each is",
      query: z.strictObject({ limit: limit(100, 1_000), after: smallCursor }),
      answer: pageOf(BatchView.meta({ id: "Batch" })).meta({ id: "BatchPage" }),
    },
    ({ holdfast, params, query }) => holdfast.operation.batches(params.id, given(query)),
  );
  route(
    api,
    {
      ...read,
      path: "/v1/operations/{id}/logs",
      id: "listLogs",
      summary: "Log lines in the order they were written",
      query: z.strictObject({
        level: z.enum(LEVELS).optional(),
        newest: z.stringbool().optional(),
        limit: limit(200, 1_000),
        after: cursor,
        before: cursor,
      }),
      answer: pageOf(LogLine.meta({ id: "LogLine" })).meta({ id: "LogPage" }),
      streams: lines,
    },
    ({ c, holdfast, params, query: { newest, ...query } }) =>
      wantsLines(c)
        ? answerLines(
            (after) =>
              holdfast.operation.logs(params.id, given({ ...query, limit: PAGE_OF_LINES, after })),
            query.after,
          )
        : holdfast.operation.logs(params.id, given({ ...query, newest })),
  );
  route(
    api,
    {
      ...read,
      path: "/v1/operations/{id}/events",
      id: "listEvents",
      summary: "Events it caused, in order",
      answer: listOf(EventView).meta({ id: "EventList" }),
    },
    async ({ holdfast, params }) => ({
      items: (await holdfast.operation.events(params.id)).map(eventView),
    }),
  );
  route(
    api,
    {
      ...read,
      path: "/v1/operations/{id}/audit",
      id: "listOperationAudit",
      summary: "Who did what to it, newest first",
      answer: listOf(AuditView).meta({ id: "AuditList" }),
    },
    async ({ holdfast, params }) => ({
      items: (await holdfast.operation.audit(params.id)).map(auditView),
    }),
  );
}
