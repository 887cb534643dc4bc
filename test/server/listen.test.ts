import { createServer as createTcpServer } from "node:net";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { EventSourceParserStream } from "eventsource-parser/stream";
import { expect, test, vi } from "vitest";
import { listening } from "./listening.ts";

async function* eventsOf(answer: Response) {
  const events = answer
    .body!.pipeThrough(new TextDecoderStream())
    .pipeThrough(new EventSourceParserStream());
  for await (const event of events) yield event;
}

test("progress is told with every change, and the stream ends after the terminal one", async () => {
  await using server = await listening();
  const { id } = await server.holdfast.retain.submit({ bank: "b", items: [{ content: "x" }] });
  const answer = await fetch(`${server.url}/v1/operations/${id}/watch`, {
    headers: { authorization: `Bearer ${await server.key("viewer")}` },
  });
  expect(answer.headers.get("content-type")).toBe("text/event-stream");
  const seen: string[] = [];
  for await (const { event, data } of eventsOf(answer)) {
    const shown = event === "end" ? data : (JSON.parse(data) as { shown: string }).shown;
    seen.push(`${event} ${shown}`);
    if (seen.length === 1) await server.holdfast.operation.pause(id);
    if (seen.length === 2) await server.holdfast.operation.cancel(id);
  }
  expect(seen).toEqual([
    expect.stringMatching(/^progress (accepted|waiting for a worker)$/),
    "progress paused",
    "progress cancelled",
    "end cancelled",
  ]);
});

test("watching what is not there is a plain refusal", async () => {
  await using server = await listening();
  const answer = await fetch(
    `${server.url}/v1/operations/00000000-0000-7000-8000-000000000000/watch`,
    { headers: { authorization: `Bearer ${await server.key("viewer")}` } },
  );
  expect(answer.status).toBe(404);
  expect(answer.headers.get("content-type")).toBe("application/problem+json");
});

test("a watcher that goes away stops being served", async () => {
  await using server = await listening();
  const { id } = await server.holdfast.retain.submit({ bank: "b", items: [{ content: "x" }] });
  const headers = { authorization: `Bearer ${await server.key("viewer")}` };
  const gone = new AbortController();
  const answer = await fetch(`${server.url}/v1/operations/${id}/watch`, {
    headers,
    signal: gone.signal,
  });
  await answer.body!.getReader().read();
  gone.abort();
  const active = async () => {
    const { rows } = await server.holdfast.db.query<{ n: number }>(
      "select count(*)::int as n from pg_stat_activity where datname = current_database() and query_start > clock_timestamp() - interval '900 milliseconds' and pid <> pg_backend_pid()",
    );
    return rows[0]!.n;
  };
  await vi.waitFor(async () => expect(await active()).toBe(0), { timeout: 10_000, interval: 200 });
});

test("a server that stops ends its streams, finishes requests, and takes no more", async () => {
  await using server = await listening();
  const { id } = await server.holdfast.retain.submit({ bank: "b", items: [{ content: "x" }] });
  const answer = await fetch(`${server.url}/v1/operations/${id}/watch`, {
    headers: { authorization: `Bearer ${await server.key("viewer")}` },
  });
  const events = eventsOf(answer);
  expect((await events.next()).value?.event).toBe("progress");
  const startedAt = performance.now();
  await server.stop();
  expect(performance.now() - startedAt).toBeLessThan(5_000);
  expect((await events.next()).done).toBe(true);
  await expect(fetch(`${server.url}/livez`)).rejects.toThrow();
});

test("a port that is taken is said in one sentence with what to do", async () => {
  const taken = createTcpServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  const { port } = taken.address() as AddressInfo;
  await expect(listening({ HOLDFAST_PORT: String(port) })).rejects.toThrow(
    `HOLDFAST_PORT: ${port} is taken on 127.0.0.1: set another, or 0 for any`,
  );
  taken.close();
});
