/** Traces of one process. Does nothing unless asked for by the standard environment variables. */
export interface Tracing {
  on: boolean;
  /** Sends what is left, at most 5 s. */
  stop(): Promise<void>;
}

const OFF: Tracing = { on: false, stop: async () => undefined };
const STOP_MS = 5_000;

/**
 * Starts tracing when OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or
 * OTEL_TRACES_EXPORTER (`otlp`, `console`, `none`) is set, and OTEL_SDK_DISABLED is not. Call it
 * before anything else; the SDK is loaded only then. OTEL_SERVICE_NAME wins over `service`.
 */
export async function startTracing(service: string): Promise<Tracing> {
  const exporter = exporterOf(process.env);
  if (exporter === "none") return OFF;
  const [{ BatchSpanProcessor, ConsoleSpanExporter, NodeTracerProvider }, resources] =
    await Promise.all([
      import("@opentelemetry/sdk-trace-node"),
      import("@opentelemetry/resources"),
    ]);
  const provider = new NodeTracerProvider({
    resource: resources.defaultResource().merge(
      resources.resourceFromAttributes({
        "service.name": process.env.OTEL_SERVICE_NAME || service,
      }),
    ),
    spanProcessors: [
      new BatchSpanProcessor(
        exporter === "console"
          ? new ConsoleSpanExporter()
          : new (await import("@opentelemetry/exporter-trace-otlp-http")).OTLPTraceExporter(),
      ),
    ],
  });
  // Brings the context manager and the W3C propagator with it.
  provider.register();
  return {
    on: true,
    stop: () => Promise.race([provider.shutdown(), elapsed(STOP_MS)]).catch(() => undefined),
  };
}

function exporterOf(environment: NodeJS.ProcessEnv): "otlp" | "console" | "none" {
  if (environment.OTEL_SDK_DISABLED?.toLowerCase() === "true") return "none";
  const asked = environment.OTEL_TRACES_EXPORTER;
  if (asked === "console" || asked === "none") return asked;
  return asked ||
    environment.OTEL_EXPORTER_OTLP_ENDPOINT ||
    environment.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT
    ? "otlp"
    : "none";
}

function elapsed(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
