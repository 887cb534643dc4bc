import { isOpen } from "../items.ts";
import { ownOperation } from "../locks.ts";
import { lockOperation } from "../operations.ts";
import { countOutcomes } from "../outcomes.ts";
import type { Db, Queryable } from "../pool.ts";
import { addDeltas, readProgress, type Delta } from "../progress.ts";
import { MOST_SUBJECTS, type Found, type RowCheck } from "./check.ts";
import { about, count, type OperationSubject } from "./operation-subject.ts";
import { RECENT } from "./windows.ts";

/** Invariants of the ledger: items, their outcomes, and what is counted of them. */

const openItemOfTerminal: RowCheck = {
  name: "open-item-of-terminal",
  explanation: "a terminal operation has no open item",
  async find({ db }) {
    const { rows } = await db.query<OperationSubject & { state: string; open: number }>(
      `with ${RECENT}
       select op.*, o.open from recent op
        cross join lateral (select count(*)::int as open from holdfast.items i
               where i.operation_id = op.id and ${isOpen("i", "op.generation")}) o
        where op.state not in ('accepted', 'running') and o.open > 0
        order by op.id limit ${MOST_SUBJECTS}`,
    );
    return rows.map((row) =>
      about(
        row,
        `is ${row.state}, and ${count(row.open, "item has", "items have")} no outcome`,
        "settle them as lost, so that run again takes them up",
      ),
    );
  },
  repair: ({ db }, { operationId }) => settleLost(db, operationId!),
};

async function settleLost(db: Db, id: string): Promise<string | undefined> {
  return db.transaction(async (tx) => {
    await ownOperation(tx, id);
    const row = await lockOperation(tx, id);
    if (!row || row.state === "accepted" || row.state === "running") return undefined;
    const { rowCount } = await tx.query(
      `insert into holdfast.outcomes
         (operation_id, item_no, generation, outcome, reason, settled_by)
       select i.operation_id, i.no, $2, 'lost', 'open when its operation had ended', 'doctor'
         from holdfast.items i where i.operation_id = $1 and ${isOpen("i", "$2", "$1")}
       on conflict do nothing`,
      [id, row.generation],
    );
    if (!rowCount) return undefined;
    const source = `doctor/lost/${row.generation}/${Date.now()}`;
    await addDeltas(tx, id, source, [{ stage: row.kind, outcome: "lost", n: rowCount }]);
    return `settled ${count(rowCount, "item")} as lost`;
  });
}

const outcomeWithoutItem: RowCheck = {
  name: "outcome-without-item",
  explanation: "items = outcomes + open: every outcome is of an item",
  async find({ db }) {
    const { rows } = await db.query<OperationSubject & { extra: number }>(
      `with ${RECENT}
       select op.*, o.extra from recent op
        cross join lateral (select count(*)::int as extra from holdfast.outcomes o
               where o.operation_id = op.id and not exists (select from holdfast.items i
                       where i.operation_id = o.operation_id and i.no = o.item_no)) o
        where o.extra > 0
          and exists (select from holdfast.items i where i.operation_id = op.id)
        order by op.id limit ${MOST_SUBJECTS}`,
    );
    return rows.map((row) =>
      about(
        row,
        `has ${count(row.extra, "outcome")} of items that do not exist`,
        "delete these outcomes",
      ),
    );
  },
  async repair({ db }, { operationId }) {
    const { rowCount } = await db.query(
      `delete from holdfast.outcomes o
        where o.operation_id = $1
          and not exists (select from holdfast.items i
                where i.operation_id = o.operation_id and i.no = o.item_no)`,
      [operationId],
    );
    if (!rowCount) return undefined;
    await mendProgress(db, operationId!); // they were counted
    return `deleted ${count(rowCount, "outcome")}`;
  },
};

