import { beforeEach, describe, expect, test } from "vitest";
import { prepareLarge } from "../../activities/retain-large.ts";
import type { Holdfast } from "../../client/index.ts";
import type { ExtractedFact, Extractor } from "../../contracts/plugins.ts";
import { PAYLOAD_PART_SIZE } from "../../contracts/retain.ts";
import { findBank, isBankLive } from "../../db/banks.ts";
import { markBankErased, sweepBank, sweepErasedBanks } from "../../db/erase.ts";
import { finishOperation } from "../../db/finish.ts";
import { ownKnowledge, shareBank } from "../../db/locks.ts";
import { addMarks } from "../../db/marks.ts";
import { entitiesOvertaken, factsAbout, replaceObservations } from "../../db/observations.ts";
import type { Db } from "../../db/pool.ts";
import { countFailure } from "../../db/quarantine.ts";
import { beginStagedPart } from "../../db/staged-parts.ts";
import { entityKey, insertDerived } from "../../db/parts.ts";
import { takenMarks } from "../support/capturing.ts";
import { fresh } from "../support/fresh.ts";
import { dueByHand, preparedByHand } from "../support/retain-by-hand.ts";
import { searchDatabase } from "../support/search-database.ts";
import { fillIndexes } from "../support/searching.ts";
import { sizes, snapshotOf } from "../support/snapshot.ts";

/** Planted in everything the documents to be erased bring with them. */
const WORD = "Xylotheque";

let db: Db;
let holdfast: Holdfast;
beforeEach(async () => {
  ({ db, holdfast } = await fresh());
});

/** Finds the planted word as an entity, and repeats content in every error. */
const telltale: Extractor = {
  name: "telltale",
  version: "1",
  extract(chunk) {
    if (chunk.text.includes("fails")) throw new Error(`cannot read "${chunk.text}"`);
    const name = /[A-Z]\w+/.exec(chunk.text)![0];
    const fact: ExtractedFact = { text: chunk.text, entities: [name, "Everybody"] };
    return [fact, fact];
  },
};

const item = (documentId: string, content: string) => ({
  documentId,
  content,
  context: `in ${content}`,
  tags: [`tag-${content}`],
  metadata: { about: content },
  entities: [{ text: content.slice(0, 50) }],
});

async function submitted(bank: string, items: ReturnType<typeof item>[], maxAttempts = 3) {
  return (await holdfast.retain.submit({ bank, items, options: { maxAttempts } })).id;
}

async function worked(id: string): Promise<void> {
  await (await preparedByHand(db, id, telltale)).commit();
}

async function finished(id: string): Promise<void> {
  const ending = { outcome: "failed", reason: "left open", by: "test" } as const;
  await db.transaction((tx) => finishOperation(tx, { id, generation: 1, ...ending }));
}

async function ledger(id: string): Promise<string[]> {
  const { items } = await holdfast.operation.items(id);
  return items.map(({ key, outcome, reason }) => `${key} ${outcome} ${reason ?? ""}`.trim());
}

/** What work leaves behind in every state: written, failed for good, failed for now, untouched. */
async function everyState(bank: string, documents: readonly string[]): Promise<string[]> {
  const items = (text: string) => documents.map((id) => item(id, `${WORD} ${text}`));
  const written = await submitted(bank, items("was here"));
  await worked(written);
  await finished(written);
  const failed = await submitted(bank, items("fails for good"), 1);
  await worked(failed);
  await finished(failed);
  const failing = await submitted(bank, items("fails for now"));
  await worked(failing);
  const waiting = await submitted(bank, items("is waiting"));
  const bankId = (await findBank(db, "default", bank))!;
  await consolidated(bankId);
  await staged(bankId, waiting);
  return [written, failed, failing, waiting];
}

async function consolidated(bankId: string): Promise<void> {
  const { rows } = await db.query<{ id: string; entity: string }>(
    `select part_seq || '.' || chunk_no || '.' || ordinal as id, entity
       from holdfast.fact_entities where bank_id = $1 order by 1`,
    [bankId],
  );
  await db.transaction(async (tx) => {
    await ownKnowledge(tx, bankId);
    for (const entity of [entityKey(WORD), "everybody"]) {
      const sources = rows.filter((row) => row.entity === entity).map((row) => row.id);
      const name = `${WORD} as ${entity}`;
      await replaceObservations(tx, bankId, [entity], [{ entity, name, text: name, sources }], "t");
    }
    await addMarks(tx, "consolidate", bankId, [`entity/${entityKey(WORD)}`]);
    const failure = { queue: "consolidate", scope: bankId, key: entityKey(WORD), cap: 1 };
    await countFailure(tx, { ...failure, reason: `no idea about ${WORD}` });
  });
}

