import type { Context } from "hono";
import { z } from "zod";
import { parseInput } from "../../client/input.ts";
import { Accepted } from "../../contracts/operation.ts";
import {
  Decide,
  Decided,
  Deviation,
  DeviationDetail,
  DeviationFilter,
  EntityId,
  ReviewAct,
  ReviewFilter,
  ReviewSubmit,
} from "../../contracts/review.ts";
import { exactJson } from "../../domain/exact-json.ts";
import { jsonObject } from "../body.ts";
import { KeyHeader, withKey } from "./idempotency-key.ts";
import { given } from "./parameters.ts";
import { pageOf, route, type Api } from "./route.ts";

const Detail = DeviationDetail.meta({ id: "DeviationDetail" });
const AcceptedAnswer = Accepted.meta({ id: "Accepted" });
const ByFilter = z.strictObject({
  act: ReviewAct,
  filter: ReviewFilter,
  reason: Decide.shape.reason,
});
const Decision = z.union([Decide, ByFilter]).meta({ id: "Decision" });

/** What may stand once or several times in a query, as a list. */
const listed = <T extends z.ZodType>(schema: T) =>
  z.preprocess((value) => (value === undefined ? undefined : [value].flat()), schema);

const { types, states, ...rest } = DeviationFilter.shape;
const Query = z.strictObject({ ...rest, type: listed(types), state: listed(states) });

/** Bytes of a decision about as many entities as it may name. */
const DECISION_BYTES = 256 * 1024;

/** Entities with their plans, and decisions of people about them. */
export function deviationRoutes(api: Api): void {
  const tag = "review";
  route(
    api,
    {
      action: "read",
      method: "get",
      path: "/v1/deviations",
      id: "listDeviations",
      tag,
      summary: "Entities with their newest plans, newest first",
      description:
        "`type` and `state` may be given several times; without `state`: what waits for somebody. A page may hold less than `limit` and yet have a `next`.",
      query: Query,
      answer: pageOf(Deviation.meta({ id: "Deviation" })).meta({ id: "DeviationPage" }),
    },
    ({ holdfast, query: { type, state, ...query } }) =>
      holdfast.review.list(given({ ...query, types: type, states: state })),
  );
  route(
    api,
    {
      action: "read",
      method: "get",
      path: "/v1/deviations/{id}",
      id: "getDeviation",
      tag,
      summary: "One entity: what it says, its plans before and after, its other versions",
      description: "Integers beyond 2^53 are exact.",
      params: z.strictObject({ id: EntityId }),
      answer: Detail,
    },
    async ({ c, holdfast, params }) => exact(c, await holdfast.review.get(params.id)),
  );
  route(
    api,
    {
      action: "decide",
      method: "post",
      path: "/v1/deviations/decide",
      id: "decide",
      tag,
      summary:
        "Approve, reject, ignore, reopen, rediff or requeue: by ids, or all that a filter finds",
      description:
        "Works while Temporal is down. By ids it says of each that stays as it is why; `planHashes` bind an approval to the plans that were seen. By filter it may be repeated.",
      body: { content: { "application/json": { schema: Decision } } },
      answer: Decided.meta({ id: "Decided" }),
    },
    async ({ c, holdfast }) => {
      const sent = await jsonObject(c, DECISION_BYTES);
      if (!("filter" in sent)) return holdfast.review.decide(sent as unknown as Decide);
      const { act, filter, reason } = parseInput(ByFilter, sent);
      const done = await holdfast.review.decideAll(act, filter, given({ reason }));
      return { ...done, refused: [] };
    },
  );
  route(
    api,
    {
      action: "decide",
      method: "post",
      path: "/v1/reviews",
      id: "submitReview",
      tag,
      summary: "The same about all that a filter finds now, as an operation",
      headers: KeyHeader,
      body: {
        content: { "application/json": { schema: ReviewSubmit.meta({ id: "ReviewSubmit" }) } },
      },
      answer: AcceptedAnswer,
      status: 202,
      also: {
        200: { description: "Accepted before, under the same key", schema: AcceptedAnswer },
        409: { description: "The filter finds nothing, or the key was used for other content" },
      },
    },
    async ({ c, holdfast }) => {
      const sent = (await jsonObject(c)) as unknown as ReviewSubmit;
      const accepted = await holdfast.review.submit(withKey(c, sent));
      c.header("location", `/v1/operations/${accepted.id}`);
      return c.json(accepted, accepted.existing ? 200 : 202);
    },
  );
}

/** Numbers as they are stored, whatever their size. */
function exact(c: Context, value: unknown): Response {
  return c.body(exactJson(value), 200, { "content-type": "application/json" });
}
