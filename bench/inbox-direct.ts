import { connect, type EntityInput } from "../client/index.ts";
import { median, ratio } from "./figures.ts";
import type { Frame } from "./frame.ts";
import { inTurn, timed } from "./in-turn.ts";
import { inboxRival } from "./inbox-rival.ts";
import { feed, feedLine } from "./inventory-feed.ts";

/** Entities of one message, as of one COPY. */
export const MESSAGE = 10_000;

/** Entities of a new network over one connection: objects, lines, and a bare COPY of the same rows. */
export async function measureDirect(frame: Frame): Promise<void> {
  const databaseUrl = await frame.database(await frame.postgres());
  const holdfast = connect({ databaseUrl, poolSize: 1 });
  frame.atEnd(() => holdfast.close());
  const rival = await inboxRival(databaseUrl, MESSAGE);
  frame.atEnd(() => rival.close());
  const size = frame.quick ? 5_000 : 100_000;
  const lines = Array.from({ length: size }, (_, no) => feedLine(no));
  const inputs = messagesOf(lines).map((part) =>
    part.map((line) => JSON.parse(line) as EntityInput),
  );
  const bodies = messagesOf(lines).map((part) => Buffer.from(part.join("\n")));
  const entities = feed(size);
  const { db, inbox } = holdfast;
  const perSecond = async (work: () => Promise<unknown>) => {
    await db.query("checkpoint");
    return (size * 1_000) / (await timed(work));
  };

  const seen = await inTurn(frame.quick ? 1 : 5, {
    objects: (round) =>
      perSecond(async () => {
        for (const input of inputs) await inbox.ingest(input, { tenant: `objects-${round}` });
      }),
    lines: (round) =>
      perSecond(async () => {
        for (const body of bodies) await inbox.ingestLines(once(body), { tenant: `l-${round}` });
      }),
    copy: (round) => {
      const rows = rival.rows(entities, `objects-${round}`);
      return perSecond(() => rival.copy(rows));
    },
  });
  const again = await inTurn(frame.quick ? 1 : 3, {
    copies: () =>
      perSecond(async () => {
        for (const input of inputs) await inbox.ingest(input, { tenant: "objects-1" });
      }),
  });
  frame.measure("direct, objects", median(seen.objects), "entities/s");
  frame.measure("direct, NDJSON", median(seen.lines), "entities/s");
  frame.measure("COPY of the same rows into the same table", median(seen.copy), "rows/s");
  frame.measure("direct, objects, of COPY", 100 * ratio(seen.objects, seen.copy), "%", {
    atLeast: 50,
  });
  frame.measure("direct, NDJSON, of COPY", 100 * ratio(seen.lines, seen.copy), "%");
  frame.measure("the same again, only counted", median(again.copies), "entities/s");
  frame.measure("reference: row by row, another system on another machine", 62, "entities/s");
  frame.measure("reference: the same system in bulk", 17_000, "entities/s");
  await frame.close();
}

function messagesOf<T>(all: readonly T[]): T[][] {
  const parts: T[][] = [];
  for (let at = 0; at < all.length; at += MESSAGE) parts.push(all.slice(at, at + MESSAGE));
  return parts;
}

async function* once(body: Uint8Array): AsyncIterable<Uint8Array> {
  yield body;
}