const outcomeOfNewerGeneration: RowCheck = {
  name: "outcome-of-newer-generation",
  explanation: "no outcome is of a generation that its operation has not reached",
  async find({ db }) {
    const { rows } = await db.query<OperationSubject & { newer: number; newest: number }>(
      `with ${RECENT}
       select op.*, o.newer, o.newest from recent op
        cross join lateral (select count(*)::int as newer, max(o.generation) as newest
               from holdfast.outcomes o
              where o.operation_id = op.id and o.generation > op.generation) o
        where o.newer > 0
        order by op.id limit ${MOST_SUBJECTS}`,
    );
    return rows.map((row) =>
      about(
        row,
        `has ${count(row.newer, "outcome")} up to generation ${row.newest}, which it has not reached: ` +
          "its row was restored from an older backup than its ledger",
      ),
    );
  },
};

const progressDrift: RowCheck = {
  name: "progress-drift",
  explanation: "progress = ledger: the counts shown are the outcomes there are",
  async find({ db }) {
    const { rows } = await db.query<OperationSubject>(
      `with ${RECENT} select * from recent where state not in ('accepted', 'running')`,
    );
    const found: Found[] = [];
    for (const row of rows) {
      if (found.length === MOST_SUBJECTS) break;
      const drift = await driftOf(db, row);
      if (drift.length === 0) continue;
      const shown = drift.map(({ outcome, n }) => `${outcome} ${n > 0 ? "+" : ""}${n}`).join(", ");
      found.push(
        about(row, `progress differs from the ledger; missing: ${shown}`, "add the difference"),
      );
    }
    return found;
  },
  repair: ({ db }, { operationId }) => mendProgress(db, operationId!),
};

async function mendProgress(db: Db, id: string): Promise<string | undefined> {
  return db.transaction(async (tx) => {
    await ownOperation(tx, id);
    const row = await lockOperation(tx, id);
    if (!row || row.state === "accepted" || row.state === "running") return undefined;
    const drift = await driftOf(tx, row);
    if (drift.length === 0) return undefined;
    await addDeltas(tx, id, `doctor/drift/${row.generation}/${Date.now()}`, drift);
    return "added the difference";
  });
}

/** What has to be added to progress to make it the ledger, for the stage that settles items. */
async function driftOf(db: Queryable, row: OperationSubject): Promise<Delta[]> {
  const counts = await countOutcomes(db, row.id);
  const progress = (await readProgress(db, [row.id])).get(row.id) ?? [];
  const shown = new Map(
    progress.filter(({ stage }) => stage === row.kind).map(({ outcome, n }) => [outcome, n]),
  );
  const outcomes = new Set([...Object.keys(counts), ...shown.keys()]);
  return [...outcomes]
    .map((outcome) => ({
      stage: row.kind,
      outcome,
      n: (counts[outcome as keyof typeof counts] ?? 0) - (shown.get(outcome) ?? 0),
    }))
    .filter(({ n }) => n !== 0);
}

const flightOfTerminal: RowCheck = {
  name: "flight-of-terminal",
  explanation: "only an open operation has pages in flight",
  async find({ db }) {
    const { rows } = await db.query<OperationSubject & { flights: number }>(
      `select op.id, op.tenant, op.kind, count(*)::int as flights
         from holdfast.flights f join holdfast.operations op on op.id = f.operation_id
        where op.state in ('completed', 'failed', 'cancelled')
        group by 1, 2, 3 order by 1 limit ${MOST_SUBJECTS}`,
    );
    return rows.map((row) =>
      about(row, `has ended with ${count(row.flights, "page")} in flight`, "forget the pages"),
    );
  },
  async repair({ db }, { operationId }) {
    const { rowCount } = await db.query(
      `delete from holdfast.flights f using holdfast.operations op
        where f.operation_id = $1 and op.id = f.operation_id
          and op.state in ('completed', 'failed', 'cancelled')`,
      [operationId],
    );
    return rowCount ? `forgot ${count(rowCount, "page")}` : undefined;
  },
};

export const LEDGER_CHECKS: readonly RowCheck[] = [
  openItemOfTerminal,
  outcomeWithoutItem,
  outcomeOfNewerGeneration,
  progressDrift,
  flightOfTerminal,
];
