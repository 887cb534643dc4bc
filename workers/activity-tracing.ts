import { context, propagation, SpanStatusCode, trace } from "@opentelemetry/api";
import type { ActivityInterceptors, ActivityInterceptorsFactory } from "@temporalio/worker";
import type { OperationRef } from "../contracts/messages.ts";

/**
 * Joins each activity to the trace of the accept it works for. The trace context is a fact of the
 * operation's row and travels in the argument, so workflow code knows nothing of tracing, and
 * turning it on or off changes no history. Without an OpenTelemetry SDK all of this is a no-op.
 */
export const activityTracing: ActivityInterceptorsFactory = ({ info }): ActivityInterceptors => ({
  inbound: {
    async execute(input, next) {
      const [ref] = input.args as [Partial<OperationRef> | undefined];
      const parent = ref?.trace
        ? propagation.extract(context.active(), { traceparent: ref.trace })
        : context.active();
      return trace.getTracer("holdfast").startActiveSpan(
        `activity ${info.activityType}`,
        {
          attributes: {
            "holdfast.operation": ref?.id ?? "",
            "temporal.workflow_id": info.workflowExecution?.workflowId ?? "",
            "temporal.attempt": info.attempt,
          },
        },
        parent,
        async (span) => {
          try {
            return await next(input);
          } catch (error) {
            span.setStatus({ code: SpanStatusCode.ERROR, message: String(error) });
            throw error;
          } finally {
            span.end();
          }
        },
      );
    },
  },
});
