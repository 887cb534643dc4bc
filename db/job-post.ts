import { createHash, randomUUID } from "node:crypto";
import { Conflict } from "../contracts/errors.ts";
import type { PostAnswer, PostedResult } from "../contracts/job.ts";
import type { Outcome } from "../contracts/operation.ts";
import type { OnResults, SettledResult } from "../contracts/plugins.ts";
import { kept } from "../contracts/text.ts";
import { digestOf } from "../domain/digest.ts";
import { isOpen } from "./items.ts";
import { readHandle } from "./job-handles.ts";
import { insertLateResults, type NewResult } from "./job-results.ts";
import { closeAndWake } from "./job-settled.ts";
import { JOB_STAGE, LEASES_STAGE, SUMS_STAGE } from "./job-stages.ts";
import { assertSumNames } from "./job-sums.ts";
import type { Db, Tx } from "./pool.ts";
import { addDeltas, type Delta } from "./progress.ts";

/**
 * Posts of results: one short transaction of a fixed number of statements, which writes only rows of
 * its own. The ledger is settled first; results, counts and the user's rows are written for what this
 * post settled, so that a repeat, a second attempt and a late one change nothing.
 */

export interface Post {
  operationId: string;
  /** Id of the caller's key, which its handles are bound to. */
  key: string;
  /** The caller's idempotency key, good for these results. */
  repeatKey?: string | undefined;
  /** Whether the caller may see a job of this tenant; else there is none. Absent: any. */
  sees?: (tenant: string) => boolean;
  results: readonly PostedResult[];
}

export type { OnResults, SettledResult };

/**
 * Writes what counts of a post and answers each of its results. `answer` is undefined when there is no
 * such job. `settled`: items that this call settled, by outcome; none when it was a repeat. Error 55P03
 * when somebody is ending the job: nothing was written, and the same may be asked again.
 * @throws Conflict for a key that came with other results; InvalidInput for too many names of counts
 */
export async function postResults(
  db: Db,
  post: Post,
  onResults?: OnResults,
): Promise<{ answer: PostAnswer | undefined; settled: SettledResult[]; closed: number }> {
  const named = namedSource(post);
  try {
    const written = await db.transaction((tx) => writePost(tx, db, post, named, onResults));
    const { answer, settled, batches, generation } = written;
    const closed = await closeAndWake(db, post.operationId, generation, batches);
    return { answer, settled, closed };
  } catch (error) {
    if (!(error instanceof Repeated)) throw error;
    // The first post with this key committed while this one was at work.
    const answer = toldBefore(await findAnswer(db, post.operationId, named.source), post, named);
    return { answer, settled: [], closed: 0 };
  }
}

interface NamedSource {
  source: string;
  /** Of the results, where the post has a key. */
  digest?: string;
}

/** What a post is counted under: no two callers' keys are one, whatever stands in them. */
function namedSource({ key, repeatKey, results }: Post): NamedSource {
  if (repeatKey === undefined) return { source: `post/${randomUUID()}` };
  const hash = createHash("sha256").update(JSON.stringify([key, repeatKey]));
  return {
    source: `post/${hash.digest("base64url")}`,
    digest: digestOf(results).toString("base64url"),
  };
}

/** The answer as it is kept: of these results, or the key was used for others. */
type Kept = PostAnswer & { digest: string };

function toldBefore(
  kept: Kept | undefined,
  { repeatKey }: Post,
  { digest }: NamedSource,
): PostAnswer | undefined {
  if (!kept) return undefined;
  const { digest: before, ...answer } = kept;
  if (before === digest) return answer;
  throw new Conflict("key-reused", `key "${repeatKey}" was used for other results: use a new key`);
}

class Repeated extends Error {
  override readonly name = "Repeated";
}

interface Written {
  answer: PostAnswer | undefined;
  settled: SettledResult[];
  /** Of which something was settled, if there are such. */
  batches: number[];
  generation: number;
}

