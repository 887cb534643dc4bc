import { setTimeout as sleep } from "node:timers/promises";
import type { OperationClient } from "../client/index.ts";
import type { LogLine, Page } from "../contracts/operation.ts";
import { note, paint, paintState, printJson, printJsonLine, say, text } from "./output.ts";

export interface LogAsk {
  level?: LogLine["level"];
  limit?: number;
  after?: string;
  json?: boolean;
}

/** One page: the newest lines, or those after a cursor. */
export async function printLogs(
  operation: OperationClient,
  id: string,
  { json, ...ask }: LogAsk,
): Promise<void> {
  const newest = ask.after === undefined;
  const page: Page<LogLine> = await operation.logs(id, { ...ask, newest });
  if (json) return printJson(page);
  if (page.items.length === 0) return note("no log line");
  if (newest && page.next) note("these are the newest lines; there are older ones");
  page.items.forEach(printLine);
  if (!newest && page.next) note(`there is more: add --after ${page.next}`);
}

const EVERY_MS = 500;
const PAGE = 1_000;
// Two writers may commit in another order than they took their numbers. Lines up to this many
// numbers back are read again, so that one that commits late is not passed over.
const OVERLAP = 1_000;

/** Prints lines as they come, until the operation has ended and its last line is out. */
export async function followLogs(
  operation: OperationClient,
  id: string,
  { json, level, after = "0" }: LogAsk,
): Promise<void> {
  const print = json ? printJsonLine : printLine;
  const printed = new Set<number>();
  const begin = Number(after);
  let highest = begin;
  const readOn = async () => {
    let from = Math.max(begin, highest - OVERLAP);
    for (;;) {
      const page = await operation.logs(id, {
        ...(level && { level }),
        limit: PAGE,
        after: String(from),
      });
      for (const line of page.items) {
        const seq = Number(line.seq);
        if (printed.has(seq)) continue;
        printed.add(seq);
        print(line);
        highest = Math.max(highest, seq);
      }
      if (page.next === undefined) break;
      from = Number(page.next);
    }
    for (const seq of printed) if (seq < highest - OVERLAP) printed.delete(seq);
  };
  for (;;) {
    // Asked first: every line of an operation that has ended by now is there to be read.
    const ended = (await operation.get(id)).finishedAt !== null;
    await readOn();
    if (ended) return;
    await sleep(EVERY_MS);
  }
}

function printLine({ at, level, message, fields }: LogLine): void {
  const more = fields && Object.keys(fields).length > 0 ? ` ${JSON.stringify(fields)}` : "";
  const rank = paintState(level) + " ".repeat(5 - level.length);
  say(`${paint("dim", at)} ${rank} ${text(message)}${paint("dim", text(more))}`);
}