async function staged(bankId: string, operationId: string): Promise<void> {
  const { items } = await holdfast.operation.items(operationId);
  const { seq, no: itemNo } = items[0]!;
  const key = { seq, operationId, itemNo, bankId, extractor: "telltale", chunkSize: 100 };
  await db.transaction(async (tx) => {
    await beginStagedPart(tx, key);
    const text = `${WORD} in pieces`;
    const chunk = { no: 0, start: 0, end: text.length, text };
    const facts = [{ chunkNo: 0, ordinal: 0, text, entities: [WORD] }];
    await insertDerived(tx, bankId, [{ seq, chunks: [chunk], facts }]);
  });
}

const inOrder = (a: string, b: string) => (a < b ? -1 : 1);
const places = async () =>
  (await searchDatabase(db, WORD)).map((hit) => hit.split(":")[0]!).toSorted(inOrder);

/** Every column that the states above can plant a word in. */
const PLANTED = [
  "attempts.last_error",
  "chunks.text",
  "document_parts.context",
  "document_parts.metadata",
  "document_parts.tags",
  "events.body",
  "fact_entities.entity",
  "fact_entities.name",
  "facts.text",
  "logs.message",
  "marks.key",
  "observations.entity",
  "observations.name",
  "observations.text",
  "operations.reason",
  "outcomes.reason",
  "payloads.content",
  "payloads.meta",
  "quarantine.key",
  "quarantine.reason",
];

