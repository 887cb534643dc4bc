import { setTimeout as sleep } from "node:timers/promises";
import type { Context } from "hono";
import { streamSSE } from "hono/streaming";
import type { Body } from "./body.ts";

/** How often a stream looks, ms. */
const LOOK_EVERY_MS = 2_000;
/** How often it reads the whole page when nothing seems to have changed, ms. */
const READ_EVERY_MS = 10_000;
/** How long a stream lives before the browser asks for a new one and is let in anew, ms. */
const LASTS_MS = 120_000;
const MAX_STREAMS = 100;

export interface LivePage {
  load(): Promise<Body>;
  /** Something cheap that changes when the page does. */
  pulse?: (() => Promise<string>) | undefined;
  /** A section as it stands in the page. */
  render(body: Body): Promise<Record<string, string>>;
}

let streams = 0;

/** Sends the sections of a page whenever they change: event `sections`, or `tick` when none did. */
export function liveStream(c: Context, page: LivePage, stopping?: AbortSignal): Response {
  if (streams >= MAX_STREAMS) {
    return c.text("too many live pages are open: this one stays as it is", 503, {
      "retry-after": "30",
    });
  }
  const left = new AbortController();
  const signal = stopping ? AbortSignal.any([left.signal, stopping]) : left.signal;
  return streamSSE(c, async (stream) => {
    streams++;
    stream.onAbort(() => left.abort());
    try {
      for await (const changed of changes(page, signal)) {
        const event = changed === "end" || changed === "tick" ? changed : "sections";
        await stream.writeSSE({ event, data: JSON.stringify(changed), retry: 2_000 });
      }
    } catch (error) {
      // The browser sees the stream end, says how old the page is, and asks again.
      if (!signal.aborted) throw error;
    } finally {
      streams--;
    }
  });
}

async function* changes(
  page: LivePage,
  signal: AbortSignal,
): AsyncIterable<Record<string, string> | "tick" | "end"> {
  const began = Date.now();
  const sent = new Map<string, string>();
  let pulse: string | undefined;
  let readAt = 0;
  while (!signal.aborted && Date.now() - began < LASTS_MS) {
    const before = pulse;
    pulse = await page.pulse?.();
    const fresh = Date.now() - readAt < READ_EVERY_MS;
    if (pulse !== undefined && pulse === before && fresh) {
      yield "tick";
    } else {
      readAt = Date.now();
      const body = await page.load();
      const changed = unseen(await page.render(body), sent);
      yield Object.keys(changed).length > 0 ? changed : "tick";
      if (body.ended) {
        yield "end";
        return;
      }
    }
    await sleep(LOOK_EVERY_MS, undefined, { signal });
  }
}

function unseen(sections: Record<string, string>, sent: Map<string, string>) {
  const changed: Record<string, string> = {};
  for (const [id, html] of Object.entries(sections)) {
    const content = withoutAges(html);
    if (sent.get(id) === content) continue;
    sent.set(id, content);
    changed[id] = html;
  }
  return changed;
}

// "4 min ago" alone is no news: the page counts on by itself.
function withoutAges(html: string): string {
  return html.replaceAll(/(<time [^>]*>)[^<]*/g, "$1");
}
