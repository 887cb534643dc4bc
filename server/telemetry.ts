import { context, propagation, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import type { MiddlewareHandler } from "hono";
import { matchedRoutes } from "hono/route";
import type { ServerDeps } from "./deps.ts";
import type { Metrics } from "./metrics.ts";

/**
 * Around every request: a span under the caller's trace, a line in the log (`debug`), a place in
 * the histogram. Without a tracing SDK the span costs nothing and is nowhere.
 */
export function observed(log: ServerDeps["log"], metrics: Metrics): MiddlewareHandler {
  const tracer = trace.getTracer("holdfast");
  return async (c, next) => {
    const startedAt = performance.now();
    const { method, path } = c.req;
    const above = propagation.extract(context.active(), c.req.header());
    const span = tracer.startSpan(
      method,
      {
        kind: SpanKind.SERVER,
        attributes: { "http.request.method": method, "url.path": path },
      },
      above,
    );
    try {
      await context.with(trace.setSpan(above, span), next);
    } finally {
      const { status } = c.res;
      const pattern = matchedRoutes(c).find((route) => route.method !== "ALL")?.path;
      const seconds = (performance.now() - startedAt) / 1_000;
      const known = pattern ?? "unmatched";
      span.updateName(`${method} ${known}`);
      span.setAttributes({ "http.route": known, "http.response.status_code": status });
      if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR });
      span.end();
      metrics.observe({
        method: KNOWN_METHODS.has(method) ? method : "other",
        route: known,
        status,
        seconds,
      });
      log.debug(
        {
          requestId: c.res.headers.get("x-request-id"),
          method,
          path,
          status,
          ms: Math.round(seconds * 1_000),
        },
        "request",
      );
    }
  };
}

// A method is the caller's text; as a label it has to be one of few.
const KNOWN_METHODS = new Set(["GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"]);
