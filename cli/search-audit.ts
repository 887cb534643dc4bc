import type { Command } from "commander";
import type { SearchAuditPage } from "../contracts/reindex.ts";
import { plugins, withHoldfast } from "./connection.ts";
import { collect, examples, given } from "./declare.ts";
import { Ended, EXIT } from "./failure.ts";
import { note, paint, printJsonLine, printTable, say, text } from "./output.ts";

interface Flags {
  type?: string[];
  schema?: string[];
  repair?: boolean;
  json?: boolean;
}

export function register(search: Command): void {
  const audit = search
    .command("audit")
    .description("compare indexes with what they are made from; exit code 1 when they differ")
    .option("--type <type>", "of this type; may be repeated (default: all)", collect)
    .option("--schema <schema>", "in this schema; may be repeated (default: all)", collect)
    .option("--repair", "mark what differs, so that it is indexed again")
    .option("--json", "print each page as a line of JSON instead of text");
  examples(
    audit,
    "holdfast search audit",
    "holdfast search audit --type site --schema public --repair",
  ).action(run);
}

/** Keys shown of one index. */
const SHOWN = 20;

async function run({ type: types, schema: schemas, repair, json }: Flags): Promise<void> {
  const config = await plugins();
  await withHoldfast(async (holdfast) => {
    const indexes = new Map<string, IndexSummary>();
    for await (const page of holdfast.search.audit(given({ types, schemas, repair }))) {
      if (json) printJsonLine(page);
      add(indexes, page);
    }
    const summaries = [...indexes.values()];
    if (!json) await print(summaries, repair === true);
    if (summaries.some((one) => differs(one) || one.notDone !== undefined)) {
      throw new Ended(EXIT.failed);
    }
  }, config);
}

interface IndexSummary extends SearchAuditPage {
  name: string;
}

function add(indexes: Map<string, IndexSummary>, page: SearchAuditPage): void {
  const name = `${page.schema}.${page.type}`;
  const before = indexes.get(name);
  if (!before) return void indexes.set(name, { ...page, name });
  for (const count of ["compared", "missing", "stale", "orphan", "unreadable", "marked"] as const) {
    before[count] += page[count];
  }
  before.findings = [...before.findings, ...page.findings].slice(0, SHOWN);
  if (page.notDone !== undefined) before.notDone = page.notDone;
}

const differs = (one: IndexSummary) => one.missing + one.stale + one.orphan + one.unreadable > 0;

async function print(summaries: readonly IndexSummary[], repaired: boolean): Promise<void> {
  await printTable(
    ["INDEX", "COMPARED", "MISSING", "STALE", "ORPHAN", "UNREADABLE"],
    summaries.map((one) => [
      one.name,
      one.compared,
      one.missing,
      one.stale,
      one.orphan,
      one.unreadable,
    ]),
  );
  for (const one of summaries) {
    for (const { key, kind, reason } of one.findings) {
      say(
        `${paint("red", kind)}  ${text(one.name)} ${text(key)}${reason ? `: ${text(reason)}` : ""}`,
      );
    }
    const total = one.missing + one.stale + one.orphan + one.unreadable;
    if (total > one.findings.length) note(`and ${total - one.findings.length} more of ${one.name}`);
    if (one.notDone !== undefined) note(`not done: ${one.name}: ${text(one.notDone)}`);
  }
  if (!summaries.some(differs)) return;
  const marked = summaries.reduce((sum, one) => sum + one.marked, 0);
  note(
    repaired ? `${marked} marked: a worker puts them right` : "add --repair to mark what differs",
  );
}