async function writePost(
  tx: Tx,
  db: Db,
  post: Post,
  named: NamedSource,
  onResults: OnResults | undefined,
): Promise<Written> {
  const { source, digest } = named;
  const { operationId, sees = () => true } = post;
  const nothing = { settled: [], batches: [], generation: 0 };
  const job = await begin(tx, post, source);
  if (!job || !sees(job.tenant)) return { answer: undefined, ...nothing };
  if (job.answer) {
    // Whoever posted it first may have died before its batches were closed.
    const answer = toldBefore(job.answer, post, named);
    return { ...nothing, answer, batches: batchesOf(post, job), generation: job.generation };
  }

  const posted = await expand(tx, post.results, job.leases, operationId);
  const current = posted.filter(({ lease }) => job.running && lease.generation === job.generation);
  const fresh = firstOfEach(current);
  await assertSumNames(tx, db, { operationId, generation: job.generation }, fresh);
  const settledNos = await settle(tx, post, job.generation, fresh);
  const settled = fresh.filter(({ item }) => settledNos.has(item));
  const wins = new Set(settled);
  const others = posted.filter((one) => !wins.has(one));
  const before = await outcomesOf(tx, operationId, others);
  const late = others.filter((one) => !isRepeat(one, settledNos, job.generation, before));

  const effects = settled.map((one) => effectOf(operationId, one));
  if (onResults && effects.length > 0) await onResults(tx, effects);
  const keptLate = await insertLateResults(
    tx,
    operationId,
    late.map(rowOf),
    late.map((one) => whyLate(one, job, before)),
  );

  const answer = answerOf(post.results, posted, { wins, late: new Set(late) });
  // What nobody asks for again and changed nothing leaves nothing behind, but that duplicates are
  // counted as long as the job runs: they say that somebody works twice.
  const doubled = job.running && answer.duplicate > 0;
  if (settled.length > 0 || keptLate > 0 || doubled || digest !== undefined) {
    const told = digest === undefined ? undefined : ({ digest, ...answer } satisfies Kept);
    const counted = await addDeltas(tx, operationId, source, deltasOf(settled, answer), told);
    if (!counted) throw new Repeated();
  }
  return {
    answer,
    settled: effects,
    batches: [...new Set(settled.flatMap(({ item, lease }) => [lease.batch, -item]))],
    generation: job.generation,
  };
}

/** Of all that is named, an item's own batch included. */
function batchesOf({ results }: Post, { leases, generation }: Begun): number[] {
  const batches = results.flatMap(({ handle, item }) => {
    const lease = leases.get(handle);
    if (lease?.generation !== generation) return [];
    return item === undefined ? [lease.batch] : [lease.batch, -item];
  });
  return [...new Set(batches)];
}

interface Begun {
  tenant: string;
  running: boolean;
  generation: number;
  /** What a post of this source was told before. */
  answer: Kept | null;
  /** Leases of this job that the handles prove, by handle. They need not be held any more. */
  leases: Map<string, Lease>;
}

interface Lease {
  generation: number;
  batch: number;
  lease: number;
  delivery: number;
  holder: string;
  first_item: number;
  last_item: number;
}

/** Nobody ends the operation from here on, until this transaction does. */
async function begin(tx: Tx, post: Post, source: string): Promise<Begun | undefined> {
  const handles = [...new Set(post.results.map((result) => result.handle))];
  const known = handles.flatMap((handle) => {
    const ref = readHandle(handle, post.key);
    return ref && ref.operationId === post.operationId ? [{ handle, ...ref }] : [];
  });
  const { rows } = await tx.query<{
    begun: (Omit<Begun, "leases"> & { leases: (Lease & { place: number })[] }) | null;
  }>("select holdfast.begin_job_post($1, $2, $3, $4, $5, $6) as begun", [
    post.operationId,
    source,
    known.map((ref) => ref.generation),
    known.map((ref) => ref.batch),
    known.map((ref) => ref.lease),
    known.map((ref) => ref.digest),
  ]);
  const { begun } = rows[0]!;
  if (!begun) return undefined;
  const leases = begun.leases.map(
    ({ place, ...lease }) => [known[place - 1]!.handle, lease] as const,
  );
  return { ...begun, leases: new Map(leases) };
}

