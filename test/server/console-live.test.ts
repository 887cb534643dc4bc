import { createParser } from "eventsource-parser";
import { expect, test } from "vitest";
import { anOperation, openConsole } from "./browsing.ts";

test("a stream sends the sections of its page, what changes in them, and its end", async () => {
  await using server = await openConsole();
  const id = await anOperation(server, { ending: "accepted", items: 4 });
  const events = follow(
    await server.app.request(`http://localhost/operations/${id}/live?level=warn`),
  );

  const first = await events.next("sections");
  expect(Object.keys(first)).toEqual(
    expect.arrayContaining(["nav", "head", "stages", "items", "logs"]),
  );
  expect(first["stages"]).toContain("0 of 4");
  expect(first["items"]).toContain(`/operations/${id}?level=warn&amp;outcome=open#items`);

  await server.holdfast.operation.cancel(id);
  const second = await events.next("sections");
  expect(second["head"]).toContain("cancelled on request");
  expect(second["stages"]).toContain("4 of 4");
  await events.next("end");
});

test("a stream sends nothing twice: without news it only says that it is alive", async () => {
  await using server = await openConsole();
  const id = await anOperation(server, { ending: "accepted", items: 4 });
  const events = follow(await server.app.request(`http://localhost/operations/${id}/live`));
  await events.next("sections");
  expect(await events.one()).toBe("tick");
  await events.leave();
});

function follow(answer: Response) {
  expect(answer.headers.get("content-type")).toContain("text/event-stream");
  const reader = answer.body!.getReader();
  const decoder = new TextDecoder();
  const waiting: { event: string; data: string }[] = [];
  const parser = createParser({
    onEvent: ({ event, data }) => waiting.push({ event: event ?? "message", data }),
  });
  const take = async () => {
    while (waiting.length === 0) {
      const { done, value } = await reader.read();
      if (done) throw new Error("the stream has ended");
      parser.feed(decoder.decode(value, { stream: true }));
    }
    return waiting.shift()!;
  };
  return {
    one: async () => (await take()).event,
    next: async (name: string) => {
      for (;;) {
        const { event, data } = await take();
        if (event === name) return JSON.parse(data) as Record<string, string>;
      }
    },
    leave: () => reader.cancel(),
  };
}
