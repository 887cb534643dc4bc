import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "@temporalio/client";
import type { HoldfastConfig } from "../contracts/config.ts";
import { insertAudit } from "../db/audit.ts";
import { DEFAULT_TENANT } from "../contracts/operation.ts";
import { DEFAULT_LIMITS, ROW_CHECKS, type Check, type Found, type Limits } from "../db/doctor.ts";
import { inventoryNameChecks } from "../db/doctor/inventory-names.ts";
import { relayLag } from "../db/doctor/queues.ts";
import { searchChecks } from "../db/doctor/search.ts";
import { resolveFindings, upsertFindings } from "../db/findings.ts";
import { markExamined } from "../db/installation.ts";
import type { Db, Queryable } from "../db/pool.ts";
import { searchRegistry } from "../domain/search.ts";
import { boundedCall } from "./bounded-call.ts";
import { Sights } from "./doctor-sights.ts";
import { TEMPORAL_CHECKS, type TemporalCheck, type TemporalDeps } from "./doctor-workflows.ts";
import { beating } from "./heartbeat.ts";
import { startOperationWorkflow } from "./start-operation.ts";

/** Finds, explains and mends disagreement between rows, the ledger and workflows. */

export interface ExamineOptions {
  db: Db;
  /** Absent: what needs Temporal is not looked at, and the answer says so. */
  client?: Client | undefined;
  /** Mends what can be mended without a person. */
  repair: boolean;
  limits?: Partial<Limits>;
  /** Absent: what depends on it is not looked at. */
  config?: HoldfastConfig | undefined;
}

export interface Finding {
  check: string;
  subject: string;
  message: string;
  /** What the doctor would do; null: a person has to, and the message says what. */
  repair: string | null;
  /** When this was found first. */
  since: Date;
  tenant?: string | undefined;
  operationId?: string | undefined;
  /** It is still there at the end. */
  left: boolean;
  /** What was done about it, or why that went wrong. */
  did?: string;
}

interface CheckReport {
  name: string;
  explanation: string;
  ms: number;
  /** Why the check could not be done; absent: it was. */
  notDone?: string;
}

export interface Examination {
  findings: Finding[];
  checks: CheckReport[];
}

const STATEMENT_TIMEOUT_MS = 20_000;

/**
 * One examination: every check that can be done, each bounded; with `repair`, what can be mended is,
 * and looked at again. What is found is kept in `findings`, so that it has an age and becomes an event
 * once. A check that fails hinders no other.
 * @throws only when Postgres cannot be reached
 */
export async function examine(options: ExamineOptions): Promise<Examination> {
  const { db } = options;
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const seen: Seen[] = [];
  const checks: CheckReport[] = [];
  for (const look of await plan(options)) {
    const began = performance.now();
    const report = { name: look.name, explanation: look.explanation };
    const ms = () => Math.round(performance.now() - began);
    try {
      const found = await lookFor(look, limits);
      seen.push({ look, found });
      checks.push({ ...report, ms: ms() });
    } catch (error) {
      checks.push({ ...report, ms: ms(), notDone: messageOf(error) });
    }
  }
  const findings = await remember(db, seen);
  if (options.repair) {
    for (const { look } of seen) {
      const ofLook = findings.filter(({ check }) => check === look.name);
      await mend(db, look, ofLook, limits);
    }
  }
  const left = findings.filter((finding) => finding.left);
  const looked = seen.map(({ look }) => look.name);
  await db.transaction(async (tx) => {
    await resolveFindings(tx, looked, left);
    await markExamined(tx);
  });
  return { findings, checks };
}

interface Seen {
  look: Look;
  found: Found[];
}

/** A check with what it needs, whatever that is. */
interface Look {
  name: string;
  explanation: string;
  confirmAfterMs?: number;
  find(limits: Limits): Promise<Found[]>;
  repair?: ((found: Found) => Promise<string | undefined>) | undefined;
}

async function plan({ db, client, config }: ExamineOptions): Promise<Look[]> {
  const configured = config
    ? [...inventoryNameChecks(config), ...searchChecks(searchRegistry(config, db.schema))]
    : [];
  const rowChecks = [...ROW_CHECKS, ...configured];
  const rows = (check: Check<{ db: Queryable }>): Look => ({
    ...check,
    find: (limits) => inSnapshot(db, (tx) => check.find({ db: tx }, limits)),
    repair: check.repair && ((found) => check.repair!({ db }, found)),
  });
  const away = client ? await whyAway(client) : "no Temporal was given to ask";
  if (!client || away !== undefined) {
    const notDone = (check: TemporalCheck): Look => ({
      name: check.name,
      explanation: check.explanation,
      find: () => Promise.reject(new Error(away)),
    });
    return [relayLag(), ...rowChecks].map(rows).concat(TEMPORAL_CHECKS.map(notDone));
  }
  const temporal = (check: TemporalCheck): Look => {
    const deps = () => ({ db, client, sights: new Sights(db, client) });
    return {
      ...check,
      find: (limits) => check.find(deps(), limits),
      repair: check.repair && ((found) => check.repair!(deps(), found)),
    };
  };
  const startsLate = relayLag<TemporalDeps>(async ({ client }, row) => {
    await startOperationWorkflow(client, row);
    return "started it";
  });
  return [startsLate, ...TEMPORAL_CHECKS].map(temporal).concat(rowChecks.map(rows));
}

