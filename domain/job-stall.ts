import type { Holdup } from "../contracts/job.ts";

/** Why nothing of a job seems to go on, and what is to be done about it. */

export interface StallFacts {
  pipeline: string;
  /** Running, and neither asked to stop, paused nor braked: it ought to go on. */
  atWork: boolean;
  startedAt: Date | null;
  /** Undefined: all its items are there. */
  collecting?: { collected: number; pageAt: Date | null } | undefined;
  /** Items without an outcome. */
  open: number;
  /** Batches that may be claimed, and that somebody holds. */
  ready: number;
  leased: number;
  /** Workers that may take its work, seen in the last minute; and when one of them last was. */
  workersOnline: number;
  workerSeenAt: Date | null;
  claimedAt: Date | null;
  resultAt: Date | null;
  /** When batches were last made for items that nothing would have handed out. */
  repairedAt: Date | null;
}

export interface HeldUp extends Holdup {
  /** Since when, as far as that is known, in milliseconds since the epoch. */
  sinceMs: number | null;
}

const MINUTE_MS = 60_000;
/** Somebody who claimed or posted is there, whatever they were last seen asking for. */
const ONLINE_MS = MINUTE_MS;
const IDLE_MS = 2 * MINUTE_MS;
const STUCK_MS = 10 * MINUTE_MS;

/** What holds a job up; null for one that goes on, is over, or was told to stop. */
export function holdupOf(facts: StallFacts, nowMs: number): HeldUp | null {
  if (!facts.atWork) return null;
  const { collecting, open, ready, leased } = facts;
  if (collecting) return heldByCollection(collecting, facts, nowMs);
  if (open <= 0) {
    const text = "every item has its outcome; the job is about to be finished";
    return { kind: "result backlog", text, sinceMs: ms(facts.resultAt) };
  }
  if (leased > 0) return null;
  if (ready === 0) {
    const text = `${items(open)} open, and nothing would hand ${open === 1 ? "it" : "them"} out`;
    return {
      kind: "stuck",
      text,
      sinceMs: latest(facts.resultAt, facts.claimedAt, facts.startedAt),
    };
  }
  return heldByWorkers(facts, nowMs);
}

function heldByCollection(
  { collected, pageAt }: NonNullable<StallFacts["collecting"]>,
  { startedAt }: StallFacts,
  nowMs: number,
): HeldUp {
  const sinceMs = ms(startedAt);
  const last = pageAt ? `, the last ${ago(nowMs - pageAt.getTime())}` : "";
  return { kind: "collecting", text: `collecting its items: ${collected} so far${last}`, sinceMs };
}

function heldByWorkers(facts: StallFacts, nowMs: number): HeldUp | null {
  const { pipeline, workersOnline, claimedAt, resultAt, startedAt, workerSeenAt } = facts;
  const active = latest(claimedAt, resultAt);
  if (workersOnline === 0) {
    if (active !== null && nowMs - active < ONLINE_MS) return null;
    const seen = latest(workerSeenAt, claimedAt, resultAt);
    const text =
      seen === null
        ? `no worker has asked for "${pipeline}" yet`
        : `no worker online for "${pipeline}", the last one seen ${ago(nowMs - seen)}`;
    return { kind: "no workers online", text, sinceMs: seen ?? ms(startedAt) };
  }
  const sinceMs = latest(claimedAt, resultAt, startedAt);
  if (sinceMs === null || nowMs - sinceMs <= IDLE_MS) return null;
  const workers = workersOnline === 1 ? "1 worker" : `${workersOnline} workers`;
  const text = `${workers} online, and nothing of it claimed for ${lasting(nowMs - sinceMs)}`;
  return { kind: "workers idle", text, sinceMs };
}

/**
 * What to do about a job that is looked at. Only one that is stuck, and still is ten minutes after its
 * batches were mended, is ended: whatever else holds it up ends by itself, or waits for people.
 */
export function stallStep(facts: StallFacts, nowMs: number): "wait" | "repair" | "end" {
  if (holdupOf(facts, nowMs)?.kind !== "stuck") return "wait";
  const repaired = ms(facts.repairedAt);
  const active = latest(facts.claimedAt, facts.resultAt);
  // Something was handed out since: what is missing now is missing anew.
  if (repaired === null || (active !== null && active > repaired)) return "repair";
  return nowMs - repaired >= STUCK_MS ? "end" : "wait";
}

const HOUR_MS = 60 * MINUTE_MS;
const LATER_MS = 10 * MINUTE_MS;

/**
 * How long until a job that waits is looked at again, ms: nobody need, as long as it goes on. Soon after
 * something came of it or while it is stuck, then less often.
 */
export function nextLookMs(facts: StallFacts, nowMs: number): number {
  if (holdupOf(facts, nowMs)?.kind === "stuck") return MINUTE_MS;
  const active = latest(facts.claimedAt, facts.resultAt, facts.startedAt);
  return active === null || nowMs - active < LATER_MS ? MINUTE_MS : LATER_MS;
}

/** What to warn of, once an hour: that nobody has been there for so long. */
export function warnsOf(facts: StallFacts, nowMs: number): string | undefined {
  const holdup = holdupOf(facts, nowMs);
  if (holdup?.kind !== "no workers online" || holdup.sinceMs === null) return undefined;
  const lasts = nowMs - holdup.sinceMs;
  // Looks are this far apart by then: the first one in each hour says so.
  return lasts >= HOUR_MS && lasts % HOUR_MS < LATER_MS ? holdup.text : undefined;
}

function ms(at: Date | null): number | null {
  return at?.getTime() ?? null;
}

function latest(...times: (Date | null)[]): number | null {
  const known = times.flatMap((at) => (at ? [at.getTime()] : []));
  return known.length === 0 ? null : Math.max(...known);
}

function items(n: number): string {
  return n === 1 ? "1 item is" : `${n} items are`;
}

function ago(forMs: number): string {
  return `${lasting(forMs)} ago`;
}

function lasting(forMs: number): string {
  const seconds = Math.max(0, Math.round(forMs / 1_000));
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
}
