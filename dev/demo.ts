import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { connect, type Holdfast, type OperationView } from "../client/index.ts";
import { runDoctor } from "../workers/doctor.ts";
import { fetchHistory, quietRuntime, replayHistories } from "../workers/replay.ts";
import { lazyClient } from "../workers/temporal-client.ts";
import { currentWorkflowCode } from "../workers/workflow-code.ts";
import { readmes, textFiles } from "./demo-documents.ts";
import { demoProgress } from "./demo-progress.ts";
import { untilInterrupted } from "./interrupt.ts";
import { startProduct, type Product } from "./product.ts";

/**
 * The main job, for real: a batch of documents, a worker killed in the middle of it, and the proof
 * that every document reached one outcome. `--docs <folder>` takes other documents, `--once` ends
 * instead of staying up, `--json` ends with one line of figures.
 */
const { values: flags } = parseArgs({
  options: {
    docs: { type: "string" },
    once: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});

const say = (line: string) => (flags.json ? process.stderr : process.stdout).write(`${line}\n`);
const interrupted = untilInterrupted();
const ending = new AbortController();
void interrupted.then(() => ending.abort());

/** Items settled before the worker is killed, as a share of the batch. */
const KILL_AT = 0.25;
/** A batch of a page or two has no quarter to wait for: there the middle is a page in flight. */
const FEW = 150;

interface Figures {
  items: number;
  succeeded: number;
  failed: number;
  other: number;
  orphans: number;
  doctor: number;
  replayed: boolean;
  seconds: number;
}

// The demo has servers of its own: what is set for an application is not for it.
for (const name of ["DATABASE_URL", "TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE"]) {
  delete process.env[name];
}
process.env["HOLDFAST_CONFIG"] = fileURLToPath(new URL("demo.config.ts", import.meta.url));
quietRuntime();
process.exitCode = await main();

async function main(): Promise<number> {
  say("Starting Postgres, Temporal, a worker and the console ...");
  const product = await startProduct({ persist: undefined, log: say, signal: ending.signal });
  if (!product) return 130;
  const holdfast = connect({ databaseUrl: product.addresses.databaseUrl, actor: "demo" });
  try {
    const figures = await demonstrate(product, holdfast);
    const kept = isKept(figures);
    say(kept ? "\nAll as promised." : "\nNOT as promised: see above.");
    if (flags.json) process.stdout.write(`${JSON.stringify(figures)}\n`);
    if (!flags.once) {
      printAddresses(product);
      await interrupted;
    }
    return kept ? 0 : 1;
  } finally {
    await holdfast.close();
    await product.stop();
  }
}

async function demonstrate(product: Product, holdfast: Holdfast): Promise<Figures> {
  const items = flags.docs
    ? await textFiles(flags.docs)
    : await readmes(fileURLToPath(new URL("../node_modules", import.meta.url)));
  if (items.length === 0) throw new Error(`no text files in ${flags.docs ?? "node_modules"}`);
  const size = items.reduce((sum, item) => sum + item.content.length, 0);
  say(`\nOne batch of ${count(items.length)} documents, ${count(size)} characters.`);

  const began = performance.now();
  const { id } = await holdfast.retain.submit({ bank: "demo", items });
  say(`Accepted in ${Math.round(performance.now() - began)} ms: operation ${id}`);
  say("(The demo's extractor takes 120 ms a chunk, so that there is a middle to be killed in.)");
  const last = await followed(product, holdfast, id);
  const seconds = (performance.now() - began) / 1_000;
  say(`\n${last.state} after ${seconds.toFixed(1)} s${last.reason ? `: ${last.reason}` : ""}`);
  return { ...(await proven(product, holdfast, last)), seconds: Number(seconds.toFixed(1)) };
}

/** Follows the batch to its end, and kills the worker on the way. */
async function followed(product: Product, holdfast: Holdfast, id: string): Promise<OperationView> {
  let killed: { at: number; done: number } | undefined;
  let recovered = false;
  let last: OperationView | undefined;
  const progress = demoProgress((await holdfast.operation.get(id)).total, say);
  for await (const view of holdfast.operation.watch(id, { everyMs: 50, signal: ending.signal })) {
    last = view;
    const done = view.stages[0]?.done ?? 0;
    progress.see(done, view.shown);
    if (!killed && (await isMiddle(holdfast, view))) {
      const pid = product.worker.pid();
      if (pid) process.kill(pid, "SIGKILL");
      killed = { at: performance.now(), done };
      progress.note(
        `kill -9 of worker ${pid} with ${count(done)} of ${count(view.total)} settled.`,
      );
    } else if (killed && !recovered && done > killed.done) {
      recovered = true;
      const after = ((performance.now() - killed.at) / 1_000).toFixed(1);
      progress.note(`Another worker went on after ${after} s.`);
    }
  }
  progress.end();
  if (!killed) say("(The batch was too small to be caught in the middle: no worker was killed.)");
  return last!;
}

async function isMiddle(holdfast: Holdfast, view: OperationView): Promise<boolean> {
  if (view.finishedAt !== null) return false;
  if (view.total > FEW) return (view.stages[0]?.done ?? 0) >= view.total * KILL_AT;
  const { rows } = await holdfast.db.query(
    "select 1 from holdfast.flights where operation_id = $1",
    [view.id],
  );
  return rows.length > 0;
}

/** What the promises come to, counted by other means than the ones that kept them. */
async function proven(
  product: Product,
  holdfast: Holdfast,
  view: OperationView,
): Promise<Omit<Figures, "seconds">> {
  const { databaseUrl, temporalAddress, namespace } = product.addresses;
  const { rows } = await holdfast.db.query<{ outcome: string; n: number }>(
    `select coalesce(o.outcome, 'none') as outcome, count(*)::int as n
       from holdfast.items i
       left join holdfast.outcomes o on o.operation_id = i.operation_id and o.item_no = i.no
      where i.operation_id = $1 group by 1 order by 2 desc`,
    [view.id],
  );
  const of = (outcome: string) => rows.find((row) => row.outcome === outcome)?.n ?? 0;
  const outcomes = rows.reduce((sum, row) => sum + row.n, 0) - of("none");
  say("\nEvery document and how it ended:");
  for (const { outcome, n } of rows) say(`  ${outcome.padEnd(12)} ${count(n)}`);
  const orphans = of("none") + Math.abs(outcomes - view.total) + (await strayRows(holdfast));
  say(`  ${"orphans".padEnd(12)} ${orphans}`);

  const temporal = { address: temporalAddress, namespace };
  const { findings, checks } = await runDoctor({ databaseUrl, temporal, repair: false });
  say(`\nholdfast doctor: ${checks.length} checks, ${findings.length} findings`);
  for (const { check, message } of findings) say(`  ${check}: ${message}`);

  const replayed = await replays(temporal, view.workflowId);
  say(`holdfast replay ${view.workflowId}: ${replayed ? "the same decisions" : "DIFFERS"}`);
  const [succeeded, failed] = [of("succeeded"), of("failed")];
  const other = outcomes - succeeded - failed;
  return {
    items: view.total,
    succeeded,
    failed,
    other,
    orphans,
    doctor: findings.length,
    replayed,
  };
}

async function strayRows(holdfast: Holdfast): Promise<number> {
  const { rows } = await holdfast.db.query<{ n: number }>(
    `select (select count(*) from holdfast.chunks c where not exists
               (select from holdfast.document_parts p where p.seq = c.part_seq))::int
          + (select count(*) from holdfast.facts f where not exists
               (select from holdfast.chunks c where c.part_seq = f.part_seq and c.no = f.chunk_no))::int
          + (select count(*) from holdfast.flights)::int as n`,
  );
  return rows[0]!.n;
}

async function replays(
  temporal: { address: string; namespace: string },
  workflowId: string,
): Promise<boolean> {
  const { client, close } = lazyClient(temporal);
  try {
    const histories = [await fetchHistory(client, workflowId)];
    for await (const { ok } of replayHistories({ code: currentWorkflowCode(), histories })) {
      if (!ok) return false;
    }
    return true;
  } finally {
    await close();
  }
}

function isKept({ items, succeeded, failed, other, orphans, doctor, replayed }: Figures): boolean {
  return orphans === 0 && doctor === 0 && replayed && succeeded + failed + other === items;
}

function printAddresses({ addresses }: Product): void {
  say(`\nconsole      ${addresses.consoleUrl}`);
  say(`HTTP API     ${addresses.consoleUrl}/openapi.json`);
  if (addresses.temporalUiUrl) say(`Temporal UI  ${addresses.temporalUiUrl}`);
  say(`\nTo look around in another terminal:`);
  say(
    `  export DATABASE_URL=${addresses.databaseUrl} TEMPORAL_ADDRESS=${addresses.temporalAddress}`,
  );
  say("  npm run holdfast -- bank observations demo");
  say("\nCtrl-C stops everything.");
}

function count(n: number): string {
  return n.toLocaleString("en-US");
}
