import pLimit from "p-limit";
import type { HoldfastConfig } from "../contracts/config.ts";
import type { Drained, DrainRef } from "../contracts/messages.ts";
import type { Consolidator, FactForConsolidation } from "../contracts/plugins.ts";
import { unstorable } from "../contracts/text.ts";
import { findBankById, isBankLive } from "../db/banks.ts";
import { ownKnowledge, shareBank } from "../db/locks.ts";
import {
  addMarks,
  addMarksLater,
  deleteMarks,
  dueMarks,
  nextMarkDue,
  nextScope,
} from "../db/marks.ts";
import {
  CONSOLIDATE,
  entitiesOfMarks,
  entitiesOvertaken,
  factsAbout,
  replaceObservations,
  type EntityFacts,
  type NewObservation,
} from "../db/observations.ts";
import type { Db } from "../db/pool.ts";
import { countFailure, forgetFailures } from "../db/quarantine.ts";
import { markDrainSeen } from "../db/relay.ts";
import { summaryConsolidator } from "../domain/consolidation.ts";
import { backoffMs, classify, deferredUntil } from "../domain/faults.ts";
import { atWork } from "./drain.ts";
import { beating } from "./heartbeat.ts";
import { inTime } from "./in-time.ts";

export interface ConsolidateDeps {
  db: Db;
  config: HoldfastConfig;
}

/** Marks of one round: one bank, coalesced over however many batches wrote them. */
const MARKS = 500;
/** Entities of one transaction. */
const ENTITIES = 200;
const FACTS_PER_ENTITY = 50;
const CONCURRENCY = 8;
const SLICE_MS = 20_000;
const TIMEOUT_MS = 60_000;
/** Failures of one entity before it is held. */
const MAX_FAILURES = 5;

export const consolidateActivities = ({ db, config }: ConsolidateDeps) => {
  const consolidator = config.consolidator ?? summaryConsolidator;
  return {
    /** Safe to repeat: marks go in the transaction that writes what they asked for. */
    consolidate(ref: DrainRef): Promise<Drained> {
      return beating(async (signal) => {
        const sliceEnds = Date.now() + SLICE_MS;
        let served = "";
        let done = 0;
        while (Date.now() < sliceEnds) {
          signal.throwIfAborted();
          const scope = await nextScope(db, CONSOLIDATE, served);
          if (scope === undefined) return rest(db, ref, done);
          served = scope;
          done += await atWork(db, ref, () => consolidateBank(db, consolidator, scope, signal));
        }
        return { done, more: true };
      });
    },
  };
};

async function rest(db: Db, ref: DrainRef, done: number): Promise<Drained> {
  const next = await nextMarkDue(db, CONSOLIDATE);
  await markDrainSeen(db, ref, true);
  return { done, more: false, ...(next ? { nextDueAt: next.getTime() } : {}) };
}

/** One round for one bank. Answers how many observations it wrote. */
async function consolidateBank(
  db: Db,
  consolidator: Consolidator,
  bankId: string,
  signal: AbortSignal,
): Promise<number> {
  const marks = await dueMarks(db, CONSOLIDATE, bankId, MARKS);
  const bank = await findBankById(db, bankId);
  const entities = bank
    ? await entitiesOfMarks(
        db,
        bankId,
        marks.map((mark) => mark.key),
      )
    : [];
  let written = 0;
  for (let from = 0; bank && from < entities.length; from += ENTITIES) {
    const some = entities.slice(from, from + ENTITIES);
    const about = await factsAbout(db, bankId, some, FACTS_PER_ENTITY);
    const answers = await consolidated(consolidator, about, bank, signal);
    written += await writeAnswers(db, consolidator, bankId, { entities: some, about }, answers);
  }
  await db.transaction((tx) =>
    deleteMarks(
      tx,
      marks.map((mark) => mark.seq),
    ),
  );
  return written;
}

type Answer =
  | { entity: string; observation: NewObservation | undefined }
  | { entity: string; error: unknown };