describe("a bank", () => {
  test("that was erased has left no word of what it held anywhere in the database", async () => {
    await everyState("diary", ["a", "b"]);
    expect(await places()).toEqual(PLANTED);

    const erased = await holdfast.bank.erase("diary");
    expect(erased).toEqual({
      tenant: "default",
      bank: "diary",
      operationsEnded: 2,
      complete: true,
    });
    expect(await searchDatabase(db, WORD)).toEqual([]);

    const left = sizes(
      await snapshotOf(db, { but: ["drains", "index_lanes", "schema_migrations", "installation"] }),
    );
    expect(left).toEqual({ audit: 1, banks: 1 });
  });

  test("that was erased is gone at once, and its name is free", async () => {
    await everyState("diary", ["a"]);
    await holdfast.bank.erase("diary");
    await expect(holdfast.bank.get("diary")).rejects.toThrow("no bank diary");
    await expect(holdfast.bank.erase("diary")).rejects.toThrow("no bank diary");
    const again = await submitted("diary", [item("a", "Something else")]);
    await worked(again);
    expect(await ledger(again)).toEqual(["a succeeded"]);
    expect((await holdfast.bank.get("diary")).documents).toBe(1);
  });

  test("that is erased takes nothing of its neighbours with it", async () => {
    await everyState("diary", ["a"]);
    const kept = await submitted("atlas", [item("a", "Kept for ever")]);
    await worked(kept);
    await finished(kept);
    const before = await holdfast.document.get("atlas", "a");
    await holdfast.bank.erase("diary");
    expect(await holdfast.document.get("atlas", "a")).toEqual(before);
    expect(await ledger(kept)).toEqual(["a succeeded"]);
  });

  test("that is erased waits for a commit in flight, whose work goes with it", async () => {
    const id = await submitted("diary", [item("a", `${WORD} in flight`)]);
    const page = await preparedByHand(db, id, telltale);
    const order: string[] = [];
    let erasing: Promise<unknown> | undefined;
    await db.transaction(async (tx) => {
      await page.commit(tx);
      erasing = holdfast.bank.erase("diary").then(() => order.push("erased"));
      await lockWaiters(1);
      order.push("commits");
    });
    await erasing;
    expect(order).toEqual(["commits", "erased"]);
    expect(await searchDatabase(db, WORD)).toEqual([]);
  });

  test("that is erased stays as it is until those who write in it are done", async () => {
    await submitted("diary", [item("a", "Berlin")]);
    const bankId = (await findBank(db, "default", "diary"))!;
    let erasing: Promise<unknown> | undefined;
    await db.transaction(async (tx) => {
      await shareBank(tx, bankId);
      erasing = holdfast.bank.erase("diary");
      await lockWaiters(1);
      expect(await isBankLive(tx, bankId)).toBe(true);
    });
    await erasing;
    expect(await isBankLive(db, bankId)).toBe(false);
  });

  test("that was erased takes no commit that was prepared before", async () => {
    const id = await submitted("diary", [item("a", `${WORD} too late`)]);
    const page = await preparedByHand(db, id, telltale);
    await holdfast.bank.erase("diary");
    expect(await page.commit()).toEqual({ settled: 0, stop: "gone" });
    expect(await searchDatabase(db, WORD)).toEqual([]);
  });

  test("that was erased cancels what was accepted meanwhile, and upkeep removes it", async () => {
    await everyState("diary", ["a"]);
    const bank = {
      id: (await findBank(db, "default", "diary"))!,
      tenant: "default",
      name: "diary",
    };
    let late = "";
    await db.transaction(async (tx) => {
      const items = [item("a", `${WORD} meanwhile`)];
      late = (await holdfast.retain.submit({ bank: "diary", items }, { tx })).id;
      await db.transaction((own) => markBankErased(own, bank.id));
      expect(await sweepBank(db, bank, Date.now() + 10_000)).toBe(true);
    });
    await worked(late);
    expect(await ledger(late)).toEqual(["a cancelled bank erased"]);
    expect(await sweepErasedBanks(db)).toBe(0); // it was swept a moment ago
    await db.query("update holdfast.banks set sweep_due_at = clock_timestamp()");
    expect(await sweepErasedBanks(db)).toBe(1);
    expect(await searchDatabase(db, WORD)).toEqual([]);
    await expect(holdfast.operation.get(late)).rejects.toThrow("no operation");
  });

  test("whose erasing was cut short is finished by upkeep, and forgotten after a day", async () => {
    await everyState("diary", ["a"]);
    const id = (await findBank(db, "default", "diary"))!;
    await db.transaction((tx) => markBankErased(tx, id));
    expect(await sweepBank(db, { id, tenant: "default", name: "diary" }, 0)).toBe(false);
    expect(await places()).toContain("facts.text");
    await db.query(
      `update holdfast.banks set sweep_due_at = clock_timestamp(),
              erased_at = clock_timestamp() - interval '25 hours'`,
    );
    expect(await sweepErasedBanks(db)).toBe(1);
    expect(await searchDatabase(db, WORD)).toEqual([]);
    expect((await db.query("select from holdfast.banks")).rowCount).toBe(0);
  });

  test("that is erased still tells webhooks how its operations ended, without quoting them", async () => {
    const { db, holdfast } = await fresh({ webhooks: { allow: ["receiver.test"] } });
    const url = "http://receiver.test/";
    await holdfast.webhook.add({ url, events: ["operation.finished"] });
    const { id } = await holdfast.retain.submit({
      bank: "diary",
      items: [item("a", `${WORD} fails`), item("b", `${WORD} is fine`)],
      options: { maxAttempts: 1 },
    });
    await (await preparedByHand(db, id, telltale)).commit();
    await holdfast.bank.erase("diary");
    const { rows } = await db.query<{ body: Record<string, unknown> }>(
      "select body from holdfast.events",
    );
    expect(rows.map(({ body }) => body)).toMatchObject([
      { operationId: id, state: "failed", reason: "bank erased" },
    ]);
    expect(await searchDatabase(db, WORD)).toEqual([]);
  });
});

