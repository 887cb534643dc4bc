import type { OperationClient } from "../client/index.ts";
import type { OperationView } from "../contracts/operation.ts";
import { Ended, EXIT } from "./failure.ts";
import { doneOf } from "./operation-print.ts";
import { note, printJsonLine } from "./output.ts";

/**
 * Follows an operation to its end and answers the last view. On a terminal with a bar on stderr,
 * elsewhere with a line whenever something worth a line has changed; with `json`, each view is a line
 * of NDJSON on stdout. Ctrl-C ends the following, not the operation.
 */
export async function follow(
  operation: OperationClient,
  id: string,
  { json, quiet }: { json?: boolean; quiet?: boolean } = {},
): Promise<OperationView> {
  const show = json ? jsonShow : quiet ? noShow : process.stderr.isTTY ? await bar() : lines();
  const interrupt = new AbortController();
  const onInterrupt = () => interrupt.abort();
  process.once("SIGINT", onInterrupt);
  let last: OperationView | undefined;
  try {
    for await (const view of operation.watch(id, { signal: interrupt.signal })) {
      last = view;
      show.see(view);
    }
  } catch (error) {
    if (!interrupt.signal.aborted) throw error;
    show.end();
    note(`the operation goes on; follow it with "holdfast operation watch ${id}"`);
    throw new Ended(EXIT.interrupted);
  } finally {
    show.end();
    process.off("SIGINT", onInterrupt);
  }
  return last!;
}

/** The exit code that says how an operation ended. */
export function exitWith(view: OperationView): void {
  process.exitCode =
    view.state === "completed" ? EXIT.ok : view.state === "failed" ? EXIT.failed : EXIT.refused;
}

interface Show {
  see(view: OperationView): void;
  end(): void;
}

const noShow: Show = { see: () => undefined, end: () => undefined };
const jsonShow: Show = { see: printJsonLine, end: () => undefined };

async function bar(): Promise<Show> {
  const { default: progress } = await import("cli-progress");
  const bars = new progress.MultiBar(
    {
      format: "{stage} [{bar}] {value}/{total} {state}",
      barsize: 30,
      hideCursor: false,
      fps: 5,
      stopOnComplete: false,
      // A terminal that was told not to wrap stays so when this process is killed.
      linewrap: true,
      stream: process.stderr,
    },
    progress.Presets.legacy,
  );
  const known = new Map<string, ReturnType<typeof bars.create>>();
  let ended = false;
  return {
    see: (view) => {
      for (const { stage, done, total, counts } of view.stages) {
        const one = known.get(stage) ?? bars.create(total, 0, { stage, state: "" });
        known.set(stage, one);
        one.setTotal(total);
        one.update(done, { stage, state: `${view.shown}${trouble(counts)}` });
      }
    },
    end: () => {
      if (!ended) bars.stop();
      ended = true;
    },
  };
}

function trouble(counts: Record<string, number>): string {
  const bad = ["failed", "lost", "blocked"].filter((outcome) => counts[outcome]);
  return bad.length > 0
    ? `, ${bad.map((outcome) => `${counts[outcome]} ${outcome}`).join(", ")}`
    : "";
}

// Without a terminal every line stays: one for a new state, and one for each tenth of the way.
function lines(): Show {
  let before = "";
  return {
    see: (view) => {
      const own = view.stages.find((stage) => stage.stage === view.kind);
      const tenths = own && own.total > 0 ? Math.floor((own.done / own.total) * 10) : 0;
      const now = `${view.shown} ${tenths}`;
      if (now !== before) note(`${view.shown}: ${doneOf(view)}`);
      before = now;
    },
    end: () => undefined,
  };
}
