import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Holdfast } from "../client/index.ts";
import type { JobView } from "../contracts/job.ts";
import { filesOf, type CountedFile } from "./demo-files.ts";
import { startPullWorkers, type PullWorkerProcess } from "./demo-job-workers.ts";
import type { JobFigures } from "./demo-job-verdict.ts";
import { demoProgress } from "./demo-progress.ts";

/**
 * A job over every file of the installed dependencies, worked by two processes that pull; one of them
 * is killed in the middle of a batch and nobody takes its place.
 */

const PIPELINE = "hash";
const BATCH = 50;
/** A worker that is silent for this long is lost; by default it is a minute. */
const HEARTBEAT_SECONDS = 6;
/** Items settled before one of them is killed, as a share of the job. */
const KILL_AT = 0.3;
const MOST_TRIES = 10;
/** Well below the heartbeat. */
const ARRIVE_MS = 1_000;
const NODE_MODULES = fileURLToPath(new URL("../node_modules", import.meta.url));

export async function jobbed(
  holdfast: Holdfast,
  at: { url: string; dir: string; signal: AbortSignal; say: (line: string) => void },
): Promise<{ figures: JobFigures; workflowId: string }> {
  const { say } = at;
  const { files, all } = await filesOf(NODE_MODULES);
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  const which =
    all > files.length ? `the first ${count(files.length)} of ${count(all)}` : count(all);
  say(`\nOne job over ${which} files of node_modules, ${count(bytes)} bytes:`);
  say("hash, size, and whether it begins with a licence.");
  const { id } = await holdfast.job.submit({
    pipeline: PIPELINE,
    items: files.map(({ name, path }) => ({ key: name, reference: path })),
    options: { batchSize: BATCH, heartbeatSeconds: HEARTBEAT_SECONDS },
  });
  const began = performance.now();
  const workers = await startPullWorkers({ ...at, pipeline: PIPELINE });
  say(`Two workers pull: ${workers.map(({ kind }) => kind).join("; ")}.`);
  try {
    const { last, killed } = await followed(holdfast, id, workers, at);
    const seconds = (performance.now() - began) / 1_000;
    const figures = await counted(holdfast, last, files, killed);
    tell(figures, last, { seconds, bytes, say });
    return { figures, workflowId: (await holdfast.operation.get(id)).workflowId };
  } finally {
    for (const worker of workers) worker.send("SIGTERM");
    await Promise.all(workers.map(({ ended }) => ended));
  }
}

/** Follows the job to its end, and kills the first worker on the way. */
async function followed(
  holdfast: Holdfast,
  id: string,
  workers: readonly [PullWorkerProcess, PullWorkerProcess],
  { signal, say }: { signal: AbortSignal; say: (line: string) => void },
): Promise<{ last: JobView; killed: JobFigures["kill"] }> {
  const [victim, other] = workers;
  let last = await holdfast.job.get(id);
  let killed: JobFigures["kill"];
  const progress = demoProgress(last.total, say, "files");
  for await (const view of holdfast.job.watch(id, { everyMs: 250, signal })) {
    last = view;
    const done = settledIn(view);
    progress.see(done, view.shown);
    if (killed || done < view.total * KILL_AT || view.finishedAt !== null) continue;
    const inHand = await killInMiddle(holdfast, id, victim);
    const { signal: how } = await victim.ended;
    killed = { settled: settledIn(await holdfast.job.get(id)), inHand, signal: how };
    progress.note(
      `kill -9 of ${victim.kind} (${victim.pid}) with ${count(killed.settled)} of ${count(view.total)} settled and ` +
        `${inHand} in its hands. ${other.kind} goes on alone.`,
    );
  }
  progress.end();
  return { last, killed };
}

/**
 * Stops it first, so that what it holds is known: what it was sending arrives, and what it had asked for
 * is its own. Answers the open items it held when it was killed.
 */
