import { z } from "zod";
import {
  JOB_LIMITS,
  JobResult,
  LateResult,
  LogText,
  PostAnswer,
  PostRequest,
} from "../../contracts/job.ts";
import { jsonObject, NDJSON_TYPE } from "../body.ts";
import { KeyHeader, withKey } from "./idempotency-key.ts";
import { answerLines, wantsLines } from "./lines.ts";
import { given, limit, OfOperation, smallCursor, text } from "./parameters.ts";
import { pageOf, route, type Api } from "./route.ts";

const tag = "jobs";

/** Bytes of one post: as many results as it may hold, each as large as it may be, and their handles. */
const POST_BYTES = 32 * 1024 * 1024;

/** Results in memory at a time while all of them are streamed: at most 4 MB. */
const RESULTS_OF_LINES = 250;

/** What came of the items of a job: posted, read, and told as text. */
export function jobResultRoutes(api: Api): void {
  const ofJob = { tag, params: OfOperation } as const;
  route(
    api,
    {
      ...ofJob,
      action: "post",
      method: "post",
      path: "/v1/jobs/{id}/results",
      id: "postResults",
      summary: "Post what came of items; each result is answered for itself",
      description: [
        `Up to ${JOB_LIMITS.results} results and ${POST_BYTES} bytes. Nothing is written unless all of it is well-formed.`,
        "`Idempotency-Key` is the same as `key`: a repeat is told what the first was told, and other " +
          "results are refused.",
        "`duplicate` and `late` are answers, not errors. Does not need Temporal.",
      ].join(" "),
      headers: KeyHeader,
      body: {
        content: { "application/json": { schema: PostRequest.meta({ id: "PostResults" }) } },
      },
      answer: PostAnswer.meta({ id: "PostAnswer" }),
      also: {
        409: { description: "The key was used for other results" },
        413: { description: "Over a stated limit" },
      },
    },
    async ({ c, holdfast, params }) => {
      const sent = await jsonObject(c, POST_BYTES, "post fewer results at once");
      return holdfast.job.post(params.id, withKey(c, sent as unknown as PostRequest));
    },
  );
  route(
    api,
    {
      ...ofJob,
      action: "read",
      method: "get",
      path: "/v1/jobs/{id}/results",
      id: "listResults",
      summary: "Results in order of items, of each item the newest",
      query: z.strictObject({
        errors: z.stringbool().optional(),
        limit: limit(100, 1_000),
        after: smallCursor,
      }),
      answer: pageOf(JobResult.meta({ id: "JobResult" })).meta({ id: "JobResultPage" }),
      streams: {
        mediaType: NDJSON_TYPE,
        description:
          "With this in `Accept`: all of them from `after` on, one a line, without pages",
      },
    },
    ({ c, holdfast, params, query: { errors, ...query } }) =>
      wantsLines(c)
        ? answerLines(
            (after) =>
              holdfast.job.results(params.id, given({ errors, limit: RESULTS_OF_LINES, after })),
            query.after,
          )
        : holdfast.job.results(params.id, given({ ...query, errors })),
  );
  route(
    api,
    {
      ...ofJob,
      action: "read",
      method: "get",
      path: "/v1/jobs/{id}/late-results",
      id: "listLateResults",
      summary: "Results that came too late to count, with why",
      query: z.strictObject({ limit: limit(100, 1_000), after: text(200).optional() }),
      answer: pageOf(LateResult.meta({ id: "LateResult" })).meta({ id: "LateResultPage" }),
    },
    ({ holdfast, params, query }) => holdfast.job.lateResults(params.id, given(query)),
  );
  route(
    api,
    {
      ...ofJob,
      action: "read",
      method: "get",
      path: "/v1/jobs/{id}/log-text",
      id: "getJobLogText",
      summary: "The log as two texts: every line, newest first, and the messages of errors",
      description: `The newest \`logs_limit\` lines, ${JOB_LIMITS.logLines} unless said, at most ${JOB_LIMITS.mostLogLines}. Older ones, by level and in pages: \`/v1/operations/{id}/logs\`.`,
      query: z.strictObject({ logs_limit: limit(JOB_LIMITS.logLines, JOB_LIMITS.mostLogLines) }),
      answer: LogText.meta({ id: "JobLogText" }),
    },
    ({ holdfast, params, query }) => holdfast.job.logText(params.id, { limit: query.logs_limit }),
  );
}