describe("a document", () => {
  test("that was erased has left no word of itself anywhere in the database", async () => {
    const operations = await everyState("diary", ["a"]);
    expect(await places()).toEqual(PLANTED);

    const erased = await holdfast.document.erase("diary", "a");
    expect(erased).toMatchObject({ documentId: "a", parts: 1, items: 4 });
    expect(await searchDatabase(db, WORD)).toEqual([]);
    await expect(holdfast.document.get("diary", "a")).rejects.toThrow("no document a");

    for (const id of operations.slice(2)) await worked(id);
    expect((await Promise.all(operations.map(ledger))).flat()).toEqual([
      "a succeeded",
      "a failed document erased",
      "a superseded document erased",
      "a superseded document erased",
    ]);
    expect(await searchDatabase(db, WORD)).toEqual([]);
  });

  test("that is erased leaves the other documents of its operations readable and explained", async () => {
    const id = await submitted(
      "diary",
      [item("a", `${WORD} fails`), item("b", "Berlin fails"), item("c", "Cairo stays")],
      1,
    );
    await worked(id);
    await finished(id);
    await holdfast.document.erase("diary", "a");
    expect(await searchDatabase(db, WORD)).toEqual([]);
    expect(await ledger(id)).toEqual([
      "a failed document erased",
      'b failed cannot read "Berlin fails"',
      "c succeeded",
    ]);
    expect((await holdfast.operation.get(id)).reason).toContain('cannot read "Berlin fails"');
    expect((await holdfast.document.get("diary", "c")).text).toBe("Cairo stays");
  });

  test("that is erased takes observations about its entities, and marks those that others know", async () => {
    const id = await submitted("diary", [item("a", `${WORD} one`), item("b", "Berlin two")]);
    await worked(id);
    const bankId = (await findBank(db, "default", "diary"))!;
    await consolidated(bankId);
    await db.query("delete from holdfast.marks");
    await holdfast.document.erase("diary", "a");
    const { rows } = await db.query("select scope, key from holdfast.marks order by key");
    expect(rows).toEqual([{ scope: bankId, key: "entity/everybody" }]);
    expect((await holdfast.bank.observations("diary")).items).toEqual([]);
  });

  test("that was erased may be written again, and reads only what came after", async () => {
    await worked(await submitted("diary", [item("a", `${WORD} before`)]));
    await holdfast.document.erase("diary", "a");
    await worked(await submitted("diary", [item("a", "Afterwards")]));
    expect((await holdfast.document.get("diary", "a")).text).toBe("Afterwards");
  });

  test.each(["is written", "fails for now"])(
    "that is erased waits for a commit in flight that %s, and takes what it left",
    async (how) => {
      const id = await submitted("diary", [item("a", `${WORD} ${how}`)]);
      const page = await preparedByHand(db, id, telltale);
      let erasing: Promise<unknown> | undefined;
      await db.transaction(async (tx) => {
        await page.commit(tx);
        erasing = holdfast.document.erase("diary", "a");
        await lockWaiters(1);
      });
      await erasing;
      expect(await searchDatabase(db, WORD)).toEqual([]);
    },
  );

  test.each(["is written", "fails"])(
    "that was erased is not brought back by a page that was prepared before and %s",
    async (how) => {
      const id = await submitted("diary", [item("a", `${WORD} ${how}`)]);
      const page = await preparedByHand(db, id, telltale);
      await holdfast.document.erase("diary", "a");
      expect(await page.commit()).toEqual({ settled: 1 });
      expect(await ledger(id)).toEqual(["a superseded document erased"]);
      expect(await searchDatabase(db, WORD)).toEqual([]);
    },
  );

  test("that is erased while it is read piece by piece stops being read, and keeps no piece", async () => {
    const text = `${WORD} `.repeat(PAYLOAD_PART_SIZE / 5);
    const id = await submitted("diary", [{ ...item("a", "Berlin"), content: text }]);
    let pieces = 0;
    const erasing: Extractor = {
      ...telltale,
      async extract() {
        if (++pieces === 100) await holdfast.document.erase("diary", "a");
        return [{ text: `${WORD} ${pieces}`, entities: [WORD] }];
      },
    };
    const { context, due } = await dueByHand(db, id, erasing);
    await expect(prepareLarge(context, due[0]!, () => undefined)).rejects.toThrow("erased");
    expect(await searchDatabase(db, WORD)).toEqual([]);
    await worked(id);
    expect(await ledger(id)).toEqual(["a superseded document erased"]);
  });

  test("that is erased while its operation is ending does not stay in the reason of the end", async () => {
    const id = await submitted("diary", [item("a", `${WORD} fails`)], 1);
    await worked(id);
    let erasing: Promise<unknown> | undefined;
    await db.transaction(async (tx) => {
      const ending = { outcome: "failed", reason: "left open", by: "test" } as const;
      await finishOperation(tx, { id, generation: 1, ...ending });
      erasing = holdfast.document.erase("diary", "a");
      await lockWaiters(1);
    });
    await erasing;
    expect(await searchDatabase(db, WORD)).toEqual([]);
    expect((await holdfast.operation.get(id)).reason).toBe("of 1 item, 1 failed: document erased");
  });

  test("that the bank never heard of is not found, and erasing it leaves no trace", async () => {
    await worked(await submitted("diary", [item("a", "Berlin")]));
    const before = await snapshotOf(db);
    await expect(holdfast.document.erase("diary", "nope")).rejects.toThrow("no document nope");
    expect(await snapshotOf(db)).toEqual(before);
  });
});

test("facts of an erased bank are not removed under the hands of a consolidation", async () => {
  await everyState("diary", ["a"]);
  const bankId = (await findBank(db, "default", "diary"))!;
  let erasing: Promise<unknown> | undefined;
  await db.transaction(async (tx) => {
    await ownKnowledge(tx, bankId);
    erasing = holdfast.bank.erase("diary");
    await lockWaiters(1);
    expect((await db.query("select from holdfast.facts")).rowCount).toBeGreaterThan(0);
  });
  await erasing;
  expect(await searchDatabase(db, WORD)).toEqual([]);
});

