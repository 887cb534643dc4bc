import type { Context } from "hono";
import { z } from "zod";
import type { Holdfast } from "../../client/index.ts";
import { parseInput } from "../../client/input.ts";
import { InvalidInput } from "../../contracts/errors.ts";
import { Accepted, OperationFilter, OperationId } from "../../contracts/operation.ts";
import {
  PLAN_LIMITS,
  PlanDecide,
  PlanEntity,
  PlanHeader,
  PlanOperationMode,
  PlanPages,
  PlanView,
} from "../../contracts/plan.ts";
import { Decided } from "../../contracts/review.ts";
import { exactJson } from "../../domain/exact-json.ts";
import {
  assertMediaType,
  bodyBytes,
  exactJsonObject,
  ITEMS_JSON_BYTES,
  jsonObjectIfAny,
  NDJSON_BYTES,
  NDJSON_TYPE,
  SEND_LINES,
} from "../body.ts";
import { KeyHeader, withKey } from "./idempotency-key.ts";
import { given, OfOperation } from "./parameters.ts";
import { pageOf, route, type Api } from "./route.ts";

const tag = "plans";
const Plan = PlanView.meta({ id: "Plan" });
const AcceptedAnswer = Accepted.meta({ id: "Accepted" });
const Entity = z.record(z.string(), z.unknown()).meta({ id: "EntityLine" });
const Submit = PlanHeader.extend({
  entities: z.array(Entity).min(1).max(PLAN_LIMITS.entities),
}).meta({ id: "PlanSubmit" });
const Header = PlanHeader.extend({
  mode: PlanOperationMode.optional(),
  expiresInSeconds: z.coerce.number().int().optional(),
});
const Filter = OperationFilter.omit({ kind: true }).extend({ after: OperationId.optional() });

/** Named change requests: submitted, shown, decided. */
export function planRoutes(api: Api): void {
  route(
    api,
    {
      action: "submit",
      method: "post",
      path: "/v1/plans",
      id: "submitPlan",
      tag,
      summary:
        "Accept a change request in one transaction; it is planned, and waits for a decision",
      description: [
        `JSON, or NDJSON with one entity a line and everything else as query parameters; at most ${PLAN_LIMITS.entities} entities.`,
        'An entity is `{"timestamp", "<type>": {...}}` or `{"object_type", "entity"}`; one that is wrong refuses them all.',
        "`Idempotency-Key` is the same as `key`.",
      ].join(" "),
      query: Header,
      headers: KeyHeader,
      body: {
        content: { "application/json": { schema: Submit }, [NDJSON_TYPE]: { schema: Entity } },
      },
      answer: AcceptedAnswer,
      status: 202,
      also: {
        200: { description: "Accepted before, under the same key", schema: AcceptedAnswer },
        409: { description: "The key was used for other content, or the branch is not known yet" },
        413: { description: "Over a stated limit" },
        429: { description: "The tenant has as much open work as it may have" },
      },
    },
    async ({ c, holdfast, query }) => {
      const accepted = await submit(c, holdfast, given(query));
      c.header("location", `/v1/plans/${accepted.id}`);
      return c.json(accepted, accepted.existing ? 200 : 202);
    },
  );
  reading(api);
  deciding(api);
}

async function submit(c: Context, holdfast: Holdfast, header: PlanHeader): Promise<Accepted> {
  const type = assertMediaType(c, ["application/json", NDJSON_TYPE]);
  if (type === NDJSON_TYPE) {
    return holdfast.plan.submitLines(bodyBytes(c, NDJSON_BYTES), withKey(c, header));
  }
  const extra = Object.keys(header);
  if (extra.length > 0) {
    throw new InvalidInput([
      { path: "query", message: `${extra.join(", ")}: a JSON body carries this itself` },
    ]);
  }
  const { entities, ...rest } = await exactJsonObject(c, ITEMS_JSON_BYTES, SEND_LINES);
  return holdfast.plan.submit(entities as unknown[], withKey(c, rest as PlanHeader));
}

function reading(api: Api): void {
  route(
    api,
    {
      action: "read",
      method: "get",
      path: "/v1/plans",
      id: "listPlans",
      tag,
      summary: "Plans, newest first",
      query: Filter,
      answer: pageOf(Plan).meta({ id: "PlanPage" }),
    },
    ({ holdfast, query }) => holdfast.plan.list(given(query)),
  );
  route(
    api,
    {
      action: "read",
      method: "get",
      path: "/v1/plans/{id}",
      id: "getPlan",
      tag,
      summary:
        "One plan: what it would change, what it has changed, what it waits for, and its hash",
      params: OfOperation,
      answer: Plan,
    },
    ({ holdfast, params }) => holdfast.plan.get(params.id),
  );
  route(
    api,
    {
      action: "read",
      method: "get",
      path: "/v1/plans/{id}/changes",
      id: "listPlanChanges",
      tag,
      summary: "What a plan changes, entity by entity, before and after",
      description: "Stays after it was applied. Integers beyond 2^53 are exact.",
      params: OfOperation,
      query: PlanPages,
      answer: pageOf(PlanEntity.meta({ id: "PlanEntity" })).meta({ id: "PlanEntityPage" }),
    },
    async ({ c, holdfast, params, query }) =>
      c.body(exactJson(await holdfast.plan.changes(params.id, query)), 200, {
        "content-type": "application/json",
      }),
  );
}

function deciding(api: Api): void {
  const change = {
    action: "decide",
    method: "post",
    tag,
    params: OfOperation,
    body: {
      required: false,
      content: { "application/json": { schema: PlanDecide.meta({ id: "PlanDecide" }) } },
    },
    answer: Decided.meta({ id: "Decided" }),
    also: { 409: { description: "It is another plan now, is still being planned, or has ended" } },
  } as const;
  route(
    api,
    {
      ...change,
      path: "/v1/plans/{id}/approve",
      id: "approvePlan",
      summary: "Approve all that waits, or the entities named, as they were seen",
      description:
        "Needs the `hash` of the plan, or `entities` with the `planHash` of each as `planHashes`: another plan than the one that was seen is not approved.",
    },
    async ({ c, holdfast, params }) => {
      const decision = parseInput(PlanDecide, await jsonObjectIfAny(c));
      assertSeen(decision);
      return holdfast.plan.approve(params.id, decision);
    },
  );
  route(
    api,
    {
      ...change,
      path: "/v1/plans/{id}/reject",
      id: "rejectPlan",
      summary: "Reject all that waits, or the entities named: they are not applied",
    },
    async ({ c, holdfast, params }) =>
      holdfast.plan.reject(params.id, (await jsonObjectIfAny(c)) as PlanDecide),
  );
}

/** @throws InvalidInput for an approval of whatever stands by now */
function assertSeen({ hash, entities, planHashes }: PlanDecide): void {
  if (entities ? planHashes : hash) return;
  const [path, what] = entities
    ? ["planHashes", "the planHash of each of the entities"]
    : ["hash", "the hash of the plan"];
  throw new InvalidInput([{ path, message: `is needed: ${what} that was looked at` }]);
}
