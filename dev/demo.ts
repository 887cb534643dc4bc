import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { connect, type Holdfast, type OperationView } from "../client/index.ts";
import { runDoctor } from "../workers/doctor.ts";
import { fetchHistory, quietRuntime, replayHistories } from "../workers/replay.ts";
import { lazyClient } from "../workers/temporal-client.ts";
import { currentWorkflowCode } from "../workers/workflow-code.ts";
import { readmes, textFiles } from "./demo-documents.ts";
import { inventoried } from "./demo-inventory.ts";
import { jobbed } from "./demo-job.ts";
import { demoProgress } from "./demo-progress.ts";
import { searched } from "./demo-search.ts";
import { brokenPromises, lineOf, type Figures } from "./demo-verdict.ts";
import { untilInterrupted } from "./interrupt.ts";
import { startProduct, type Product } from "./product.ts";

/**
 * The main job, for real: a batch of documents, a worker killed in the middle of it, then a job over
 * thousands of files with pull workers of which one is killed, an inventory of what is installed, and the
 * proof that every document and every file reached one outcome. `--docs <folder>` takes other documents,
 * `--entities <file.ndjson>` another inventory, `--once` ends instead of staying up, `--json` ends with one
 * line of figures.
 */
const { values: flags } = parseArgs({
  options: {
    docs: { type: "string" },
    entities: { type: "string" },
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
    const broken = brokenPromises(figures);
    say(broken.length === 0 ? "\nAll as promised." : "\nNOT as promised:");
    for (const line of broken) say(`  ${line}`);
    if (flags.json) process.stdout.write(`${JSON.stringify(lineOf(figures))}\n`);
    if (!flags.once) {
      printAddresses(product);
      await interrupted;
    }
    return broken.length === 0 ? 0 : 1;
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
  const { last, killed } = await followed(product, holdfast, id);
  const endedAt = performance.now();
  const seconds = (endedAt - began) / 1_000;
  say(`\n${last.state} after ${seconds.toFixed(1)} s${last.reason ? `: ${last.reason}` : ""}`);
  const { differences } = await searched(holdfast, endedAt, say);
  const job = await jobbed(holdfast, {
    url: product.addresses.consoleUrl,
    dir: product.dir,
    signal: ending.signal,
    say,
  });
  const inventory = await inventoried(holdfast, {
    file: flags.entities,
    signal: ending.signal,
    say,
  });
  const proof = await proven(product, holdfast, last, killed, job.workflowId);
  return {
    ...proof,
    differences,
    job: job.figures,
    inventory,
    seconds: Number(seconds.toFixed(1)),
  };
}

interface Kill {
  pid: number;
  signal: NodeJS.Signals | null;
  /** Items the ledger held when the process was gone. */
  settled: number;
}

/** Follows the batch to its end, and kills the worker on the way. */
async function followed(
  product: Product,
  holdfast: Holdfast,
  id: string,
): Promise<{ last: OperationView; killed: Kill | undefined }> {
  let killed: (Kill & { at: number }) | undefined;
  let recovered = false;
  let last: OperationView | undefined;
  const progress = demoProgress((await holdfast.operation.get(id)).total, say);
  for await (const view of holdfast.operation.watch(id, { everyMs: 50, signal: ending.signal })) {
    last = view;
    const done = view.stages[0]?.done ?? 0;
    progress.see(done, view.shown);
    if (!killed && (await isMiddle(holdfast, view))) {
      const at = performance.now();
      const end = await product.worker.kill();
      if (!end) continue;
      killed = { ...end, at, settled: await settledBy(holdfast, id) };
      progress.note(
        `kill -9 of worker ${killed.pid} with ${count(killed.settled)} of ${count(view.total)} settled.`,
      );
    } else if (killed && !recovered && done > killed.settled) {
      recovered = true;
      const after = ((performance.now() - killed.at) / 1_000).toFixed(1);
      progress.note(`Another worker went on after ${after} s.`);
    }
  }
  progress.end();
  return { last: last!, killed };
}

/** Items settled, by any worker or by all but one. */
async function settledBy(holdfast: Holdfast, id: string, but?: number): Promise<number> {
  const { rows } = await holdfast.db.query<{ n: number }>(
    `select count(*)::int as n from holdfast.outcomes
      where operation_id = $1 and settled_by not like $2`,
    [id, but === undefined ? "" : `%#${but}`],
  );
  return rows[0]!.n;
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
  killed: Kill | undefined,
  jobWorkflowId: string,
): Promise<Omit<Figures, "seconds" | "differences" | "job" | "inventory">> {
  const { databaseUrl, temporalAddress, namespace } = product.addresses;
  const { outcomes, notOnce, unexplained } = await ledgerOf(holdfast, view.id);
  const orphans = await strayRows(holdfast);
  say("\nEvery document and how it ended:");
  for (const [outcome, n] of Object.entries(outcomes)) say(`  ${outcome.padEnd(12)} ${count(n)}`);
  say(`  ${"orphans".padEnd(12)} ${orphans}`);

  const temporal = { address: temporalAddress, namespace };
  const { findings: found, checks } = await runDoctor({ databaseUrl, temporal, repair: false });
  // After two minutes the doctor misses who was killed here, and is right.
  const findings = found.filter(
    ({ check, message }) =>
      !(check === "worker-vanished" && killed && message.includes(`#${killed.pid} `)),
  );
  say(`\nholdfast doctor: ${checks.length} checks, ${findings.length} findings`);
  if (findings.length < found.length) say("  and one more: the worker that was killed is gone");
  for (const { check, message } of findings) say(`  ${check}: ${message}`);

  let replayed = true;
  for (const workflowId of [view.workflowId, jobWorkflowId]) {
    const same = await replays(temporal, workflowId);
    say(`holdfast replay ${workflowId}: ${same ? "the same decisions" : "DIFFERS"}`);
    replayed &&= same;
  }
  return {
    items: view.total,
    state: view.state,
    reason: view.reason,
    outcomes,
    counts: (view.result ?? {}) as Record<string, number>,
    notOnce,
    unexplained,
    orphans,
    ...(killed && {
      kill: {
        settled: killed.settled,
        signal: killed.signal,
        settledByOthers: await settledBy(holdfast, view.id, killed.pid),
      },
    }),
    doctor: findings.length,
    replayed,
  };
}

async function ledgerOf(
  holdfast: Holdfast,
  id: string,
): Promise<Pick<Figures, "outcomes" | "notOnce" | "unexplained">> {
  const { rows } = await holdfast.db.query<{ outcome: string; n: number; unexplained: number }>(
    `select outcome, count(*)::int as n,
            count(*) filter (where outcome = 'failed' and coalesce(reason, '') = '')::int
              as unexplained
       from holdfast.outcomes where operation_id = $1 group by 1 order by 2 desc`,
    [id],
  );
  const { rows: odd } = await holdfast.db.query<{ n: number }>(
    `select count(*)::int as n
       from holdfast.items i
       left join (select item_no, count(*) as n from holdfast.outcomes
                   where operation_id = $1 group by 1) o on o.item_no = i.no
      where i.operation_id = $1 and o.n is distinct from 1`,
    [id],
  );
  return {
    outcomes: Object.fromEntries(rows.map(({ outcome, n }) => [outcome, n])),
    notOnce: odd[0]!.n,
    unexplained: rows.reduce((sum, row) => sum + row.unexplained, 0),
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

function printAddresses({ addresses }: Product): void {
  say(`\nconsole      ${addresses.consoleUrl}`);
  say(`HTTP API     ${addresses.consoleUrl}/openapi.json`);
  if (addresses.temporalUiUrl) say(`Temporal UI  ${addresses.temporalUiUrl}`);
  say(`\nTo look around in another terminal:`);
  say(
    `  export DATABASE_URL=${addresses.databaseUrl} TEMPORAL_ADDRESS=${addresses.temporalAddress}`,
  );
  say("  npm run holdfast -- bank observations demo");
  say("  npm run holdfast -- search query postgres");
  say("  npm run holdfast -- inventory list package --tenant packages");
  say("\nCtrl-C stops everything.");
}

function count(n: number): string {
  return n.toLocaleString("en-US");
}