test("what was about to be said of facts is known to be overtaken when one of them was erased", async () => {
  await worked(await submitted("diary", [item("a", `${WORD} one`), item("b", "Berlin two")]));
  const bankId = (await findBank(db, "default", "diary"))!;
  const looked = await factsAbout(db, bankId, ["everybody", "berlin"], 10);
  expect(await db.transaction((tx) => entitiesOvertaken(tx, looked))).toEqual([]);
  await holdfast.document.erase("diary", "a");
  expect(await db.transaction((tx) => entitiesOvertaken(tx, looked))).toEqual(["everybody"]);
});

/** Resolves when so many sessions of this database wait for a lock. */
async function lockWaiters(n: number): Promise<void> {
  await expect
    .poll(
      async () => {
        const { rowCount } = await db.query(
          `select from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'`,
        );
        return rowCount;
      },
      { timeout: 5_000, interval: 20 },
    )
    .toBe(n);
}

describe("the index of retained documents and facts", () => {
  const WORDS = [
    "index_marks.keys",
    "index_rows.key",
    "index_rows.value",
    "quarantine.key",
    "quarantine.reason",
  ];
  const index = async () => (await places()).filter((place) => WORDS.includes(place));

  /** Indexed, with what died since still marked, a build begun and objects held. */
  async function indexed(bank: string, documentId: string): Promise<void> {
    await holdfast.search.install();
    const first = await submitted(bank, [item(documentId, `${WORD} was here`)]);
    await worked(first);
    await fillIndexes(db, {}, "holdfast");
    await db.query("delete from holdfast.index_marks");
    await db.query(
      `insert into holdfast.index_rows
       select index_id, g, part, weight, kind, key, field, value, net, words
         from holdfast.index_rows, generate_series(1, 3) g`,
    );
    await db.query(
      `insert into holdfast.quarantine (queue, scope, key, reason, held)
       select distinct 'index', 'holdfast', i.type || '/' || r.key, 'cannot index ${WORD}', true
         from holdfast.index_rows r join holdfast.search_indexes i on i.id = r.index_id
       on conflict do nothing`,
    );
    const second = await submitted(bank, [item(documentId, `${WORD} is here instead`)]);
    await worked(second);
    await finished(first);
    await finished(second);
  }

  test("has no word of a document that was erased, though no drain runs", async () => {
    await indexed("diary", "a");
    expect(await index()).toEqual(["index_rows.value", "quarantine.reason"]);
    await holdfast.document.erase("diary", "a");
    expect(await searchDatabase(db, WORD)).toEqual([]);
  });

  test("has no word of a bank that was erased, though no drain runs", async () => {
    await indexed("diary", WORD);
    expect(await index()).toEqual(WORDS);
    await holdfast.bank.erase("diary");
    expect(await searchDatabase(db, WORD)).toEqual([]);
  });

  test("keeps what it has of the neighbours of both", async () => {
    await indexed("atlas", "kept");
    const before = sizes(await snapshotOf(db));
    await indexed("diary", "a");
    await holdfast.document.erase("diary", "a");
    await holdfast.bank.erase("diary");
    const { index_rows } = sizes(await snapshotOf(db));
    expect(index_rows).toBeGreaterThan(0);
    const { rows } = await db.query<{ keys: string[] }>(
      `select distinct r.key from holdfast.index_rows r join holdfast.search_indexes i on i.id = r.index_id
        where i.type = 'document'`,
    );
    expect(rows).toEqual([{ key: '["1", "kept"]' }]);
    expect(before["index_rows"]).toBeGreaterThan(0);
  });

  test("is marked by every commit that changes what is found of a document", async () => {
    await holdfast.search.install();
    const marked = async () => (await takenMarks(db)).filter((mark) => mark.includes(".document "));
    for (const text of ["Ada met Grace", "Grace met Ada", "Grace met Ada"]) {
      const id = await submitted("diary", [{ ...item("a", text), tags: [`tag ${Math.random()}`] }]);
      await takenMarks(db);
      await worked(id);
      expect(await marked()).toEqual(['holdfast.document ["1", "a"]']);
      await finished(id);
    }
    await holdfast.document.erase("diary", "a");
    expect(await marked()).toEqual(['holdfast.document ["1", "a"]']);
  });
});