/** Settles what is open of these and keeps the results of that. Answers whose outcome is this one. */
async function settle(
  tx: Tx,
  { operationId, key }: Post,
  generation: number,
  fresh: readonly Posted[],
): Promise<Set<number>> {
  if (fresh.length === 0) return new Set();
  const rows = fresh.map(rowOf);
  const answer = await tx.query<{ settled: number[] }>(
    "select holdfast.settle_job_items($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) as settled",
    [
      operationId,
      generation,
      nameOf(
        rows.map(({ worker }) => worker),
        key,
      ),
      rows.map(({ itemNo }) => itemNo),
      rows.map(({ error }) => (error === null ? "succeeded" : "failed")),
      fresh.map(({ lease }) => lease.delivery),
      rows.map(({ body }) => body),
      rows.map(({ reference }) => reference),
      rows.map(({ counts }) => counts && JSON.stringify(counts)),
      rows.map(({ error }) => error && kept(error)),
      rows.map(({ worker }) => worker),
    ],
  );
  return new Set(answer.rows[0]!.settled);
}

async function findAnswer(db: Db, operationId: string, source: string): Promise<Kept | undefined> {
  const { rows } = await db.query<{ answer: Kept }>(
    `select answer from holdfast.progress_deltas
      where operation_id = $1 and source = $2 and place = 0`,
    [operationId, source],
  );
  return rows[0]?.answer;
}

/** A result of one item, with the lease it came under. `no`: which of the post's results it is. */
interface Posted {
  no: number;
  item: number;
  result: PostedResult;
  lease: Lease;
}

// An error that names no item is about each open item of its batch that the post does not name.
async function expand(
  tx: Tx,
  results: readonly PostedResult[],
  leases: Map<string, Lease>,
  operationId: string,
): Promise<Posted[]> {
  const posted: Posted[] = [];
  const unnamed: Omit<Posted, "item">[] = [];
  for (const [no, result] of results.entries()) {
    const lease = leases.get(result.handle);
    if (!lease) continue;
    const { item } = result;
    if (item === undefined) unnamed.push({ no, result, lease });
    else if (item >= lease.first_item && item <= lease.last_item) {
      posted.push({ no, item, result, lease });
    }
  }
  if (unnamed.length === 0) return posted;
  const { rows } = await tx.query<{ place: number; item: number }>(
    `select u.place::int as place, i.no as item
       from unnest($2::int[], $3::int[], $4::int[])
              with ordinality as u(generation, first_item, last_item, place)
       join holdfast.items i
         on i.operation_id = $1 and i.no between u.first_item and u.last_item
      where i.no <> all($5::int[]) and ${isOpen("i", "u.generation", "$1")}
      order by u.place, i.no`,
    [
      operationId,
      unnamed.map(({ lease }) => lease.generation),
      unnamed.map(({ lease }) => lease.first_item),
      unnamed.map(({ lease }) => lease.last_item),
      posted.map(({ item }) => item),
    ],
  );
  for (const { place, item } of rows) posted.push({ ...unnamed[place - 1]!, item });
  return posted;
}

function firstOfEach(posted: readonly Posted[]): Posted[] {
  const first = new Map<number, Posted>();
  for (const one of posted) if (!first.has(one.item)) first.set(one.item, one);
  return [...first.values()];
}