async function killInMiddle(
  holdfast: Holdfast,
  id: string,
  victim: PullWorkerProcess,
): Promise<number> {
  const held = () => openItemsHeld(holdfast, id, victim.name);
  let inHand = 0;
  for (let n = 0; n < MOST_TRIES && inHand === 0; n++) {
    victim.send("SIGSTOP");
    const before = await held();
    if (before > 0) await sleep(ARRIVE_MS);
    inHand = (await held()) === before ? before : 0;
    if (inHand === 0) {
      victim.send("SIGCONT");
      await sleep(ARRIVE_MS / 10);
    }
  }
  victim.send("SIGKILL");
  return inHand;
}

async function openItemsHeld({ db }: Holdfast, id: string, worker: string): Promise<number> {
  const { rows } = await db.query<{ n: number }>(
    `select count(*)::int as n
       from holdfast.job_batches b
       join holdfast.items i
         on i.operation_id = b.operation_id and i.no between b.first_item and b.last_item
      where b.operation_id = $1 and b.state = 'leased' and b.holder like '%/' || $2
        and not exists (select from holdfast.outcomes o
                         where o.operation_id = i.operation_id and o.item_no = i.no)`,
    [id, worker],
  );
  return rows[0]!.n;
}

/** What came of it, from the ledger and from the results, beside what was counted before. */
async function counted(
  holdfast: Holdfast,
  view: JobView,
  files: readonly CountedFile[],
  kill: JobFigures["kill"],
): Promise<JobFigures> {
  const { rows } = await holdfast.db.query<{ outcome: string; n: number; items: number }>(
    `select outcome, count(*)::int as n, count(distinct item_no)::int as items
       from holdfast.outcomes where operation_id = $1 group by 1`,
    [view.id],
  );
  const expected = new Map(files.map(({ name, bytes }) => [name, bytes]));
  const differing: string[] = [];
  for await (const { key, result } of holdfast.job.eachResult(view.id)) {
    const { bytes } = (result ?? {}) as { bytes?: number };
    if (bytes !== expected.get(key)) differing.push(key);
    expected.delete(key);
  }
  return {
    files: files.length,
    bytes: files.reduce((sum, file) => sum + file.bytes, 0),
    state: view.state,
    outcomes: Object.fromEntries(rows.map(({ outcome, n }) => [outcome, n])),
    settledTwice: rows.reduce((sum, row) => sum + row.n - row.items, 0),
    counts: view.counts,
    countedBytes: sumOf(view, "megabytes") * 1_000_000 + sumOf(view, "bytes"),
    differing: [...differing, ...expected.keys()],
    redeliveries: view.leases.redeliveries,
    ...(kill && { kill }),
  };
}

function tell(
  figures: JobFigures,
  view: JobView,
  { seconds, bytes, say }: { seconds: number; bytes: number; say: (line: string) => void },
): void {
  const { leases } = view;
  say(`\n${view.outcome} after ${seconds.toFixed(1)} s. Every file and how it ended:`);
  for (const [outcome, n] of Object.entries(figures.outcomes)) {
    say(`  ${outcome.padEnd(12)} ${count(n)}`);
  }
  const match = figures.countedBytes === bytes ? "as counted before" : `NOT ${count(bytes)}`;
  say(`  ${"bytes".padEnd(12)} ${count(figures.countedBytes)}, ${match}`);
  say(`  ${"licensed".padEnd(12)} ${count(sumOf(view, "licensed"))}`);
  say(
    `  ${count(leases.deliveries)} hand-outs, ${count(leases.redeliveries)} of them again, ` +
      `${count(leases.duplicates)} results twice, ${count(leases.late)} late`,
  );
}

function settledIn(view: JobView): number {
  return Object.values(view.counts).reduce((sum, n) => sum + n, 0);
}

function sumOf(view: JobView, key: string): number {
  const results = view.progress.stages.find((stage) => stage.key === "results");
  return Number(results?.params.find((param) => param.key === key)?.value ?? 0);
}

function count(n: number): string {
  return n.toLocaleString("en-US");
}
