import type { Context } from "hono";
import type { Page } from "../../contracts/operation.ts";
import { NDJSON_TYPE } from "../body.ts";

/** Rows read at a time while all of a list is streamed. */
export const PAGE_OF_LINES = 1_000;

export function wantsLines(c: Context): boolean {
  return (c.req.header("accept") ?? "").toLowerCase().includes(NDJSON_TYPE);
}

/**
 * All of a list as NDJSON, a page in memory at a time. The first page is read before anything is
 * sent, so a refusal is a proper answer; a fault later on breaks the connection, and what came
 * is seen to be incomplete.
 */
export async function answerLines<T>(
  read: (after: string | undefined) => Promise<Page<T>>,
  from: string | undefined,
): Promise<Response> {
  let page: Page<T> | undefined = await read(from);
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        while (page) {
          const text = page.items.map((item) => `${JSON.stringify(item)}\n`).join("");
          page = page.next === undefined ? undefined : await read(page.next);
          if (text === "") continue;
          controller.enqueue(encoder.encode(text));
          return;
        }
        controller.close();
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body, { headers: { "content-type": NDJSON_TYPE } });
}