function consolidated(
  consolidator: Consolidator,
  about: readonly EntityFacts[],
  bank: { tenant: string; name: string },
  signal: AbortSignal,
): Promise<Answer[]> {
  const limit = pLimit(CONCURRENCY);
  return Promise.all(
    about.map(({ entity, name, facts }) =>
      limit(async (): Promise<Answer> => {
        signal.throwIfAborted();
        if (facts.length < 2) return { entity, observation: undefined };
        try {
          const { tenant, name: ofBank } = bank;
          const said = await inTime("consolidator", TIMEOUT_MS, signal, (bounded) =>
            consolidator.consolidate(name, facts, { tenant, bank: ofBank, signal: bounded }),
          );
          return { entity, observation: said && { entity, name, ...checked(said, facts) } };
        } catch (error) {
          return { entity, error };
        }
      }),
    ),
  );
}

// What cannot be written is the fault of this one entity, not of the page it is written with.
function checked(
  said: { text: string; sources: readonly string[] },
  facts: readonly FactForConsolidation[],
): { text: string; sources: readonly string[] } {
  const { text, sources } = said;
  const known = new Set(facts.map((fact) => fact.id));
  const stranger = sources.find((source) => !known.has(source));
  if (stranger !== undefined) {
    throw new Error(`the consolidator names a source it was not given: ${stranger}`);
  }
  const why = unwritable(text);
  if (why) throw new Error(`the text of the consolidator ${why}`);
  return { text, sources };
}

const MAX_TEXT = 100_000;

// What a plug-in answers is whatever it answers.
function unwritable(text: unknown): string | undefined {
  if (typeof text !== "string") return "is no text";
  return text.length > MAX_TEXT ? `is longer than ${MAX_TEXT}` : unstorable(text);
}

// The facts were read before. What was said of one that went since may repeat it, so it is not
// written: the entity is marked again.
async function writeAnswers(
  db: Db,
  consolidator: Consolidator,
  bankId: string,
  { entities, about }: { entities: readonly string[]; about: readonly EntityFacts[] },
  answers: readonly Answer[],
): Promise<number> {
  const failed = answers.filter((answer) => "error" in answer);
  const failing = new Set(failed.map((answer) => answer.entity));
  const settled = entities.filter((entity) => !failing.has(entity));
  const observations = answers.flatMap((answer) =>
    "observation" in answer && answer.observation ? [answer.observation] : [],
  );
  return db.transaction(async (tx) => {
    await shareBank(tx, bankId);
    if (!(await isBankLive(tx, bankId))) return 0;
    await ownKnowledge(tx, bankId);
    const overtaken = new Set(await entitiesOvertaken(tx, about));
    const again = [...overtaken].map((entity) => `entity/${entity}`);
    await addMarks(tx, CONSOLIDATE, bankId, again);
    for (const { entity, error } of failed) {
      if (!overtaken.has(entity)) await putOff(tx, bankId, entity, error);
    }
    await forgetFailures(tx, CONSOLIDATE, bankId, settled);
    const standing = observations.filter((one) => !overtaken.has(one.entity));
    const maker = `${consolidator.name}@${consolidator.version}`;
    return replaceObservations(tx, bankId, settled, standing, maker);
  });
}

// A failed entity is marked again for later; one that fails for good is held, and seen.
async function putOff(
  tx: Parameters<typeof countFailure>[0],
  bankId: string,
  entity: string,
  error: unknown,
): Promise<void> {
  const reason = error instanceof Error ? error.message : String(error);
  const later = deferredUntil(error);
  const spends = !later && classify(error) === "domain";
  const failures = spends
    ? await countFailure(tx, {
        queue: CONSOLIDATE,
        scope: bankId,
        key: entity,
        reason,
        cap: MAX_FAILURES,
      })
    : 1;
  if (failures >= MAX_FAILURES) return;
  const wait = backoffMs(failures, { baseMs: 5_000, capMs: 600_000 });
  await addMarksLater(
    tx,
    CONSOLIDATE,
    bankId,
    [`entity/${entity}`],
    later ?? new Date(Date.now() + wait),
  );
}
