import { setTimeout as sleep } from "node:timers/promises";
import type { Context } from "hono";
import { streamSSE } from "hono/streaming";
import type { ConsoleDeps } from "../deps.ts";

/** How often a stream looks, ms. */
const LOOK_EVERY_MS = 2_000;
/** How often it reads the whole page when nothing seems to have changed, ms. */
const READ_EVERY_MS = 10_000;
/** How long a stream lives before the browser asks for a new one and is let in anew, ms. */
const LASTS_MS = 120_000;
const MAX_STREAMS = 100;
/** How soon a browser asks for the next stream, ms. */
const RETRY_MS = 2_000;

interface Sections {
  /** As they stand in the page, by the id of their element. */
  sections: Record<string, string>;
  /** Nothing here will change any more. */
  ended: boolean;
}

export interface LivePage {
  read(): Promise<Sections>;
  /** Something cheap that changes when the page does. */
  pulse?: (() => Promise<string>) | undefined;
  stopping?: AbortSignal | undefined;
  log: Pick<ConsoleDeps["log"], "warn">;
}

let streams = 0;

/**
 * Sends the sections of a page whenever they change: event `sections`, or `tick` when none did.
 * What a page refuses, its stream refuses the same way.
 */
export async function liveStream(c: Context, page: LivePage): Promise<Response> {
  if (streams >= MAX_STREAMS) {
    c.header("retry-after", "30");
    return c.text("too many live pages are open: this one stays as it is", 503);
  }
  const first = await page.read();
  const left = new AbortController();
  const signal = page.stopping ? AbortSignal.any([left.signal, page.stopping]) : left.signal;
  return streamSSE(c, async (stream) => {
    streams++;
    stream.onAbort(() => left.abort());
    try {
      for await (const change of changes(page, first, signal)) {
        const event = typeof change === "string" ? change : "sections";
        await stream.writeSSE({ event, data: JSON.stringify(change), retry: RETRY_MS });
      }
    } catch (error) {
      // The browser sees the stream end, says how old the page is, and asks again.
      if (!signal.aborted) page.log.warn({ err: error, path: c.req.path }, "a live page broke off");
    } finally {
      streams--;
    }
  });
}

async function* changes(
  page: LivePage,
  first: Sections,
  signal: AbortSignal,
): AsyncIterable<Record<string, string> | "tick" | "end"> {
  const began = Date.now();
  const sent = new Map<string, string>();
  let now = first;
  let pulse: string | undefined;
  let readAt = began;
  for (;;) {
    const changed = unseen(now.sections, sent);
    yield Object.keys(changed).length > 0 ? changed : "tick";
    if (now.ended) {
      yield "end";
      return;
    }
    await sleep(LOOK_EVERY_MS, undefined, { signal });
    if (Date.now() - began > LASTS_MS) return;
    const before = pulse;
    pulse = await page.pulse?.();
    if (pulse !== undefined && pulse === before && Date.now() - readAt < READ_EVERY_MS) continue;
    readAt = Date.now();
    now = await page.read();
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
