import { expect, test } from "vitest";
import { consolidateActivities } from "../../activities/consolidate.ts";
import type { Db } from "../../db/pool.ts";
import {
  everyActivityRepeats,
  everyStepMayFail,
  type ActivityCase,
} from "../support/every-activity.ts";
import { inActivity, knowledgeOf, makeDue, retaining, worker } from "../support/retaining.ts";

const range = { no: 1, from: 1, to: 3 };

/** Two generations of documents: some new, some replaced, some unchanged, some appended to. */
const STANDING = [
  { documentId: "same", content: "Grace Hopper met Ada Lovelace in Paris." },
  { documentId: "old", content: "Grace Hopper met Charles Babbage in London on 2024-03-01." },
  { documentId: "grows", content: "First part." },
];
const COMING = [
  { documentId: "same", content: "Grace Hopper met Ada Lovelace in Paris.", tags: ["again"] },
  { documentId: "old", content: "Grace Hopper met Alan Turing in Rome." },
  { documentId: "grows", content: "Second part.", mode: "append" as const },
  { documentId: "new", content: "A new one about Ada Lovelace." },
  { documentId: "refused", content: "refuse this" },
  { documentId: "fails", content: "fail this" },
];

const config = {
  extractor: {
    name: "moody",
    version: "1",
    extract(chunk: { text: string }) {
      if (chunk.text.includes("fail")) throw new Error("cannot read it");
      return [{ text: chunk.text, entities: ["Ada Lovelace"] }];
    },
  },
  validator: {
    validate: (item: { content: string }) =>
      item.content.includes("refuse")
        ? ({ verdict: "refuse", reason: "not allowed" } as const)
        : ({ verdict: "accept" } as const),
  },
};

async function arranged() {
  // Accept has no validator here, so that the refusal happens at work.
  const made = await retaining();
  await made.finished(await made.accept({ items: STANDING }), worker(made.db, config));
  const ref = await made.accept({
    items: COMING,
    documentTags: ["batch"],
    options: { maxAttempts: 1, batchItems: 2 },
  });
  return { ...made, ref };
}

async function essence(db: Db): Promise<unknown> {
  const { rows } = await db.query(
    `select op.state, op.reason, op.result,
            (select jsonb_agg(jsonb_build_array(o.item_no, o.outcome, o.reason) order by o.item_no)
               from holdfast.outcomes o where o.operation_id = op.id) as outcomes,
            (select jsonb_object_agg(d.outcome, d.n) from (
               select outcome, sum(n) as n from holdfast.progress_deltas
                where operation_id = op.id group by 1) d) as progress,
            (select count(*) from holdfast.events e where e.operation_id = op.id) as events
       from holdfast.operations op order by op.id`,
  );
  const { rows: marks } = await db.query(
    "select count(distinct key)::int as n from holdfast.marks",
  );
  const { rows: observations } = await db.query(
    "select entity, text from holdfast.observations order by 1",
  );
  return { rows, marks, observations, knowledge: await knowledgeOf(db) };
}

const cases: ActivityCase[] = [
  {
    name: "begin",
    async arrange() {
      const { db, ref } = await arranged();
      return { db, run: (using) => worker(using).begin(ref) };
    },
    essence,
  },
  {
    name: "retainPages",
    async arrange() {
      const { db, ref, working } = await arranged();
      await working.begin(ref);
      return { db, run: (using) => worker(using, config).pages(ref, range) };
    },
    essence,
  },
  {
    name: "retainWhole",
    async arrange() {
      const { db, ref } = await arranged();
      return { db, run: (using) => worker(using, config).whole(ref) };
    },
    essence,
  },
  {
    name: "finish",
    async arrange() {
      const { db, ref, working } = await arranged();
      await working.begin(ref);
      return { db, run: (using) => worker(using).finish(ref) };
    },
    essence,
  },
  {
    name: "consolidate",
    async arrange() {
      const { db, ref } = await arranged();
      await worker(db, config).whole(ref);
      const run = (using: Db) => {
        const { consolidate } = consolidateActivities({ db: using, config });
        return inActivity(() => consolidate({ queue: "consolidate", lane: 0 }));
      };
      return { db, run };
    },
    essence,
  },
];

everyActivityRepeats(cases);
// All statements of `retainPages` are among those of `retainWhole`.
everyStepMayFail(cases.filter(({ name }) => name !== "retainPages"));

test("an activity whose worker is gone after its last commit is repeated to the same answer", async () => {
  const { db, ref } = await arranged();
  const by = worker(db, config);
  const first = await by.whole(ref);
  await makeDue(db);
  expect(await worker(db, config, "another").whole(ref)).toEqual({
    finished: { state: "gone", counts: {} },
  });
  expect(await by.finish(ref)).toEqual("finished" in first ? first.finished : undefined);
});
