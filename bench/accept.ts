import { connect } from "../client/index.ts";
import { acceptRivals, type Document } from "./accept-rivals.ts";
import { median, percentile, ratio } from "./figures.ts";
import type { Benchmark, Frame } from "./frame.ts";
import { inTurn, timed } from "./in-turn.ts";
import { documents } from "./prose.ts";

export const benchmark: Benchmark = {
  name: "accept",
  question: "What does the promise cost when a batch is accepted, beside the bare bytes?",
  async run(frame) {
    const server = await frame.postgres();
    const childrenPerSecond = async (children: number, submits: number, times: number) =>
      measureChildren(frame, await frame.database(server), children, submits, times);
    await childrenPerSecond(100, 30, 4);
    await childrenPerSecond(1_000, 8, 5);
    await measureLatency(frame, await frame.database(server));
  },
};

const BATCH = 1_000;
const DOCUMENT_SIZE = 1_000;

/** Every document a sub-batch of its own: a parent row, and a child row for each document. */
async function measureChildren(
  frame: Frame,
  databaseUrl: string,
  children: number,
  submits: number,
  times: number,
): Promise<void> {
  const { submit, rivals, close } = await contenders(databaseUrl);
  const items = itemsOf(children);
  const perSecond = (write: (items: Document[]) => Promise<unknown>) => async () => {
    const tookMs = await timed(async () => {
      for (let n = 0; n < submits; n++) await write(items);
    });
    return (submits * children * 1_000) / tookMs;
  };
  const seen = await inTurn(frame.quick ? 2 : 15, {
    ours: perSecond((items) => submit(items, { batchItems: 1 })),
    statement: perSecond(rivals.oneStatement),
    inserts: perSecond(rivals.insertPerChild),
  });
  await close();
  const at = `at ${children.toLocaleString("en")} children`;
  frame.measure(`accept, ${at}`, median(seen.ours), "children/s");
  frame.measure(`bare two-table statement, ${at}`, median(seen.statement), "children/s");
  frame.measure(`one insert per child, ${at}`, median(seen.inserts), "children/s");
  frame.measure(`of the bare statement, ${at}`, 100 * ratio(seen.ours, seen.statement), "%", {
    atLeast: 50,
  });
  frame.measure(`of one insert per child, ${at}`, ratio(seen.ours, seen.inserts), "x", {
    atLeast: times,
  });
}

/** A usual batch, as it is packed unless told otherwise. */
async function measureLatency(frame: Frame, databaseUrl: string): Promise<void> {
  const { submit, rivals, close } = await contenders(databaseUrl);
  const items = itemsOf(BATCH);
  const seen = await inTurn(frame.quick ? 20 : 300, {
    ours: () => timed(() => submit(items)),
    copy: () => timed(() => rivals.copy(items)),
  });
  await close();
  const what = `${BATCH.toLocaleString("en")} documents of 1 KB`;
  frame.measure(`accept p50, ${what}`, percentile(seen.ours, 50), "ms");
  frame.measure(`accept p99, ${what}`, percentile(seen.ours, 99), "ms");
  frame.measure(`bare COPY p50`, percentile(seen.copy, 50), "ms");
  frame.measure(`bare COPY p99`, percentile(seen.copy, 99), "ms");
  frame.measure(`p50 of the bare COPY`, percentile(seen.ours, 50) / percentile(seen.copy, 50), "x");
  frame.measure(
    `p99 of the bare COPY`,
    percentile(seen.ours, 99) / percentile(seen.copy, 99),
    "x",
    { atMost: 3 },
  );
}

async function contenders(databaseUrl: string) {
  const holdfast = connect({ databaseUrl, poolSize: 1 });
  const rivals = await acceptRivals(databaseUrl);
  return {
    rivals,
    submit: (items: Document[], options = {}) =>
      holdfast.retain.submit({ bank: "bench", items, options }),
    close: () => Promise.all([holdfast.close(), rivals.close()]),
  };
}

function itemsOf(count: number): Document[] {
  return documents(count, DOCUMENT_SIZE).map((content, index) => ({
    documentId: `document-${index}`,
    content,
  }));
}
