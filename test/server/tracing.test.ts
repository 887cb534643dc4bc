import { createServer, type IncomingMessage } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { expect, test, vi } from "vitest";
import { startTracing } from "../../workers/tracing.ts";
import { serving } from "./serving.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";

async function submitTraced(): Promise<string | null> {
  await using server = await serving();
  const { id } = (await (
    await server.ask("POST", "/v1/retain", {
      key: await server.key("service"),
      headers: { traceparent: `00-${TRACE}-b7ad6b7169203331-01` },
      json: { bank: "b", items: [{ content: "x" }] },
    })
  ).json()) as { id: string };
  const { rows } = await server.holdfast.db.query<{ trace: string | null }>(
    "select trace from holdfast.operations where id = $1",
    [id],
  );
  return rows[0]!.trace;
}

test("tracing is off unless asked for; then the caller's trace goes through the request into the operation", async () => {
  for (const name of ["OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT"]) vi.stubEnv(name, "");
  expect((await startTracing("holdfast-server")).on).toBe(false);
  expect(await submitTraced()).toBeNull();

  const received: string[] = [];
  const collector = createServer((request: IncomingMessage, response) => {
    const receive = async () => {
      received.push(`${request.url} ${await text(request)}`);
      response.end("{}");
    };
    void receive();
  }).listen(0, "127.0.0.1");
  await once(collector, "listening");
  const { port } = collector.address() as AddressInfo;
  vi.stubEnv("OTEL_EXPORTER_OTLP_ENDPOINT", `http://127.0.0.1:${port}`);
  const tracing = await startTracing("holdfast-server");
  expect(tracing.on).toBe(true);

  const trace = await submitTraced();
  await tracing.stop();
  collector.close();
  const [version, traceId, spanId] = trace!.split("-");
  expect([version, traceId]).toEqual(["00", TRACE]);
  const spans = received.join("\n");
  expect(spans).toMatch(/^\/v1\/traces /);
  // The operation hangs below the span of the request, and that below the caller's.
  expect(spans).toContain("POST /v1/retain");
  expect(spans).toContain(spanId);
  expect(spans).toContain("b7ad6b7169203331");
  expect(spans).toContain("holdfast-server");
});
