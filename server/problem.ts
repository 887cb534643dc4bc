import { z } from "zod";
import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import type { Logger } from "pino";
import {
  HoldfastError,
  InvalidInput,
  LimitExceeded,
  SchemaMismatch,
  Unauthorized,
  Unavailable,
} from "../contracts/errors.ts";

/** RFC 9457. `code` is the contract; `detail` says what is wrong and what to do next. */
export const Problem = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.number().int(),
    detail: z.string(),
    code: z.string(),
    instance: z.string(),
    /** Every field that is wrong, when the input is. */
    issues: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
    details: z.record(z.string(), z.unknown()).optional(),
  })
  .meta({ id: "Problem" });
type Problem = z.infer<typeof Problem>;

const TITLES: Record<number, string> = {
  400: "Bad input",
  401: "No valid API key",
  403: "Not allowed",
  404: "Not found",
  405: "Method not allowed",
  409: "Conflict",
  413: "Too large",
  415: "Unsupported media type",
  421: "Misdirected request",
  422: "Refused",
  429: "Too much open work",
  500: "Internal error",
  503: "Unavailable",
};

const RETRY_SECONDS = 5;

/** Answers every refusal and fault of every route, in one shape. */
export function answerProblem(thrown: unknown, c: Context, log: Logger): Response {
  const error = isInTheWay(thrown) ? new Unavailable("Postgres", "in the way", thrown) : thrown;
  const requestId = c.res.headers.get("x-request-id") ?? "";
  if (!(error instanceof HoldfastError)) {
    log.error({ err: error, requestId, method: c.req.method, path: c.req.path }, "request failed");
    const detail = `this is our fault: look for ${requestId} in the server's log`;
    return problem(c, { status: 500, code: "internal", detail });
  }
  const { status, code } = error;
  if (status >= 500) {
    log.error({ err: error, requestId, method: c.req.method, path: c.req.path }, error.message);
  }
  return problem(
    c,
    {
      status,
      code,
      detail: detailOf(error),
      ...(error instanceof InvalidInput
        ? { issues: error.issues.slice(0, 100) }
        : error.details && { details: error.details }),
    },
    headersFor(error),
  );
}

// Two wanted the same at once, and one was told to let go; a request has no more to it than its repeat.
const IN_THE_WAY = new Set(["40001", "40P01", "55P03"]);

function isInTheWay(error: unknown): boolean {
  return IN_THE_WAY.has((error as { code?: string } | undefined)?.code ?? "");
}

// What the driver said is for the log, not for callers.
function detailOf(error: HoldfastError): string {
  if (error instanceof SchemaMismatch) {
    return 'the database schema does not fit this version: run "holdfast migrate"';
  }
  if (!(error instanceof Unavailable)) return error.message;
  if (isInTheWay(error.cause)) {
    return `other work is in the way of this, and nothing was written: try again in ${RETRY_SECONDS} s`;
  }
  const what = error.code === "temporal-unavailable" ? "Temporal" : "Postgres";
  return `${what} does not answer: try again in ${RETRY_SECONDS} s; the server's log says why`;
}

function headersFor(error: HoldfastError): Record<string, string> {
  if (error instanceof LimitExceeded) return { "retry-after": String(error.retryAfterSeconds) };
  if (error instanceof Unauthorized) return { "www-authenticate": "Bearer" };
  return error.status === 503 ? { "retry-after": String(RETRY_SECONDS) } : {};
}

function problem(
  c: Context,
  body: Omit<Problem, "type" | "title" | "instance">,
  headers: Record<string, string> = {},
): Response {
  const whole: Problem = {
    type: `urn:holdfast:problem:${body.code}`,
    title: TITLES[body.status] ?? "Refused",
    instance: c.req.path,
    ...body,
  };
  return c.json(whole, body.status as ContentfulStatusCode, {
    ...headers,
    "content-type": "application/problem+json",
  });
}