/** Outcomes of items in every generation they were settled in. */
async function outcomesOf(
  tx: Tx,
  operationId: string,
  posted: readonly Posted[],
): Promise<Map<string, Outcome>> {
  if (posted.length === 0) return new Map();
  const { rows } = await tx.query<{ item_no: number; generation: number; outcome: Outcome }>(
    `select item_no, generation, outcome from holdfast.outcomes
      where operation_id = $1 and item_no = any($2)`,
    [operationId, [...new Set(posted.map(({ item }) => item))]],
  );
  return new Map(rows.map((row) => [`${row.item_no}/${row.generation}`, row.outcome]));
}

// It has its result in the generation it was claimed in: told before, by whomever.
function isRepeat(
  { item, lease }: Posted,
  settledNow: ReadonlySet<number>,
  generation: number,
  before: Map<string, Outcome>,
): boolean {
  if (lease.generation === generation && settledNow.has(item)) return true;
  const outcome = before.get(`${item}/${lease.generation}`);
  return outcome === "succeeded" || outcome === "failed";
}

function whyLate({ item, lease }: Posted, job: Begun, before: Map<string, Outcome>): string {
  if (lease.generation !== job.generation) return "older generation";
  return before.get(`${item}/${lease.generation}`) ?? "ended";
}

function rowOf({ item, result, lease }: Posted): NewResult {
  return {
    itemNo: item,
    generation: lease.generation,
    lease: lease.lease,
    body: result.result === undefined ? null : JSON.stringify(result.result),
    reference: result.reference ?? null,
    counts: result.counts ?? null,
    error: result.error ?? null,
    worker: lease.holder,
  };
}

function effectOf(operationId: string, { item, result, lease }: Posted): SettledResult {
  const { handle: _handle, ...effect } = result;
  return { ...effect, job: operationId, item, generation: lease.generation };
}

function answerOf(
  results: readonly PostedResult[],
  posted: readonly Posted[],
  { wins, late }: { wins: ReadonlySet<Posted>; late: ReadonlySet<Posted> },
): PostAnswer {
  const byNo = new Map<number, Posted[]>();
  for (const one of posted) byNo.set(one.no, [...(byNo.get(one.no) ?? []), one]);
  const answer: PostAnswer = { results: [], accepted: 0, duplicate: 0, late: 0, unknown: 0 };
  for (const [no, { item }] of results.entries()) {
    const about = byNo.get(no) ?? [];
    const status = about.some((one) => wins.has(one))
      ? "accepted"
      : about.some((one) => late.has(one))
        ? "late"
        : about.length > 0
          ? "duplicate"
          : "unknown";
    answer[status]++;
    const items = item === undefined ? { items: about.length } : {};
    answer.results.push({ item: item ?? null, status, ...items });
  }
  return answer;
}

function deltasOf(settled: readonly Posted[], answer: PostAnswer): Delta[] {
  const failed = settled.filter(({ result }) => result.error !== undefined).length;
  const sums = new Map<string, number>();
  for (const { result } of settled) {
    for (const [name, n] of Object.entries(result.counts ?? {})) {
      sums.set(name, (sums.get(name) ?? 0) + n);
    }
  }
  const deltas: Delta[] = [
    { stage: JOB_STAGE, outcome: "succeeded", n: settled.length - failed },
    { stage: JOB_STAGE, outcome: "failed", n: failed },
    { stage: LEASES_STAGE, outcome: "duplicates", n: answer.duplicate },
    { stage: LEASES_STAGE, outcome: "late", n: answer.late },
    ...[...sums].map(([outcome, n]) => ({ stage: SUMS_STAGE, outcome, n })),
  ].filter(({ n }) => n > 0);
  // Whoever repeats the post finds the row of its key, whatever the post came to.
  return deltas.length > 0
    ? deltas
    : [{ stage: LEASES_STAGE, outcome: "unknown", n: answer.unknown }];
}

function nameOf(holders: readonly string[], key: string): string {
  const names = new Set(holders);
  return names.size === 1 ? holders[0]! : key;
}