const inSnapshot = <T>(db: Db, work: (tx: Queryable) => Promise<T>) =>
  db.transaction(work, {
    readOnly: true,
    repeatableRead: true,
    statementTimeoutMs: STATEMENT_TIMEOUT_MS,
  });

/** Asks for the namespace itself: in one that is not there, every workflow would look lost. */
async function whyAway(client: Client): Promise<string | undefined> {
  const { namespace } = client.options;
  try {
    await boundedCall(client, 3_000, () => client.workflowService.describeNamespace({ namespace }));
    return undefined;
  } catch (error) {
    return `Temporal does not answer for namespace ${namespace}: ${messageOf(error)}`;
  }
}

/** What a check finds; of what may be passing, only what is there again a little later. */
async function lookFor(look: Look, limits: Limits): Promise<Found[]> {
  const found = await look.find(limits);
  if (found.length === 0 || look.confirmAfterMs === undefined) return found;
  await sleep(look.confirmAfterMs);
  const first = new Set(found.map(({ subject }) => subject));
  return (await look.find(limits)).filter(({ subject }) => first.has(subject));
}

async function remember(db: Db, seen: readonly Seen[]): Promise<Finding[]> {
  const found = seen.flatMap(({ look, found }) =>
    found.map((one) => ({ check: look.name, ...one, repair: one.repair ?? null })),
  );
  const since = await db.transaction((tx) => upsertFindings(tx, found));
  return found.map(({ check, subject, message, repair, tenant, operationId }, index) => ({
    check,
    subject,
    message,
    repair,
    since: since[index]!,
    tenant,
    operationId,
    left: true,
  }));
}

/** Repairs what one check found, then looks again: what is not found any more is mended. */
async function mend(db: Db, look: Look, findings: readonly Finding[], limits: Limits) {
  const { repair } = look;
  const mendable = findings.filter((finding) => finding.repair !== null);
  if (!repair || mendable.length === 0) return;
  for (const finding of mendable) {
    finding.did = await repair(asFound(finding)).then(
      (did) => did ?? "nothing was left to do",
      (error: unknown) => `failed: ${messageOf(error)}`,
    );
    await audit(db, finding);
  }
  const again = await look.find(limits).catch(() => undefined);
  if (!again) return;
  const left = new Set(again.map(({ subject }) => subject));
  for (const finding of findings) finding.left = left.has(finding.subject);
}

const asFound = ({ repair, tenant, operationId, ...finding }: Finding): Found => ({
  ...finding,
  ...(tenant === undefined ? {} : { tenant }),
  ...(operationId === undefined ? {} : { operationId }),
  ...(repair === null ? {} : { repair }),
});

async function audit(db: Db, { check, subject, tenant, did }: Finding): Promise<void> {
  await db.transaction((tx) =>
    insertAudit(tx, {
      actor: "doctor",
      action: "doctor.repair",
      tenant: tenant ?? DEFAULT_TENANT,
      subject,
      after: { check, did },
    }),
  );
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : "";
  return (error.message || error.name) + cause;
}

export interface DoctorDeps {
  db: Db;
  client: Client;
  limits?: Partial<Limits>;
  config?: HoldfastConfig;
}

/** What an examination came to, small enough for a history. */
export interface ExaminationSummary {
  found: number;
  mended: number;
  left: number;
  /** Checks that could not be done. */
  notDone: string[];
}

export const doctorActivities = ({ db, client, limits = {}, config }: DoctorDeps) => ({
  /** Examines and repairs. Safe to repeat: each repair looks for itself whether it is still needed. */
  async examine(): Promise<ExaminationSummary> {
    return beating(async () => {
      const { findings, checks } = await examine({ db, client, repair: true, limits, config });
      const left = findings.filter((finding) => finding.left).length;
      return {
        found: findings.length,
        mended: findings.length - left,
        left,
        notDone: checks.filter((check) => check.notDone !== undefined).map(({ name }) => name),
      };
    });
  },
});
