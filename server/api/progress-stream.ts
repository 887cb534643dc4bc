import type { Context } from "hono";
import { streamSSE } from "hono/streaming";
import type { ServerDeps } from "../deps.ts";

/** Proxies close connections that are silent for longer. */
const HEARTBEAT_MS = 15_000;

/** What can be looked at, and followed until it has ended. */
interface Followed {
  get(id: string): Promise<object>;
  watch(
    id: string,
    options: { signal: AbortSignal },
  ): AsyncIterable<{ finishedAt: string | null; state: string }>;
}

/**
 * Progress as server-sent events. Ends with the operation, with the client, and with the process;
 * a browser that was cut off comes again by itself and finds the state as it is.
 */
export async function answerProgress(
  c: Context,
  { stopping, log }: ServerDeps,
  followed: Followed,
  id: string,
): Promise<Response> {
  // Asked once before, so that a refusal is a proper answer.
  await followed.get(id);
  const gone = new AbortController();
  const signal = stopping ? AbortSignal.any([gone.signal, stopping]) : gone.signal;
  c.header("cache-control", "no-store");
  c.header("x-accel-buffering", "no");
  // Nobody reads what follows a HEAD.
  if (c.req.method === "HEAD") return c.body(null, 200, { "content-type": "text/event-stream" });
  return streamSSE(c, async (stream) => {
    stream.onAbort(() => gone.abort());
    const heartbeat = setInterval(() => void stream.write(": heartbeat\n\n"), HEARTBEAT_MS);
    try {
      for await (const view of followed.watch(id, { signal })) {
        await stream.writeSSE({ event: "progress", data: JSON.stringify(view) });
        if (view.finishedAt !== null) await stream.writeSSE({ event: "end", data: view.state });
      }
    } catch (error) {
      if (!signal.aborted) log.warn({ err: error, operation: id }, "a progress stream was cut off");
    } finally {
      clearInterval(heartbeat);
    }
  });
}
