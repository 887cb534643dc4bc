import type { Context } from "hono";
import { z } from "zod";
import type { Holdfast } from "../../client/index.ts";
import { InvalidInput } from "../../contracts/errors.ts";
import {
  JOB_LIMITS,
  JobFilter,
  JobItem,
  JobOptions,
  JobSubmit,
  JobView,
  RunAgain,
} from "../../contracts/job.ts";
import { Accepted, OperationId } from "../../contracts/operation.ts";
import {
  assertMediaType,
  bodyBytes,
  ITEMS_JSON_BYTES,
  jsonObject,
  jsonObjectIfAny,
  NDJSON_BYTES,
  NDJSON_TYPE,
  SEND_LINES,
} from "../body.ts";
import { KeyHeader, withKey } from "./idempotency-key.ts";
import { given, OfOperation, text } from "./parameters.ts";
import { answerProgress } from "./progress-stream.ts";
import { pageOf, route, type Api } from "./route.ts";

const tag = "jobs";
const Job = JobView.meta({ id: "Job" });
const Item = JobItem.meta({ id: "JobItem" });
const Submit = z
  .strictObject({ ...JobSubmit.shape, items: z.array(Item).max(JOB_LIMITS.items).optional() })
  .meta({ id: "JobSubmit" });
const AcceptedAnswer = Accepted.meta({ id: "Accepted" });
const Filter = JobFilter.extend({ after: OperationId.optional() });

const whole = z.coerce.number().int().optional();

/** What stands beside the items of a JSON body, as parameters. The values are judged as there. */
const HeaderParameters = z.strictObject({
  tenant: text(100).optional(),
  pipeline: text(100).optional(),
  key: text(255).optional(),
  priority: whole,
  weight: whole,
  batchSize: whole,
  leaseSeconds: whole,
  heartbeatSeconds: whole,
  deliveries: whole,
  maxFailedShare: z.coerce.number().optional(),
  shuffle: z.stringbool().optional(),
  limit: whole,
  startAfter: text(100).optional(),
});
type HeaderParameters = z.output<typeof HeaderParameters>;

/** Handing over jobs, following and steering them. */
export function jobRoutes(api: Api): void {
  route(
    api,
    {
      action: "submit",
      method: "post",
      path: "/v1/jobs",
      id: "submitJob",
      tag,
      summary: "Accept a job in one transaction: its items, or the collector that finds them",
      description: [
        `JSON up to ${ITEMS_JSON_BYTES} bytes, or NDJSON up to ${NDJSON_BYTES} bytes: one item a line, streamed, with everything else as query parameters; at most ${JOB_LIMITS.items} items.`,
        "`Idempotency-Key` is the same as `key`: a repeat with the same content answers the same job with 200, with other content 409.",
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
        429: { description: "The tenant has as much open work as it may have" },
      },
    },
    async ({ c, holdfast, query }) => {
      const accepted = await submit(c, holdfast, query);
      c.header("location", `/v1/jobs/${accepted.id}`);
      return c.json(accepted, accepted.existing ? 200 : 202);
    },
  );
  route(
    api,
    {
      action: "read",
      method: "get",
      path: "/v1/jobs",
      id: "listJobs",
      tag,
      summary: "Jobs, newest first",
      query: Filter,
      answer: pageOf(Job).meta({ id: "JobPage" }),
    },
    ({ holdfast, query }) => holdfast.job.list(given(query)),
  );
  following(api);
  steering(api);
}

async function submit(c: Context, holdfast: Holdfast, query: HeaderParameters): Promise<Accepted> {
  const type = assertMediaType(c, ["application/json", NDJSON_TYPE]);
  if (type === NDJSON_TYPE) {
    return holdfast.job.submitLines(withKey(c, headerOf(query)), bodyBytes(c, NDJSON_BYTES));
  }
  const extra = Object.keys(query);
  if (extra.length > 0) {
    throw new InvalidInput([
      { path: "query", message: `${extra.join(", ")}: a JSON body carries this itself` },
    ]);
  }
  const input = await jsonObject(c, ITEMS_JSON_BYTES, SEND_LINES);
  return holdfast.job.submit(withKey(c, input as unknown as JobSubmit));
}

type Header = Parameters<Holdfast["job"]["submitLines"]>[0];

function headerOf({ tenant, pipeline, key, ...rest }: HeaderParameters): Header {
  const options = JobOptions.partial()
    .keyof()
    .options.flatMap((name) => (rest[name] === undefined ? [] : [[name, rest[name]] as const]));
  return {
    // A missing pipeline is refused with everything else that is wrong.
    pipeline: pipeline as string,
    ...given({ tenant, key }),
    ...(options.length > 0 ? { options: Object.fromEntries(options) } : {}),
  };
}

function following(api: Api): void {
  const read = { action: "read", method: "get", tag, params: OfOperation } as const;
  route(
    api,
    {
      ...read,
      path: "/v1/jobs/{id}",
      id: "getJob",
      summary: "One job: how far it is, how fast, who works it and what holds it up",
      answer: Job,
    },
    ({ holdfast, params }) => holdfast.job.get(params.id),
  );
  route(
    api,
    {
      ...read,
      path: "/v1/jobs/{id}/watch",
      id: "watchJob",
      summary: "A job's progress as server-sent events until it has ended",
      description:
        "`progress` carries the job whenever it changed; `end` follows the terminal one, and then the stream closes.",
      streams: { mediaType: "text/event-stream", description: "Events `progress` and `end`" },
    },
    ({ c, holdfast, params }) => answerProgress(c, api.deps, holdfast.job, params.id),
  );
}

function steering(api: Api): void {
  const change = { method: "post", tag, params: OfOperation, answer: Job } as const;
  const also = { 409: { description: "Its state does not allow it" } };
  route(
    api,
    {
      ...change,
      also,
      action: "cancel",
      path: "/v1/jobs/{id}/cancel",
      id: "cancelJob",
      summary: "Cancel: nothing is handed out any more; a second cancel changes nothing",
    },
    ({ holdfast, params }) => holdfast.job.cancel(params.id),
  );
  route(
    api,
    {
      ...change,
      also,
      action: "retry",
      path: "/v1/jobs/{id}/retry",
      id: "retryJob",
      summary: "Run again: what is unfinished, or the items that are named by how they ended",
      body: {
        required: false,
        content: { "application/json": { schema: RunAgain.meta({ id: "RunAgain" }) } },
      },
    },
    async ({ c, holdfast, params }) =>
      holdfast.job.retry(params.id, (await jsonObjectIfAny(c)) as RunAgain),
  );
}
